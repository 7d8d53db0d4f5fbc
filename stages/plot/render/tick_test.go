package render

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func labels(ts []tick) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Label)
	}
	return strings.Join(out, " ")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		log    bool
		n      int
		format string
		want   string
	}{
		{0, 105, false, 6, "", "0 20 40 60 80 100"},
		{0.85, 4.15, false, 8, "", "1.0 1.5 2.0 2.5 3.0 3.5 4.0"},
		{0, 1, false, 5, "", "0 0.2 0.4 0.6 0.8 1.0"}, // 0.6, not 0.6000000000000001
		{0, 16.8, false, 8, "", "0 5 10 15"},
		{0, 16.8, false, 9, "", "0 2 4 6 8 10 12 14 16"},
		{-3, 3, false, 3, "", "-2 0 2"},
		{0.0003, 0.0011, false, 4, "", "0.0004 0.0006 0.0008 0.0010"},
		{0, 2.1e7, false, 4, "", "0 1e+07 2e+07"},
		{0, 1, false, 2, "%.2f", "0.00 0.50 1.00"},
		{1, 100, true, 5, "", "1 3 10 30 100"},
		{1, 100, true, 4, "", "1 10 100"},
		{1, 10, true, 12, "", "1 2 3 4 5 6 7 8 9 10"},
		{0.5, 16, true, 6, "", "0.5 1 2 5 10"},
		{0.05, 20, true, 6, "", "0.1 0.3 1 3 10"},
		{1e-6, 1e6, true, 5, "", "1e-06 0.001 1 1000 1e+06"},
		{2.1, 3.9, true, 4, "", "2.5 3.0 3.5"}, // no 1-2-5 step inside: linear
	} {
		got := ticks(c.lo, c.hi, c.log, c.n, c.format)
		if labels(got) != c.want {
			t.Errorf("ticks(%g, %g, log %v, %d) = %q, want %q", c.lo, c.hi, c.log, c.n, labels(got), c.want)
		}
	}
}

// TestTicksFarFromZero holds that an axis whose step is lost in its values
// ends the loop.
func TestTicksFarFromZero(t *testing.T) {
	for _, lo := range []float64{1e15, -1e300, 1e-300} {
		got := ticks(lo, lo+math.Abs(lo)*1e-15, false, 6, "")
		if len(got) > 20 {
			t.Errorf("%d ticks at %g", len(got), lo)
		}
	}
}

func TestSpacedTicksStandApart(t *testing.T) {
	fc, err := newFace()
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range []bool{false, true} {
		for _, w := range []float64{50, 90, 205, 460} {
			for _, hi := range []float64{1.5, 7, 12, 1000, 123456, 9e8} {
				a := area{Panel: Panel{X: Axis{Min: 1, Max: hi, Log: log}, Y: Axis{Min: 1, Max: hi, Log: log}}, w: w, h: w}
				a.scales(fc)
				last := math.Inf(-1)
				for _, k := range a.xt {
					if k.Label == "" {
						continue
					}
					x, half := a.x.at(k.V), fc.width(k.Label, tickSize)/2
					if x-half < last+3 {
						t.Errorf("log %v, w %g, hi %g: %q too near its neighbour", log, w, hi, k.Label)
					}
					last = x + half
				}
				if !slices.ContainsFunc(a.xt, func(k tick) bool { return k.Label != "" }) {
					t.Errorf("log %v, w %g, hi %g: no tick labelled", log, w, hi)
				}
			}
		}
	}
}
