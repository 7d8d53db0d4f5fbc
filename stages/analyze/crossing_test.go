package analyze

import (
	"fmt"
	"testing"
)

func curveOf(shares ...float64) []vertex {
	var c []vertex
	for i, y := range shares {
		c = append(c, vertex{float64(i + 1), y})
	}
	return c
}

func TestCrossingsAndCapacity(t *testing.T) {
	// x of shares is 1, 2, 3, ...; the target is 0.5 and the segments chosen
	// so that every answer is exact.
	for _, c := range []struct {
		name      string
		shares    []float64
		crossings string
		value     float64
		bound     string
		recovers  bool
	}{
		{"falls", []float64{1, 0.75, 0.25, 0}, "[2.5]", 2.5, Exact, false},
		{"always above", []float64{1, 0.75}, "[]", 2, AtLeast, false},
		{"always below", []float64{0.25, 0.125}, "[]", 0, None, false},
		{"on the target to the end", []float64{1, 0.5}, "[]", 2, AtLeast, false},
		{"starts on the target", []float64{0.5, 0}, "[1]", 1, Exact, false},
		{"noisy start, then falls", []float64{0.25, 0.75, 0.25}, "[1.5 2.5]", 2.5, Exact, false},
		{"rises for good", []float64{0, 1, 1}, "[1.5]", 3, AtLeast, false},
		{"falls, rises, falls", []float64{1, 0, 1, 0}, "[1.5 2.5 3.5]", 3.5, Exact, false},
		{"falls and rises", []float64{1, 0, 1}, "[1.5 2.5]", 1.5, Exact, true},
		{"touches the target from below", []float64{0.25, 0.5, 0.25}, "[2]", 2, Exact, false},
		{"touches the target from above", []float64{0.75, 0.5, 0.75}, "[]", 3, AtLeast, false},
		{"reaches the target at the end", []float64{0, 0.5}, "[2]", 2, AtLeast, false},
		{"one point above", []float64{0.75}, "[]", 1, AtLeast, false},
		{"one point below", []float64{0.25}, "[]", 0, None, false},
		{"no point", nil, "[]", 0, Unknown, false},
	} {
		curve := curveOf(c.shares...)
		if got := fmt.Sprint(crossings(curve, 0.5)); got != c.crossings {
			t.Errorf("%s: crossings %s, want %s", c.name, got, c.crossings)
		}
		got, recovers := capacity(curve, 0.5)
		value := 0.0
		if got.Value != nil {
			value = *got.Value
		}
		if got.Bound != c.bound || value != c.value || (got.Value == nil) != (c.bound == None || c.bound == Unknown) || recovers != c.recovers {
			t.Errorf("%s: capacity %v %s recovers %v, want %v %s %v", c.name, value, got.Bound, recovers, c.value, c.bound, c.recovers)
		}
	}
}
