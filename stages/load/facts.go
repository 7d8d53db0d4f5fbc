package load

import (
	"math"
	"slices"
	"time"

	"vbp/stages/sample"
)

// Fact names and explains one number of Facts.
type Fact struct {
	Name string
	Doc  string
}

// FactNames lists what Facts can return; rules of validity name these. A fact
// that cannot be known of a point is absent from it, never 0.
var FactNames = []Fact{
	{"planned", "requests of the schedule"},
	{"sent", "requests that were sent: fewer than planned where the point ended before its time"},
	{"failed", "requests that did not end as a complete answer"},
	{sample.OK, "requests that ended as a complete answer"},
	{sample.HTTPError, "requests that the server answered with a status other than 200"},
	{sample.StreamError, "requests whose stream held an error or was not readable"},
	{sample.Truncated, "requests whose stream ended without a finish reason"},
	{sample.Timeout, "requests whose time ran out"},
	{sample.ConnectError, "requests for which no connection was had, or it broke before the status"},
	{"stopped_early", "complete answers with fewer tokens, by the server's count, than asked for though ignore_eos was set, whatever they ended for; absent where it was not set"},
	{"resent", "times that a request was sent again, since the server had closed the kept connection before any answer; it counts as sent when it first was"},
	{"fallbacks", "requests whose decode instance had to prefill by itself; absent where no proxy told"},
	{"schedule_kept", "span of the schedule / span of the actual sends; 1 is kept, 0.5 is half the rate"},
	{"send_lag_p50_ms", "median of how long after its schedule a request was first sent, in ms"},
	{"send_lag_p99_ms", "99th percentile of the same"},
	{"send_lag_max_ms", "maximum of the same"},
	{"achieved_qps", "requests sent per second, first to last"},
	{"client_cpu_share", "CPU time of this process during the point / (wall time x cores)"},
	{"events_per_read", "events with tokens for each read of an answer; far above 1, the gaps between tokens are the network's"},
	{"tokens_per_event", "output tokens of complete answers for each of their events with tokens; above 1, gaps are between groups of tokens; absent where tokens were counted from events"},
}

// Machine is what was observed of this process during a point.
type Machine struct {
	Wall  time.Duration // from the start of the point to its end
	CPU   float64       // s: CPU time of the process; NaN if not known
	Cores int           // that the process may use
	Reads int64         // reads of answers that returned data; 0 if not known

	Resent int64 // times that a request was sent again
}

// Facts derives what was observed of the point as a whole from its rows, by
// the names and in the units of FactNames. Run adds planned,
// stopped_early and tokens_per_event, which the rows alone do not tell.
func Facts(t *sample.Table, m Machine) map[string]float64 {
	f := map[string]float64{"sent": float64(t.Len()), "failed": float64(t.Failed()), "resent": float64(m.Resent)}
	for _, kind := range []string{sample.OK, sample.HTTPError, sample.StreamError, sample.Truncated, sample.Timeout, sample.ConnectError} {
		f[kind] = 0
	}
	for _, kind := range t.Outcome {
		f[kind]++
	}
	for _, v := range t.Fallback {
		if v != sample.Absent {
			f["fallbacks"] += float64(v) // 0 or 1
		}
	}
	if n := t.Len(); n > 0 {
		lags := make([]float64, n)
		for i := range lags {
			lags[i] = float64(t.Sent[i]-t.Scheduled[i]) / 1e6
		}
		slices.Sort(lags)
		f["send_lag_p50_ms"], f["send_lag_p99_ms"], f["send_lag_max_ms"] = percentile(lags, 0.5), percentile(lags, 0.99), lags[n-1]
		scheduled, sent := span(t.Scheduled), span(t.Sent)
		switch {
		case sent > 0:
			f["schedule_kept"] = scheduled / sent
			f["achieved_qps"] = float64(n-1) / sent
		case scheduled == 0:
			f["schedule_kept"] = 1 // one request, or all at one instant: nothing to keep
		}
	}
	if wall := m.Wall.Seconds() * float64(m.Cores); wall > 0 && !math.IsNaN(m.CPU) {
		f["client_cpu_share"] = m.CPU / wall
	}
	if m.Reads > 0 {
		events := int64(0)
		for _, n := range t.Events {
			events += n
		}
		f["events_per_read"] = float64(events) / float64(m.Reads)
	}
	return f
}

// span is the time between the earliest and the latest instant, in seconds.
func span(ns []int64) float64 { return float64(slices.Max(ns)-slices.Min(ns)) / 1e9 }

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
