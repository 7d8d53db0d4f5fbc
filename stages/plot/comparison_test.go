package plot

import (
	"math"
	"slices"
	"strings"
	"testing"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

func comparison(t *testing.T, a *analyze.Analysis, o Options) render.Figure {
	t.Helper()
	f, err := Comparison(a, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func xsOf(c render.Curve) []float64 {
	var xs []float64
	for _, v := range c.Points {
		xs = append(xs, v.X)
	}
	return xs
}

func TestComparison(t *testing.T) {
	f := comparison(t, pair(), Options{})
	want := []render.LegendEntry{
		{Name: "simple (1 GPU)", Detail: "TP:1, Model:Qwen3-0.6B", Color: red, Band: true},
		{Name: "nixl (2 GPUs)", Detail: "PF:2, D:2, TP:2x2, Model:Qwen3-0.6B", Color: blue, Marker: render.Square, Band: true},
		{Name: "target 90 %", Color: gray, Dash: render.Dashed, Marker: render.NoMarker},
	}
	if !slices.Equal(f.Legend, want) {
		t.Errorf("legend %+v,\nwant %+v", f.Legend, want)
	}
	left, right := f.Panels[0], f.Panels[1]
	if left.Curves[0].Color != red || left.Curves[1].Color != blue || left.Curves[0].Name != "simple" {
		t.Errorf("curves %+v", left.Curves)
	}
	var got []string
	for _, r := range append(slices.Clone(left.Rules), right.Rules...) {
		got = append(got, r.Label)
	}
	if want := []string{"", "2.77", "", "1.15", "0.885"}; !slices.Equal(got, want) {
		t.Errorf("marks %q, want %q", got, want)
	}
	if want := []string{"below 90 % throughout: simple"}; !slices.Equal(left.Notes, want) {
		t.Errorf("notes %q, want %q", left.Notes, want)
	}
	only := comparison(t, pair(), Options{Only: "tpot"})
	if y := only.Panels[0].Curves[0].Points[1].Y; y != 99 {
		t.Errorf("TPOT only at 1.5 is %g, want 99", y)
	}
	if r := only.Panels[0].Rules; r[1].Label != "1.05" || r[2].Label != "1.76" {
		t.Errorf("TPOT only: marks %+v", r)
	}
	if !strings.HasPrefix(only.Footer[0], "SLO: TPOT ≤ 70 ms; target") {
		t.Errorf("TPOT only: footer %q", only.Footer[0])
	}
}

// TestLooks holds the colours that users know, and that no two series of a
// full figure share a colour or a marker.
func TestLooks(t *testing.T) {
	modes := func(names ...string) []analyze.Series {
		var out []analyze.Series
		for _, n := range names {
			mode, _, _ := strings.Cut(n, ",")
			out = append(out, analyze.Series{Name: n, Labels: map[string]string{"mode": mode}})
		}
		return out
	}
	for _, c := range []struct {
		series []analyze.Series
		want   map[int]render.Color
	}{
		{modes("nixl", "simple", "lmcache"), map[int]render.Color{0: blue, 1: red, 2: green}},
		{modes("lmcache", "mine"), map[int]render.Color{0: green}},
		{modes("simple, 4096", "simple, 8192", "nixl, 4096", "nixl, 8192"), map[int]render.Color{0: red, 2: blue}},
		{modes("a", "b", "c", "d", "e", "f", "g", "h"), nil},
		{modes("a", "b", "c", "d", "e", "nixl", "g", "simple"), map[int]render.Color{5: blue, 7: red}},
	} {
		got := looks(c.series)
		for i, l := range got {
			if w, ok := c.want[i]; ok && l.color != w {
				t.Errorf("%s is %v, want %v", c.series[i].Name, l.color, w)
			}
			for _, o := range got[:i] {
				if o.color == l.color || o.marker == l.marker {
					t.Errorf("%s looks like an earlier series: %+v and %+v", c.series[i].Name, o, l)
				}
			}
		}
	}
}

func TestComparisonRates(t *testing.T) {
	a := pair()
	a.Series[0].Rates = a.Series[0].Rates[2:] // 2 to 4
	a.Series[1].Rates = a.Series[1].Rates[:5] // 1 to 3
	f := comparison(t, a, Options{})
	for _, c := range f.Panels[0].Curves {
		if got := xsOf(c); !slices.Equal(got, []float64{2, 2.5, 3}) {
			t.Errorf("shared: %s at %v", c.Name, got)
		}
	}
	f = comparison(t, a, Options{Xs: "separate"})
	if got := xsOf(f.Panels[0].Curves[1]); len(got) != 5 {
		t.Errorf("separate: nixl at %v", got)
	}
	// A mark lies on the curve that is drawn: without rate 2.5 the line from
	// (2, 97.5) to (3, 85.8333) meets 90 elsewhere.
	a.Series[1].Rates = slices.Delete(a.Series[1].Rates, 3, 4)
	f = comparison(t, a, Options{})
	if x, want := f.Panels[0].Rules[1].At, 2+7.5/(97.5-85.8333); math.Abs(x-want) > 1e-9 {
		t.Errorf("crossing of the shared rates at %g, want %g", x, want)
	}
	a.Series[0].Rates = a.Series[0].Rates[3:] // 3.5, 4
	if _, err := Comparison(a, Options{}); err == nil || !strings.Contains(err.Error(), "--separate-rates") || !strings.Contains(err.Error(), "simple at 3.5, 4") {
		t.Errorf("no shared rate: error %v", err)
	}
}

func TestComparisonPerGPU(t *testing.T) {
	f := comparison(t, pair(), Options{PerGPU: true, Xs: "separate"})
	if got := xsOf(f.Panels[0].Curves[1]); !slices.Equal(got, []float64{.5, .75, 1, 1.25, 1.5, 1.75, 2}) {
		t.Errorf("nixl per GPU at %v", got)
	}
	if l := f.Panels[0].Rules[1].Label; l != "1.39" { // 2.772727 / 2
		t.Errorf("crossing per GPU %q, want 1.39", l)
	}
	if !strings.Contains(f.Panels[0].X.Label, "per GPU") || f.Panels[1].X.Label != "SLO scale at 2 req/s in all" {
		t.Errorf("axes %q, %q", f.Panels[0].X.Label, f.Panels[1].X.Label)
	}
	if !strings.Contains(f.Footer[0], "(req/s per GPU): simple none, nixl 1.39") {
		t.Errorf("footer %q", f.Footer[0])
	}
	a := pair() // an analysis that has divided already
	a.PerGPU = true
	if got := xsOf(comparison(t, a, Options{PerGPU: true}).Panels[0].Curves[1]); got[0] != 1 {
		t.Errorf("divided twice: %v", got)
	}
}

func TestComparisonErrors(t *testing.T) {
	for name, c := range map[string]struct {
		a    *analyze.Analysis
		o    Options
		want string
	}{
		"none":      {analysis(), Options{}, "no series"},
		"too many":  {crowd(9, 2), Options{}, "where"},
		"no points": {analysis(analyze.Series{Name: "x"}), Options{}, "no point"},
		"only":      {pair(), Options{Only: "all"}, "both, ttft or tpot"},
	} {
		if _, err := Comparison(c.a, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// TestComparisonEmptySeries holds that a series without points is named, not
// fatal to the others.
func TestComparisonEmptySeries(t *testing.T) {
	a := pair()
	a.Series = append(a.Series, analyze.Series{Name: "lmcache", Labels: map[string]string{"mode": "lmcache"}})
	f := comparison(t, a, Options{})
	if !slices.Contains(f.Panels[0].Notes, "lmcache: no points") || !slices.Contains(f.Panels[1].Notes, "lmcache: no scale curve") {
		t.Errorf("notes %q and %q", f.Panels[0].Notes, f.Panels[1].Notes)
	}
	if len(f.Panels[0].Curves[0].Points) != len(rates) {
		t.Error("an empty series took the others' rates away")
	}
}
