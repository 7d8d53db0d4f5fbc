package render

import (
	"math"
	"testing"
)

func TestScale(t *testing.T) {
	for _, c := range []struct {
		name     string
		axis     Axis
		vertical bool
		v, want  float64
	}{
		{"x", Axis{Min: 0, Max: 10}, false, 2, 20},
		{"x inverted", Axis{Min: 0, Max: 10, Inverted: true}, false, 2, 80},
		{"y grows upwards", Axis{Min: 0, Max: 10}, true, 2, 80},
		{"y inverted", Axis{Min: 0, Max: 10, Inverted: true}, true, 2, 20},
		{"log", Axis{Min: 0.1, Max: 1000, Log: true}, false, 1, 25},
		{"log inverted", Axis{Min: 0.1, Max: 1000, Log: true, Inverted: true}, false, 1, 75},
		{"outside", Axis{Min: 0, Max: 10}, false, 20, 200},
	} {
		if got := newScale(c.axis, c.vertical, 100, nil).at(c.v); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g at %g, want %g", c.name, c.v, got, c.want)
		}
	}
}

func TestDataRange(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		values []float64
		log    bool
		lo, hi float64
	}{
		{"padded", []float64{1, 4, nan}, false, 0.85, 4.15},
		{"not below 0", []float64{0.1, 10}, false, 0, 10.495},
		{"negative", []float64{-1, 1}, false, -1.1, 1.1},
		{"one point", []float64{4}, false, 0, 8},
		{"one negative point", []float64{-4}, false, -8, 0},
		{"one point at 0", []float64{0}, false, 0, 1},
		{"all one, but for rounding", []float64{0.3, 0.1 * 3}, false, 0, 0.6},
		{"none", nil, false, 0, 1},
		{"gaps only", []float64{nan, nan}, false, 0, 1},
		{"log", []float64{1, 100}, true, math.Pow(10, -0.1), math.Pow(10, 2.1)},
		{"log one point", []float64{8}, true, 4, 16},
		{"log none", nil, true, 1, 10},
	} {
		lo, hi := dataRange(c.values, c.log)
		if math.Abs(lo-c.lo) > 1e-9 || math.Abs(hi-c.hi) > 1e-9 {
			t.Errorf("%s: %g to %g, want %g to %g", c.name, lo, hi, c.lo, c.hi)
		}
	}
}
