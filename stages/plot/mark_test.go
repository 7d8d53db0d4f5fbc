package plot

import (
	"math"
	"slices"
	"strings"
	"testing"

	"vbp/stages/plot/render"
)

// TestCrossings compares with facts/distserve.md, computed by another script
// on the real data (of which the fixtures have four decimals), and with crossings worked out by hand.
func TestCrossings(t *testing.T) {
	vertices := func(xs, ys []float64) []render.Vertex {
		var out []render.Vertex
		for i := range xs {
			out = append(out, render.Vertex{X: xs[i], Y: ys[i]})
		}
		return out
	}
	for _, c := range []struct {
		name   string
		xs, ys []float64
		want   []float64
	}{
		{"distserve, both", rates, distserve.both, []float64{2.772727}},
		{"distserve, TTFT", rates, distserve.ttft, []float64{3.2}},
		{"distserve, TPOT", rates, distserve.tpot, []float64{3.192308}},
		{"distserve, scale", scales, distserve.scale, []float64{.885}},
		{"vllm, both", rates, vllmBench.both, nil},
		{"vllm, TPOT rises, then falls", rates, vllmBench.tpot, []float64{1.05, 1.764706}},
		{"vllm, scale", scales, vllmBench.scale, []float64{1.151724}},
		{"touches from above", []float64{1, 2, 3}, []float64{95, 90, 95}, nil},
		{"touches from below", []float64{1, 2, 3}, []float64{80, 90, 80}, []float64{2}},
		{"at the edge", []float64{1, 2}, []float64{90, 80}, []float64{1}},
		{"one point", []float64{1}, []float64{50}, nil},
	} {
		got := crossings(vertices(c.xs, c.ys), 90)
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-5 }) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	line := func(ys ...float64) []render.Vertex {
		var out []render.Vertex
		for i, y := range ys {
			out = append(out, render.Vertex{X: float64(i + 1), Y: y})
		}
		return out
	}
	curves := []curve{
		{"falls", red, line(100, 80)},
		{"low", blue, line(10, 0)},
		{"lower", green, line(0, 0)},
		{"high", gray, line(100, 90)},
		{"none", gray, nil},
	}
	rules, notes := marks(curves, 90)
	if len(rules) != 2 || !rules[0].Horizontal || rules[0].At != 90 || rules[0].Dash != render.Dashed {
		t.Fatalf("rules %+v, want the dashed target and one crossing", rules)
	}
	if r := rules[1]; r.At != 1.5 || r.To != 90 || r.Label != "1.50" || r.Color != red || r.Dash != render.Dashed {
		t.Errorf("crossing %+v", r)
	}
	if want := []string{"below 90 % throughout: low, lower", "never below 90 %: high"}; !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}

	rules, notes = marks([]curve{{"noisy", red, line(100, 80, 100, 80, 100, 80)}}, 90)
	if len(rules) != 3 || rules[1].At != 1.5 || rules[2].At != 5.5 || len(notes) != 1 || !strings.Contains(notes[0], "noisy (5)") {
		t.Errorf("five crossings: %+v, notes %q", rules, notes)
	}
}

func TestValue(t *testing.T) {
	for v, want := range map[float64]string{
		2.772727: "2.77", .885: "0.885", 3.2: "3.20", 11.44: "11.4", 1234.5: "1234", .0123456: "0.0123", 0: "0",
	} {
		if got := value(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
}

// Nothing is marked in a gap, and what a curve does there is not claimed.
func TestMarksOfGaps(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		ys    []float64
		rules int
		notes []string
	}{
		"falls in the gap":    {[]float64{100, nan, 70}, 0, []string{"passes 90 % where nothing could be measured: s"}},
		"gap, then all below": {[]float64{nan, 70, 60}, 0, []string{"below 90 % throughout: s"}},
		"gap, then all above": {[]float64{nan, 100, 95}, 0, []string{"never below 90 %: s"}},
		"falls after the gap": {[]float64{100, nan, 100, 70}, 1, nil},
		"only gaps":           {[]float64{nan, nan}, 0, nil},
	} {
		var vs []render.Vertex
		for i, y := range c.ys {
			vs = append(vs, render.Vertex{X: float64(i), Y: y, Low: nan, High: nan})
		}
		rules, notes := marks([]curve{{"s", red, vs}}, 90)
		if len(rules)-1 != c.rules || !slices.Equal(notes, c.notes) { // but the target's
			t.Errorf("%s: %d rules, notes %q", name, len(rules)-1, notes)
		}
		for _, r := range rules {
			if math.IsNaN(r.At) {
				t.Errorf("%s: a rule at NaN", name)
			}
		}
	}
}
