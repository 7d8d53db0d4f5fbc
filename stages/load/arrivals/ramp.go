package arrivals

import (
	"fmt"
	"math"
	"time"
)

// Shapes of a ramp.
const (
	Linear      = "linear"      // the rate grows by equal steps in equal times
	Exponential = "exponential" // the rate grows by equal factors in equal times
)

// Ramp is how the rate of a Poisson process rises to that of the point, where
// it stays. It rises with time, not with the number of the request as in
// vLLM's client, so that a burst does not pull the rate up with it.
type Ramp struct {
	Shape string
	From  float64       // share of the rate that it begins with: Linear in [0, 1], Exponential in (0, 1]
	Over  time.Duration // how long it rises; 0: the whole point
}

func (r Ramp) check() error {
	switch {
	case r.Shape != Linear && r.Shape != Exponential:
		return fmt.Errorf("unknown shape %q of a ramp; it must be %s or %s", r.Shape, Linear, Exponential)
	case !(r.From >= 0 && r.From <= 1):
		return fmt.Errorf("a ramp begins with %v of the rate; the share must be from 0 to 1", r.From)
	case r.From == 0 && r.Shape == Exponential:
		return fmt.Errorf("an exponential ramp cannot begin with a rate of 0; begin with a share of the rate such as 0.1, or use %s", Linear)
	case r.Over < 0:
		return fmt.Errorf("a ramp rises over %v; that must not be negative (0 is the whole point)", r.Over)
	}
	return nil
}

// rise is a ramp with its numbers worked out. With R the rate in the end, f
// the share in the beginning and W the time that it rises (s), the rate at
// time t <= W is
//
//	linear       R (f + (1-f) t/W)
//	exponential  R f^(1 - t/W)
//
// and R afterwards. Its integral, the mean number of requests until t, is
//
//	linear       Λ(t) = R (f t + (1-f) t²/2W)
//	exponential  Λ(t) = R f W/ln(1/f) (f^(-t/W) - 1)
//
// and Λ(W) + R (t-W) afterwards. If the gaps of x_i are independent unit
// exponentials, Λ⁻¹(x_i) is a Poisson process with that rate: E. Çinlar,
// "Introduction to Stochastic Processes" (1975), chapter 4, section 7.
type rise struct {
	rate, from, over float64 // requests/s, share, s
	exponential      bool
}

func (p Process) ramp() rise {
	r := rise{rate: p.Rate, from: p.Ramp.From, over: p.Ramp.Over.Seconds(), exponential: p.Ramp.Shape == Exponential}
	if p.Ramp.Over == 0 {
		r.over = p.span()
	}
	return r
}

// span is how long a point lasts (s) over which its rate rises: until as many
// requests as it may have are due on average, or its duration is over. Of one
// ramp that takes the whole point, Λ(W) is R W times the mean share.
func (p Process) span() float64 {
	s := p.Duration.Seconds()
	if p.Requests > 0 {
		until := float64(p.Requests) / (p.Rate * p.Ramp.mean())
		if s == 0 || until < s {
			s = until
		}
	}
	return s
}

// mean is the mean share of the rate while it rises: Λ(W)/(R W).
func (r Ramp) mean() float64 {
	if r.Shape == Exponential && r.From < 1 {
		return (1 - r.From) / -math.Log(r.From)
	}
	return (1 + r.From) / 2
}

// integral is Λ(t), t in seconds.
func (r rise) integral(t float64) float64 {
	switch {
	case t > r.over:
		return r.integral(r.over) + r.rate*(t-r.over)
	case r.exponential && r.from < 1 && r.over > 0:
		grow := -math.Log(r.from)
		return r.rate * r.from * r.over / grow * math.Expm1(grow*t/r.over)
	case r.over > 0:
		return r.rate * (r.from*t + (1-r.from)*t*t/(2*r.over))
	}
	return 0
}

// inverse is Λ⁻¹(x) in seconds.
func (r rise) inverse(x float64) float64 {
	if risen := r.integral(r.over); x > risen {
		return r.over + (x-risen)/r.rate
	}
	if x <= 0 {
		return 0 // of which the root below would divide by 0
	}
	x /= r.rate
	if r.exponential && r.from < 1 {
		grow := -math.Log(r.from)
		return r.over / grow * math.Log1p(x*grow/(r.from*r.over))
	}
	// The root of (1-f)/2W t² + f t - x = 0, in the form that subtracts
	// nothing and holds for f = 1, too.
	return 2 * x / (r.from + math.Sqrt(r.from*r.from+2*(1-r.from)*x/r.over))
}
