// Package arrivals computes when the requests of a point are due, before
// anything is sent.
//
// Steps: draw gaps of mean 1 from the seed, add them up, divide by the rate.
// The same seed therefore gives the same pattern at every rate and in every
// mode, so that modes and rates are compared on paired arrivals. Nothing is
// rescaled afterwards: a Poisson process of rate 2 is one, and its n requests
// take n/2 seconds only on average. The neighbour above is load, which keeps
// the schedule.
package arrivals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"vbp/stages/load/seed"
)

// Kinds of arrivals.
const (
	Poisson  = "poisson"  // exponential gaps
	Constant = "constant" // equal gaps
	Gamma    = "gamma"    // gamma gaps; shape = burstiness, as vLLM defines it
)

// Schedule returns when each of n requests is due, counted from the start of
// the point and never decreasing; request 0 comes after the first gap, as the
// first event of a Poisson process does (so requests i = 0.. of constant
// arrivals are due at (i+1)/rate).
//
// Rate is in requests per second. Burstiness is the shape of gamma gaps: 1 is
// Poisson (the very same schedule), below 1 is burstier, above 1 smoother; the
// other kinds do not look at it. Repeat r of a seed has its own pattern.
func Schedule(kind string, burstiness float64, n int, rate float64, seed0 int64, repeat int) ([]time.Duration, error) {
	switch {
	case n < 0:
		return nil, fmt.Errorf("arrivals: %d requests; the number must not be negative", n)
	case !(rate > 0) || math.IsInf(rate, 1):
		return nil, fmt.Errorf("arrivals: rate is %v; it must be a positive number of requests per second", rate)
	}
	gap, err := gaps(kind, burstiness, seed.Rand("arrivals", seed0, repeat))
	if err != nil {
		return nil, err
	}
	at := make([]time.Duration, n)
	sum := 0.0 // in units of the mean gap
	for i := range at {
		sum += gap()
		ns := math.Round(sum / rate * 1e9)
		if !(ns < math.MaxInt64) {
			return nil, fmt.Errorf("arrivals: request %d of %d at %v requests per second is due in more than 292 years; ask for fewer requests or a higher rate", i, n, rate)
		}
		at[i] = time.Duration(ns)
	}
	return at, nil
}

// gaps returns a source of gaps of mean 1.
func gaps(kind string, burstiness float64, r *rand.Rand) (func() float64, error) {
	switch kind {
	case Poisson:
		return r.ExpFloat64, nil
	case Constant:
		return func() float64 { return 1 }, nil
	case Gamma:
		if !(burstiness > 0) || math.IsInf(burstiness, 1) {
			return nil, fmt.Errorf("arrivals: burstiness of gamma is %v; it must be a positive number (1 is Poisson)", burstiness)
		}
		if burstiness == 1 {
			return r.ExpFloat64, nil
		}
		return func() float64 { return gamma(r, burstiness) / burstiness }, nil
	}
	return nil, fmt.Errorf("arrivals: unknown kind %q; it must be %s, %s or %s", kind, Poisson, Constant, Gamma)
}

// gamma draws from the gamma distribution of the given shape and scale 1, by
// G. Marsaglia and W. W. Tsang, "A simple method for generating gamma
// variables", ACM Transactions on Mathematical Software 26 (2000) 363-372:
// with d = shape - 1/3 and c = 1/sqrt(9 d), d (1 + c x)^3 for a normal x is
// accepted if ln u < x^2/2 + d - d v + d ln v, v = (1 + c x)^3. A shape below
// 1 uses gamma(shape) = gamma(shape+1) * u^(1/shape) (their section 6).
func gamma(r *rand.Rand, shape float64) float64 {
	if shape < 1 {
		// 1-Float64 is in (0, 1]; the power of 0 would be a gap of 0 that the
		// distribution does not hold.
		return gamma(r, shape+1) * math.Pow(1-r.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
