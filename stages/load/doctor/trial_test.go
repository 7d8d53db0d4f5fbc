package doctor

import (
	"math"
	"testing"
	"time"

	"vbp/stages/load/metronome"
)

// Every transport against a real server in a process of its own: what it saw
// is what was sent. How fast the machine is has no part in it.
func TestTrial(t *testing.T) {
	pace := metronome.Pace{First: 2 * time.Millisecond, Gap: time.Millisecond, Tokens: 9, Events: 1}
	for i, c := range transports {
		t.Run(c.Name, func(t *testing.T) {
			if c.Transport == nil {
				t.Skip("this system has no epoll, so that transport does not exist")
			}
			trial := trial{pace: pace, rate: 500, requests: 60, prompt: 100}
			f, err := measure(i, trial, child(t, serverChild), child(t, clientChild))
			if err != nil {
				t.Fatal(err)
			}
			if f.Sent != 60 || f.Failed != 0 || f.Streams < 1 || f.Events <= 0 || f.peak < 0 {
				t.Errorf("%+v", f)
			}
			// Both clocks are this machine's: nothing arrives before it was
			// due, and no first token is seen before it was sent.
			if f.Lateness.P50 < 0 || f.Arrival.P50 < 0 {
				t.Errorf("early: %+v", f)
			}
		})
	}
}

// The schedule is a Poisson process of the rate: n arrivals take n/rate on
// average, with a standard deviation of sqrt(n)/rate.
func TestArrivals(t *testing.T) {
	at := trial{rate: 200, requests: 4000}.arrivals()
	last := time.Duration(0)
	for _, x := range at {
		if x < last {
			t.Fatalf("%v after %v", x, last)
		}
		last = x
	}
	if got := last.Seconds(); math.Abs(got-20) > 4*math.Sqrt(4000)/200 {
		t.Errorf("4000 arrivals at 200/s took %v s", got)
	}
	if at := (trial{requests: 3}).arrivals(); len(at) != 3 || at[2] != 0 {
		t.Errorf("all at once: %v", at)
	}
}

func TestLength(t *testing.T) {
	for _, c := range []struct {
		pace metronome.Pace
		want time.Duration
	}{
		{metronome.Pace{First: 20, Gap: 10, Tokens: 1, Events: 1}, 20},
		{metronome.Pace{First: 20, Gap: 10, Tokens: 128, Events: 1}, 1290},
		{metronome.Pace{First: 20, Gap: 10, Tokens: 17, Events: 16}, 30},
	} {
		if got := (trial{pace: c.pace}).length(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.pace, got, c.want)
		}
	}
}
