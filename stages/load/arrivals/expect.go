package arrivals

import (
	"fmt"
	"math"
	"time"
)

// Expect returns how many requests the point has on average and when the last
// of them is due: what a plan can say before anything is drawn. It is exact
// for Constant, for Trace and with Rescale. Gamma within a duration has (1/b-1)/2
// requests more on average, b its burstiness, since it begins with a whole gap;
// that is left out. Both are 0 if p cannot be.
func (p Process) Expect() (requests float64, span time.Duration) {
	if p.check() != nil {
		return 0, 0
	}
	switch {
	case p.Kind == Trace:
		at, err := p.replay()
		if err != nil || len(at) == 0 {
			return 0, 0
		}
		return float64(len(at)), at[len(at)-1]
	case p.Kind == Constant || p.Rescale:
		n := p.most()
		if p.Duration > 0 {
			n = min(n, whole(p.Rate*p.Duration.Seconds()))
		}
		return float64(n), seconds(float64(n) / p.Rate)
	}
	until := p.rateIntegral()
	if n := float64(p.Requests); p.Requests > 0 && (p.Duration == 0 || until(p.Duration.Seconds()) >= n) {
		if p.Kind == Ramping {
			return n, seconds(p.ramp().inverse(n))
		}
		return n, seconds(n / p.Rate)
	}
	return until(p.Duration.Seconds()), p.Duration
}

// rateIntegral is the mean number of requests that are due until a time (s).
func (p Process) rateIntegral() func(float64) float64 {
	if p.Kind == Ramping {
		return p.ramp().integral
	}
	return func(t float64) float64 { return p.Rate * t }
}

// seconds is s as a duration, the longest if there is none as long.
func seconds(s float64) time.Duration {
	if s *= 1e9; s < math.MaxInt64 {
		return time.Duration(s)
	}
	return math.MaxInt64
}

// String says for people what was done, for the record of a point: its kind
// and whether it was rescaled, since that is told from no sample.
func (p Process) String() string {
	switch {
	case p.Kind == Trace && p.Rescale:
		return "trace, its times scaled to the rate"
	case p.Kind == Trace:
		return "trace, at its own times"
	case p.Kind == Ramping:
		over := "the whole point"
		if p.Ramp.Over > 0 {
			over = p.Ramp.Over.String()
		}
		return fmt.Sprintf("ramp, a Poisson process whose rate rises (%s) from %v of the point's over %s", p.Ramp.Shape, p.Ramp.From, over)
	}
	kind := p.Kind
	if kind == Gamma {
		kind = fmt.Sprintf("gamma of burstiness %v", p.Burstiness)
	}
	if p.Rescale {
		return kind + ", rescaled so that the last of N requests is due at N/rate"
	}
	return kind + ", as drawn: not rescaled to the rate"
}
