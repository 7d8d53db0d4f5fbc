package load

import (
	"math"
	"slices"
	"time"

	"vbp/stages/sample"
)

// tally is what facts need of the rows, taken from each as it comes: a point
// of millions of rows is never looked at as a whole.
type tally struct {
	rows, failed int
	outcomes     map[string]int
	fallbacks    int // -1: no proxy told
	events       int64
	lags         []float64 // ms
	waits        []float64 // ms, of the requests under a limit
	waited       int       // those of them that waited at all

	scheduled, sent, due extent // due: when it was sent, less its wait for a slot
}

// extent is the earliest and the latest instant.
type extent struct{ first, last int64 }

func (e *extent) add(v int64) { e.first, e.last = min(e.first, v), max(e.last, v) }

// seconds between them.
func (e *extent) seconds() float64 { return float64(e.last-e.first) / 1e9 }

// newTally is for at most n rows.
func newTally(n int) *tally {
	nothing := extent{math.MaxInt64, math.MinInt64}
	return &tally{
		outcomes: make(map[string]int), fallbacks: -1, lags: make([]float64, 0, n),
		scheduled: nothing, sent: nothing, due: nothing,
	}
}

func (y *tally) add(o *sample.Outcome) {
	y.rows++
	y.outcomes[o.Outcome]++
	if o.Failed() {
		y.failed++
	}
	if o.Fallback != sample.Absent {
		y.fallbacks = max(y.fallbacks, 0) + int(o.Fallback) // 0 or 1
	}
	y.events += o.Events
	lag := sample.Lag(o.Scheduled, o.Sent, o.SlotWait)
	if !math.IsNaN(lag) {
		y.lags = append(y.lags, lag*1e3)
		y.scheduled.add(o.Scheduled)
		y.sent.add(o.Sent)
		y.due.add(o.Scheduled + int64(math.Round(lag*1e9)))
	}
	if !math.IsNaN(o.SlotWait) {
		if y.waits == nil {
			y.waits = make([]float64, 0, cap(y.lags))
		}
		y.waits = append(y.waits, o.SlotWait*1e3)
		if o.SlotWait > 0 {
			y.waited++
		}
	}
}

// facts are those that rows and machine tell. It may be asked once.
func (y *tally) facts(m machine) map[string]float64 {
	f := map[string]float64{"sent": float64(y.rows), "failed": float64(y.failed), "resent": float64(m.Resent), "client_starved": float64(m.Starved)}
	for _, kind := range []string{sample.OK, sample.HTTPError, sample.StreamError, sample.Truncated, sample.Timeout, sample.ConnectError} {
		f[kind] = 0
	}
	for kind, n := range y.outcomes {
		f[kind] = float64(n)
	}
	if y.fallbacks >= 0 {
		f["fallbacks"] = float64(y.fallbacks)
	}
	if n := len(y.lags); n > 0 {
		slices.Sort(y.lags)
		f["send_lag_p50_ms"], f["send_lag_p99_ms"], f["send_lag_max_ms"] = percentile(y.lags, 0.5), percentile(y.lags, 0.99), y.lags[n-1]
		scheduled, due := y.scheduled.seconds(), y.due.seconds()
		switch {
		case due > 0:
			f["schedule_kept"] = scheduled / due
		case scheduled == 0:
			f["schedule_kept"] = 1 // one request, or all at one instant: nothing to keep
		}
		if scheduled > 0 {
			f["scheduled_qps"] = float64(n-1) / scheduled
		}
		if sent := y.sent.seconds(); sent > 0 {
			f["achieved_qps"] = float64(n-1) / sent
		}
	}
	if n := len(y.waits); n > 0 {
		slices.Sort(y.waits)
		f["slot_waited"] = float64(y.waited) / float64(n)
		f["slot_wait_p99_ms"], f["slot_wait_max_ms"] = percentile(y.waits, 0.99), y.waits[n-1]
	}
	if m.Reads > 0 {
		f["events_per_read"] = float64(y.events) / float64(m.Reads)
	}
	m.facts(f)
	return f
}

// percentile of sorted values, linear between the two nearest ranks, rank
// p x (n-1) from 0: the default of numpy, definition 7 of R. J. Hyndman and
// Y. Fan, "Sample quantiles in statistical packages" (1996).
func percentile(sorted []float64, p float64) float64 {
	rank := p * float64(len(sorted)-1)
	i := int(rank)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (sorted[i+1]-sorted[i])*(rank-float64(i))
}

// machine is what was observed of this process during a point.
type machine struct {
	Wall  time.Duration // from the start of the point to its end
	CPU   float64       // s: CPU time of the process; NaN if not known
	Cores int           // that the process may use
	Stall time.Duration // by how much at most a beat of this process came late; negative: not known
	Stats               // what the transport tells
}

// facts adds those of the machine alone.
func (m *machine) facts(f map[string]float64) {
	if wall := m.Wall.Seconds() * float64(m.Cores); wall > 0 && !math.IsNaN(m.CPU) {
		f["client_cpu_share"] = m.CPU / wall
	}
	if m.Stall >= 0 {
		f["client_stall_max_ms"] = float64(m.Stall) / 1e6
	}
	if m.Busy > 0 { // NaN is not, and no loop has nothing to do
		f["client_busy"] = m.Busy
	}
	if m.Conns > 0 {
		f["open_files_max"] = float64(m.Conns)
	}
	if m.Streams > 0 {
		f["streams_max"] = float64(m.Streams)
	}
	if m.ReadLag.Count > 0 {
		f["read_lag_p50_us"], f["read_lag_p99_us"] = float64(m.ReadLag.P50)/1e3, float64(m.ReadLag.P99)/1e3
	}
}
