package analyze

import (
	"cmp"
	"math"
	"slices"
)

// vertex is one point of a curve: attainment y at x; NaN where nothing could
// be measured, which is a gap.
type vertex struct{ x, y float64 }

// withGaps puts a gap into an ascending curve at each x of missing: nothing
// may be interpolated across it.
func withGaps(curve []vertex, missing []float64) []vertex {
	if len(curve) == 0 {
		return nil
	}
	for _, x := range missing {
		curve = append(curve, vertex{x, math.NaN()})
	}
	slices.SortStableFunc(curve, func(a, b vertex) int { return cmp.Compare(a.x, b.x) })
	return curve
}

// crossings returns every x at which the curve passes the target, in x order.
// The points must be in x order. A segment crosses if exactly one of its ends
// is below the target, and does so where the straight line between them meets
// it. Two segments that meet in a point on the target are one crossing. No
// crossing is an empty slice, never a made-up value.
func crossings(curve []vertex, target float64) []float64 {
	marks := []float64{}
	for i := 1; i < len(curve); i++ {
		a, b := curve[i-1], curve[i]
		if math.IsNaN(a.y) || math.IsNaN(b.y) || (a.y < target) == (b.y < target) {
			continue
		}
		if x := interpolate(a, b, target); len(marks) == 0 || marks[len(marks)-1] != x {
			marks = append(marks, x)
		}
	}
	return marks
}

// capacity is the largest x at which the curve passes the target downwards.
//
// A curve that reaches the target and never falls below it afterwards carries
// at least its last rate (so does one that starts below and rises for good),
// and so does one that falls in a gap, where it cannot be seen: at least its
// last rate before. One that never reaches the target has none. A curve that falls and rises again at
// its end has the capacity of its last fall: that it recovers says that some
// point is noise, and load beyond a measured miss is not promised. The second
// result tells of this case.
func capacity(curve []vertex, target float64) (c Capacity, recovers bool) {
	c.Bound = None
	if len(curve) == 0 {
		return Capacity{Bound: Unknown}, false
	}
	last, below := math.NaN(), false // the last x on or above the target; whether something below came after it
	for i, v := range curve {
		if math.IsNaN(v.y) {
			continue
		}
		if below = v.y < target; below {
			continue
		}
		last = v.x
		if c.Bound == None { // reached; holds until it falls
			c.Bound = AtLeast
		}
		if i+1 < len(curve) && curve[i+1].y < target {
			x := interpolate(v, curve[i+1], target)
			c = Capacity{Value: &x, Bound: Exact}
		}
	}
	if c.Bound == AtLeast {
		c.Value = &last
	}
	return c, c.Bound == Exact && !below
}

// interpolate is the x of the straight line from a to b at y, which lies
// between theirs. It hits both ends exactly.
func interpolate(a, b vertex, y float64) float64 {
	if y == b.y {
		return b.x
	}
	return a.x + (y-a.y)*(b.x-a.x)/(b.y-a.y)
}
