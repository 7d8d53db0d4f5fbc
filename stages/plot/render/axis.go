package render

import "math"

// scale maps values to positions 0..size along one axis; for a vertical axis
// 0 is the top.
type scale struct {
	lo, hi float64
	log    bool
	turned bool // larger values at smaller positions
	size   float64
}

// at is the position of v. Values outside lo..hi lie outside 0..size.
func (s scale) at(v float64) float64 {
	lo, hi := s.lo, s.hi
	if s.log {
		v, lo, hi = math.Log10(v), math.Log10(lo), math.Log10(hi)
	}
	t := (v - lo) / (hi - lo)
	if s.turned {
		t = 1 - t
	}
	return t * s.size
}

func (s scale) has(v float64) bool { return v >= s.lo && v <= s.hi }

// newScale makes the scale of an axis from its range, or from the values
// drawn on it. Pages grow downwards, so a vertical axis is turned unless it is
// inverted.
func newScale(a Axis, vertical bool, size float64, values []float64) scale {
	s := scale{lo: a.Min, hi: a.Max, log: a.Log, turned: a.Inverted != vertical, size: size}
	if a.Min == a.Max {
		s.lo, s.hi = dataRange(values, a.Log)
	}
	return s
}

// dataRange gives values room at both sides, so that no marker sits on the
// frame. A linear axis of positive values does not begin below 0.
func dataRange(values []float64, log bool) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) && (!log || v > 0) {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	const pad = 0.05
	// Closer than this, ticks of 15 digits could not tell the ends apart.
	flat := hi-lo <= 1e-9*math.Max(math.Abs(lo), math.Abs(hi))
	switch {
	case lo > hi && log:
		return 1, 10
	case lo > hi:
		return 0, 1
	case log && flat:
		return lo / 2, hi * 2
	case log:
		f := math.Pow(hi/lo, pad)
		return lo / f, hi * f
	case flat && lo == 0:
		return 0, 1
	case flat:
		return math.Min(0, 2*lo), math.Max(0, 2*lo)
	}
	d := pad * (hi - lo)
	low := lo - d
	if lo >= 0 {
		low = max(low, 0)
	}
	return low, hi + d
}
