package doctor

import (
	"context"
	"fmt"
	"time"

	"vbp/stages/load/metronome"
)

// Bounds are the most that a client may be wrong by, in microseconds.
type Bounds struct {
	P50     float64 `json:"p50_us"`      // of TTFT and lateness
	P99     float64 `json:"p99_us"`      // of the same
	TPOTP99 float64 `json:"tpot_p99_us"` // of TPOT
}

func boundsOf(within time.Duration) Bounds {
	us := float64(within) / 1e3
	return Bounds{P50: us / 10, P99: us, TPOTP99: us / 50}
}

// breaks says how a reading is beyond the bounds; "": it is not.
func (b Bounds) breaks(r *Reading) string {
	switch {
	case r.Failed > 0:
		return fmt.Sprintf("%d of %d requests failed", r.Failed, r.Sent)
	case r.TTFT.P50 > b.P50:
		return "median of the TTFT error"
	case r.TTFT.P99 > b.P99:
		return "p99 of the TTFT error"
	case r.Lateness.P50 > b.P50:
		return "median of the lateness"
	case r.Lateness.P99 > b.P99:
		return "p99 of the lateness"
	case r.TPOT.P99 > b.TPOTP99:
		return "p99 of the TPOT error"
	}
	return ""
}

// Vouched is what a client can be trusted with on this machine.
type Vouched struct {
	Client   string `json:"client"`
	Protocol string `json:"protocol"`

	Rate    float64 `json:"qps"`     // highest rate, of answers of Tokens tokens, within the bounds; 0: not even the lowest
	Tokens  int     `json:"tokens"`  // of those answers
	Bound   string  `json:"bound"`   // what ended the climb: Exact, AtLeast or None
	Streams int     `json:"streams"` // most streams at a time within the bounds; 0: none was tried or held
	// EventsPerCore is how many events a second a core of the client reads
	// when they come as fast as they can, 16 a segment; 0: not measured.
	EventsPerCore float64 `json:"events_per_core_s"`

	Rungs []Rung `json:"rungs"` // every trial, in order
	Error string `json:"error,omitempty"`
}

// Ends of a climb.
const (
	Exact   = "exact"    // a higher rate was beyond the bounds
	AtLeast = "at_least" // no higher rate could be tried
	None    = "none"     // the lowest rate was beyond the bounds
)

// Rung is one trial of a climb.
type Rung struct {
	Kind    string   `json:"kind"` // ByRate, ByStreams or BySpeed
	Reading *Reading `json:"reading"`
	Beyond  string   `json:"beyond,omitempty"` // which bound was broken
	Limit   string   `json:"limit,omitempty"`  // why the reading says nothing of the client
}

// Kinds of rungs.
const (
	ByRate    = "rate"
	ByStreams = "streams"
	BySpeed   = "speed"
)

// Each trial of a ladder is short; all together take seconds.
const (
	answerTokens = 128
	answerGap    = 2500 * time.Microsecond // a third of a second for an answer: many ends in a short trial
	answerFirst  = 20 * time.Millisecond
	promptTokens = 768                    // 4.5 KB
	streamGap    = 100 * time.Millisecond // ten events a second on each of many streams
	late         = 4                      // gaps: a metronome that was later than that with half of its answers set another pace than it was asked for
	opening      = 5000                   // streams that are opened in a second
)

// ladder finds what a client can do by trying more and more.
type ladder struct {
	bounds   Bounds
	machine  *Machine
	quick    bool
	progress func(string)
}

func (l ladder) rates() []float64 {
	if l.quick {
		return []float64{200, 400, 800}
	}
	return []float64{100, 200, 400, 800, 1600}
}

func (l ladder) streams() []int {
	if l.quick { // opening them takes its time
		return nil
	}
	all := []int{2000, 10_000}
	n := 0
	for n < len(all) && all[n] <= l.machine.mostStreams() {
		n++
	}
	return all[:n]
}

func (l ladder) byRate(rate float64) trial {
	span := 0.5 // s
	if l.quick {
		span = 0.3
	}
	return trial{
		pace: metronome.Pace{First: answerFirst, Gap: answerGap, Tokens: answerTokens, Events: 1, Aligned: true},
		rate: rate, requests: max(20, int(rate*span)), prompt: promptTokens,
	}
}

// byStreams holds n streams open together: none ends before the last has
// begun.
func (l ladder) byStreams(n int) trial {
	span := time.Duration(n) * time.Second / opening
	return trial{
		pace: metronome.Pace{First: answerFirst, Gap: streamGap, Tokens: 4 + int(span/streamGap), Events: 1},
		rate: opening, requests: n, prompt: promptTokens,
	}
}

func (l ladder) bySpeed() trial {
	tokens := 16_000
	if l.quick {
		tokens = 8000
	}
	return trial{pace: metronome.Pace{Tokens: tokens, Events: 16}, requests: 32, prompt: promptTokens}
}

// climb examines one client; what would not have ended by then is left out.
func (l ladder) climb(ctx context.Context, c Client, server *metronome.Child, end time.Time) Vouched {
	v := Vouched{Client: c.Name, Protocol: c.Transport.Protocol(), Tokens: answerTokens, Bound: AtLeast}
	try := func(kind string, t trial) (rung Rung, ok bool) {
		const overhead = 120 * time.Millisecond // of a trial: starting, reading the records, comparing
		if ctx.Err() != nil || v.Error != "" {
			return rung, false
		}
		// At the lowest rate every client is looked at.
		if lowest := kind == ByRate && len(v.Rungs) == 0; !lowest && time.Now().Add(t.expected()+overhead).After(end) {
			return rung, false
		}
		l.progress(fmt.Sprintf("%s: %s", c.Name, t))
		r, err := t.run(ctx, server, c)
		if err != nil {
			v.Error = err.Error()
			return rung, false
		}
		rung = Rung{Kind: kind, Reading: r, Beyond: l.bounds.breaks(r)}
		switch {
		case kind == BySpeed:
			rung.Beyond = ""
		case r.Server.P50 > late*float64(t.pace.Gap)/1e3:
			rung.Limit = "the metronome itself could not keep this pace"
		}
		v.Rungs = append(v.Rungs, rung)
		return rung, true
	}

	// One trial warms up what is slow only once, such as the pages of the
	// heap, and is not looked at.
	try(BySpeed, trial{pace: metronome.Pace{Tokens: 1000, Events: 16}, requests: 16, prompt: promptTokens})
	v.Rungs = nil
	for _, rate := range l.rates() {
		t := l.byRate(rate)
		rung, ok := try(ByRate, t)
		if ok && rung.Beyond+rung.Limit != "" {
			// A hiccup of the machine is nobody's limit.
			if again, tried := try(ByRate, t); tried {
				rung = again
			}
		}
		if !ok || rung.Limit != "" {
			break
		}
		if rung.Beyond != "" {
			v.Bound = Exact
			break
		}
		v.Rate = rate
	}
	if v.Rate == 0 {
		v.Bound = None
	}
	if rung, ok := try(BySpeed, l.bySpeed()); ok && rung.Reading.CPU > 0 {
		v.EventsPerCore = 1e6 / rung.Reading.CPU
	}
	for _, n := range l.streams() {
		rung, ok := try(ByStreams, l.byStreams(n))
		if !ok || rung.Beyond != "" || rung.Limit != "" {
			break
		}
		v.Streams = rung.Reading.Streams
	}
	return v
}

// expected is how long a trial takes.
func (t trial) expected() time.Duration {
	if t.rate == 0 {
		return 300 * time.Millisecond
	}
	return time.Duration(float64(t.requests)/t.rate*float64(time.Second)) + t.length()
}

// String is the trial in a few words.
func (t trial) String() string {
	if t.rate == 0 {
		return "as fast as events come"
	}
	if t.rate == opening {
		return fmt.Sprintf("%d streams", t.requests)
	}
	return fmt.Sprintf("%g requests/s of %d tokens", t.rate, t.pace.Tokens)
}

// run is one trial from beginning to end.
func (t trial) run(ctx context.Context, server *metronome.Child, c Client) (*Reading, error) {
	if err := server.Reset(t.pace); err != nil {
		return nil, err
	}
	got, err := t.drive(ctx, server.URL(), c.Transport)
	if err != nil {
		return nil, err
	}
	records, err := server.Records()
	if err != nil {
		return nil, err
	}
	return t.judge(got, records)
}
