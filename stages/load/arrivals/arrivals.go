// Package arrivals computes when the requests of a point are due, before
// anything is sent.
//
// Steps: draw gaps of mean 1 from the seed and add them up (unit.go), turn the
// sums into times by the rate, or by a rate that rises (ramp.go); or take the
// times of a trace (trace.go). What ends the point cuts it off. The same seed
// gives the same pattern at every rate and in every mode, so that modes and
// rates are compared on paired arrivals. Unless Rescale asks for it, nothing
// is stretched afterwards: a Poisson process of rate 2 is one, and its n
// requests take n/2 seconds only on average. The neighbour above is load,
// which keeps the schedule; the one below is seed.
package arrivals

import (
	"errors"
	"fmt"
	"math"
	"time"

	"vbp/stages/load/seed"
)

// Kinds of arrivals.
const (
	Poisson  = "poisson"  // exponential gaps
	Constant = "constant" // equal gaps
	Gamma    = "gamma"    // gamma gaps; shape = burstiness, as vLLM defines it
	Ramping  = "ramp"     // a Poisson process whose rate rises, see Ramp
	Trace    = "trace"    // the times of a recorded trace
)

// Process says how the requests of a point arrive, and what ends it: Requests
// or Duration, whichever comes first. One of them must be said, but for a
// trace, which ends by itself.
type Process struct {
	Kind       string
	Burstiness float64 // shape of Gamma's gaps, above 0: 1 is Poisson, below burstier, above smoother; others do not look at it
	Rate       float64 // requests per second, above 0; of Ramping: where it ends

	Requests int           // at most so many; 0: no limit
	Duration time.Duration // nothing is due later than this; 0: no limit

	// Rescale stretches the schedule until its rate is exactly Rate: as vLLM's
	// client does, so that the last of N requests is due at N/Rate, whatever
	// was drawn. A process so treated is no longer what its name says: its
	// last arrival is known in advance. A trace is brought to Rate by it, and
	// keeps the proportions of its gaps. Not for Ramping.
	Rescale bool

	Ramp  Ramp            // Ramping only
	Times []time.Duration // Trace only: from 0, never decreasing; not changed
}

// mostRequests bounds a schedule: 8 GB of times, a week and a half at a
// thousand requests per second. It is the greatest count of the spec language.
const mostRequests = 1_000_000_000

// Schedule returns when each request is due, counted from the start of the
// point, never decreasing and never empty. Repeat r of a seed has its own
// pattern; a trace has no chance in it, and all its repeats are the same.
//
// The first request of a drawn process comes after the first gap, as the first
// event of a Poisson process does (so constant arrivals i = 0.. are due at
// (i+1)/rate). The first of a trace is due when the trace says.
//
// It fails if p cannot be: an unknown kind, a rate or a shape that is not
// above 0, nothing that ends it; if no request is due before the end; and for
// a trace at its own times if its rate is not Rate, see Process.Rescale.
func Schedule(p Process, seed0 int64, repeat int) ([]time.Duration, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("arrivals: %w", err)
	}
	var at []time.Duration
	var err error
	if p.Kind == Trace {
		at, err = p.replay()
	} else {
		at, err = p.draw(seed0, repeat)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("arrivals: %w", err)
	case len(at) == 0:
		return nil, fmt.Errorf("arrivals: no request is due within %v at %v requests per second; ask for a longer duration or a higher rate", p.Duration, p.Rate)
	}
	return at, nil
}

// draw is the schedule of a process that chance or arithmetic makes.
func (p Process) draw(seed0 int64, repeat int) ([]time.Duration, error) {
	gap := p.gaps(seed.Rand("arrivals", seed0, repeat))
	when := func(sum float64) float64 { return sum / p.Rate } // seconds
	if p.Kind == Ramping {
		when = p.ramp().inverse
	}
	n := p.most()
	if p.Rescale {
		// The sums first, since all depend on the last.
		sums := make([]float64, n)
		sum := 0.0
		for i := range sums {
			sum += gap()
			sums[i] = sum
		}
		if len(sums) > 0 && !(sum > 0) {
			return nil, fmt.Errorf("all %d gaps of burstiness %v are 0, so that nothing can be rescaled; ask for more requests or less burstiness", n, p.Burstiness)
		}
		at := make([]time.Duration, n)
		for i, s := range sums {
			t, err := p.instant(when(s*(float64(n)/sum)), i)
			if err != nil {
				return nil, err
			}
			at[i] = t
		}
		return at, nil
	}
	at := make([]time.Duration, 0, p.room(n))
	sum := 0.0 // in units of the mean gap
	for len(at) < n {
		sum += gap()
		t, err := p.instant(when(sum), len(at))
		if p.Duration > 0 && (err != nil || t > p.Duration) {
			return at, nil
		}
		if err != nil {
			return nil, err
		}
		at = append(at, t)
	}
	if p.Requests == 0 {
		return nil, fmt.Errorf("more than %d requests are due within %v; ask for a shorter duration or a lower rate", mostRequests, p.Duration)
	}
	return at, nil
}

// most is how many requests the schedule can have. One that is rescaled has as
// many as are due on average; others learn it while they are drawn.
func (p Process) most() int {
	n := p.Requests
	if n == 0 {
		n = mostRequests
	}
	if p.Rescale && p.Duration > 0 {
		n = min(n, whole(p.Rate*p.Duration.Seconds()))
	}
	return n
}

// room is how many requests to make room for, of at most n.
func (p Process) room(n int) int {
	if p.Duration == 0 {
		return n
	}
	// Four standard deviations of a Poisson count; append does the rest.
	mean := p.Rate * p.Duration.Seconds()
	return int(min(float64(n), mean+4*math.Sqrt(mean)+16))
}

// whole is the number of whole units in v, which may lie a rounding error
// below one: 0.1/s x 30 s are 3 requests. No more than mostRequests + 1.
func whole(v float64) int { return int(min(math.Floor(v+1e-9*max(1, v)), mostRequests+1)) }

// instant is s seconds after the start.
func (p Process) instant(s float64, i int) (time.Duration, error) {
	ns := math.Round(s * 1e9)
	if !(ns < math.MaxInt64) {
		return 0, fmt.Errorf("request %d at %v requests per second is due in more than 292 years; ask for fewer requests or a higher rate", i, p.Rate)
	}
	return time.Duration(ns), nil
}

// check tells what of p cannot be.
func (p Process) check() error {
	switch {
	case !(p.Rate > 0) || math.IsInf(p.Rate, 1):
		return fmt.Errorf("rate is %v; it must be a positive number of requests per second", p.Rate)
	case p.Requests < 0:
		return fmt.Errorf("%d requests; the number must not be negative (0 is no limit)", p.Requests)
	case p.Requests > mostRequests:
		return fmt.Errorf("%d requests are more than the %d that one point can have", p.Requests, mostRequests)
	case p.Duration < 0:
		return fmt.Errorf("duration is %v; it must not be negative (0 is no limit)", p.Duration)
	}
	switch p.Kind {
	case Poisson, Constant:
	case Gamma:
		if !(p.Burstiness > 0) || math.IsInf(p.Burstiness, 1) {
			return fmt.Errorf("burstiness of gamma is %v; it must be a positive number (1 is Poisson)", p.Burstiness)
		}
	case Ramping:
		if p.Rescale {
			return errors.New("a ramp is not rescaled: its rate is meant to change; leave rescale away")
		}
		if err := p.Ramp.check(); err != nil {
			return err
		}
	case Trace:
		return p.checkTimes()
	default:
		return fmt.Errorf("unknown kind %q; it must be %s, %s, %s, %s or %s", p.Kind, Poisson, Constant, Gamma, Ramping, Trace)
	}
	if p.Requests == 0 && p.Duration == 0 {
		return errors.New("nothing ends the point; say how many requests it has, or how long it lasts")
	}
	if mean := p.Rate * p.Duration.Seconds(); p.Requests == 0 && mean > mostRequests {
		return fmt.Errorf("%v at %v requests per second are more than the %d requests that one point can have; ask for a shorter duration", p.Duration, p.Rate, mostRequests)
	}
	return nil
}
