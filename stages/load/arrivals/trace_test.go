package arrivals

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// recorded is a trace of eleven requests over 5 s: its rate is 10 gaps / 5 s.
var recorded = []time.Duration{0, 0, 100 * ms, 100 * ms, 900 * ms, 1000 * ms, 1700 * ms, 2000 * ms, 2500 * ms, 4900 * ms, 5000 * ms}

func TestTraceAtItsOwnTimes(t *testing.T) {
	was := slices.Clone(recorded)
	for _, c := range []struct {
		p    Process
		want int // of the first requests
	}{
		{Process{Rate: 2}, 11},
		{Process{Rate: 2.015}, 11},
		{Process{Rate: 1.985, Requests: 300}, 11}, // it ends by itself
		{Process{Rate: 5, Requests: 6}, 6},
		{Process{Rate: 5, Duration: 1100 * ms}, 6},
		{Process{Rate: 5, Duration: 1000 * ms}, 6}, // what is due at the end, too
		{Process{Rate: 3.5, Requests: 8, Duration: time.Hour}, 8},
		{Process{Rate: 17, Requests: 1}, 1}, // one has no rate
	} {
		c.p.Kind, c.p.Times = Trace, recorded
		at := schedule(t, c.p, 1, 0)
		if !slices.Equal(at, recorded[:c.want]) {
			t.Errorf("%s: %v, want the first %d", fields(c.p), at, c.want)
		}
		if n, span := c.p.Expect(); n != float64(len(at)) || span != at[len(at)-1] {
			t.Errorf("%s: %v requests in %v are expected", fields(c.p), n, span)
		}
		at[0] = 77
	}
	if !slices.Equal(recorded, was) {
		t.Error("the trace was changed")
	}
}

// What an error says to write works.
func TestTraceTellsItsRate(t *testing.T) {
	times := []time.Duration{0, 1, 333 * ms, 123457 * ms}
	_, err := Schedule(Process{Kind: Trace, Rate: 10, Times: times}, 0, 0)
	if err == nil || !strings.Contains(err.Error(), "write qps: 0.0243, or rescale: true") {
		t.Fatal(err)
	}
	schedule(t, Process{Kind: Trace, Rate: 0.0243, Times: times}, 0, 0)
	if got := shortRate(123456.7); got != "123500" {
		t.Errorf("a large rate is written as %s", got)
	}
}

func TestTraceScaledToTheRate(t *testing.T) {
	late := []time.Duration{time.Second, 3 * time.Second} // one that does not begin at 0
	for _, c := range []struct {
		p    Process
		want []time.Duration
	}{
		{Process{Rate: 10}, []time.Duration{0, 0, 20 * ms, 20 * ms, 180 * ms, 200 * ms, 340 * ms, 400 * ms, 500 * ms, 980 * ms, 1000 * ms}},
		// The first six have a rate of 5/s.
		{Process{Rate: 0.5, Requests: 6}, []time.Duration{0, 0, 1000 * ms, 1000 * ms, 9000 * ms, 10000 * ms}},
		// In 1 s, 5/s is six requests: five gaps.
		{Process{Rate: 5, Duration: time.Second}, []time.Duration{0, 0, 100 * ms, 100 * ms, 900 * ms, 1000 * ms}},
		{Process{Rate: 5, Duration: 999 * ms}, []time.Duration{0, 0, 71429 * time.Microsecond, 71429 * time.Microsecond, 642857 * time.Microsecond}[:5]},
		{Process{Rate: 5, Requests: 1}, []time.Duration{0}},
		{Process{Rate: 1, Times: late}, []time.Duration{0, time.Second}},
	} {
		c.p.Kind, c.p.Rescale = Trace, true
		if c.p.Times == nil {
			c.p.Times = recorded
		}
		at := schedule(t, c.p, 1, 3)
		n := len(at)
		if n != len(c.want) {
			t.Errorf("%s: %v, want %v", fields(c.p), at, c.want)
			continue
		}
		if own := TraceRate(at); n > 1 && math.Abs(own-c.p.Rate) > 1e-6*c.p.Rate {
			t.Errorf("%s: the rate is %v", fields(c.p), own)
		}
		if c.p.Duration == 999*ms {
			continue // its rate is what counts
		}
		for i := range at {
			if (at[i] - c.want[i]).Abs() > 1 {
				t.Errorf("%s: %v, want %v", fields(c.p), at, c.want)
				break
			}
		}
	}
}

func TestTraceRate(t *testing.T) {
	if got := TraceRate(recorded); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
	if got := TraceRate(recorded[:2]); !math.IsInf(got, 1) {
		t.Errorf("of one instant %v", got)
	}
	if got := TraceRate(recorded[:1]); !math.IsNaN(got) {
		t.Errorf("of one request %v", got)
	}
}
