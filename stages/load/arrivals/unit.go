package arrivals

import (
	"math"
	"math/rand/v2"
)

// gaps returns a source of gaps of mean 1. A ramp draws as Poisson does, so
// that the two differ by their rate alone.
func (p Process) gaps(r *rand.Rand) func() float64 {
	switch {
	case p.Kind == Constant:
		return func() float64 { return 1 }
	case p.Kind == Gamma && p.Burstiness != 1:
		shape := p.Burstiness
		return func() float64 { return gamma(r, shape) / shape }
	}
	return r.ExpFloat64
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
