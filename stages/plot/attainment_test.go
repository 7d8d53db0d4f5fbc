package plot

import (
	"math"
	"slices"
	"strings"
	"testing"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

func TestAttainment(t *testing.T) {
	a := pair()
	f, err := Attainment(a, a.Series[1], Options{Footer: []string{"more"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels) != 2 || len(f.Legend) != 4 {
		t.Fatalf("%d panels and %d legend entries, want 2 and 4", len(f.Panels), len(f.Legend))
	}
	dashes := map[string]render.Dash{"TTFT and TPOT": render.Solid, "TTFT only": render.Dotted, "TPOT only": render.Dashed}
	for i, p := range f.Panels {
		if p.Y.Min != 0 || p.Y.Max != 105 || len(p.Curves) != 3 {
			t.Errorf("panel %d: y %g to %g, %d curves", i, p.Y.Min, p.Y.Max, len(p.Curves))
		}
		for _, c := range p.Curves {
			if d, ok := dashes[c.Name]; !ok || d != c.Dash {
				t.Errorf("panel %d: curve %q has dash %d", i, c.Name, c.Dash)
			}
			band := c.Name == "TTFT and TPOT" && i == 0
			if got := c.Points[3].Low < c.Points[3].High; got != band {
				t.Errorf("panel %d: curve %q has a band: %v", i, c.Name, got)
			}
		}
	}
	left := f.Panels[0]
	if c := left.Curves[2]; c.Points[4].X != 3 || math.Abs(c.Points[4].Y-85.8333) > 1e-9 || c.Color != blue {
		t.Errorf("both at rate 3: %+v, colour %v", c.Points[4], c.Color)
	}
	if r := left.Rules[1]; r.Label != "2.77" || math.Abs(r.At-2.772727) > 1e-5 {
		t.Errorf("crossing %+v", r)
	}
	if r := f.Panels[1].Rules[1]; r.Label != "0.885" {
		t.Errorf("crossing of scale %+v", r)
	}
	if want := []string{"nixl: PF:2, D:2, TP:2x2, Model:Qwen3-0.6B, 2 GPUs"}; !slices.Equal(f.Subtitle, want) {
		t.Errorf("subtitle %q, want %q", f.Subtitle, want)
	}
	foot := strings.Join(f.Footer, "\n")
	for _, want := range []string{"TTFT ≤ 1500 ms and TPOT ≤ 70 ms", "target 90 %", "nixl 2.77", "120 requests per point, 1 repeat; 0 of 840 requests failed", "more"} {
		if !strings.Contains(foot, want) {
			t.Errorf("footer lacks %q: %s", want, foot)
		}
	}
	if f.Panels[1].X.Label != "SLO scale at 2 req/s" {
		t.Errorf("scale axis %q", f.Panels[1].X.Label)
	}
}

// TestAttainmentOneObjective holds that an objective nobody set has no line.
func TestAttainmentOneObjective(t *testing.T) {
	a := pair()
	a.SLO.TPOT = 0
	f, err := Attainment(a, a.Series[1], Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Panels[0].Curves) != 1 || len(f.Legend) != 2 || f.Legend[0].Name != "nixl" {
		t.Errorf("%d curves, legend %+v", len(f.Panels[0].Curves), f.Legend)
	}
	if !strings.Contains(f.Footer[0], "SLO: TTFT ≤ 1500 ms; target") {
		t.Errorf("footer %q", f.Footer[0])
	}
}

func TestAttainmentOnly(t *testing.T) {
	a := pair()
	f, err := Attainment(a, a.Series[0], Options{Only: "tpot"})
	if err != nil {
		t.Fatal(err)
	}
	p := f.Panels[0]
	if len(p.Curves) != 1 || p.Curves[0].Points[1].Y != 99 || p.Curves[0].Dash != render.Solid || p.Y.Label != "TPOT SLO attainment (%)" {
		t.Errorf("panel %+v", p)
	}
	if len(p.Rules) != 3 || p.Rules[2].Label != "1.76" {
		t.Errorf("marks %+v", p.Rules)
	}
}

func TestAttainmentShowsWhatIsNotMeasured(t *testing.T) {
	a := pair()
	s := &a.Series[0]
	s.Config["engine"] = "simulated"
	s.Rates[2].Valid, s.Rates[2].Reason, s.Rates[2].Failed = false, "schedule_kept > 0.97", 7
	f, err := Attainment(a, *s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	foot := strings.Join(f.Footer, "\n")
	for _, want := range []string{"no GPU was measured", "7 of 700 requests failed; 1 of 7 points not valid", "Hollow markers: not valid: schedule_kept > 0.97 (simple 2)"} {
		if !strings.Contains(foot, want) {
			t.Errorf("footer lacks %q: %s", want, foot)
		}
	}
	if !strings.Contains(f.Subtitle[0], "simulated engine") {
		t.Errorf("subtitle %q", f.Subtitle[0])
	}
	for i, p := range f.Panels {
		for _, c := range p.Curves {
			for k, v := range c.Points {
				// The scale panel re-scores rate 2, the one that is not valid.
				if want := i == 1 || k == 2; v.Hollow != want {
					t.Errorf("panel %d, %s, point %d: hollow %v", i, c.Name, k, v.Hollow)
				}
			}
		}
	}
	if last := f.Legend[len(f.Legend)-1]; last.Name != "not valid" || !last.Hollow {
		t.Errorf("legend ends with %+v", last)
	}
}

// A series of which nothing could be measured has a figure that says so.
func TestAttainmentOfNothing(t *testing.T) {
	f, err := Attainment(pair(), analyze.Series{Name: "void"}, Options{Footer: []string{"rate 1 is left out"}})
	if err != nil {
		t.Fatal(err)
	}
	svg, err := render.SVG(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"void: no point could be measured", "rate 1 is left out"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the figure lacks %q", want)
		}
	}
	if _, err := render.PDF(f); err != nil {
		t.Error(err)
	}
}

func TestAttainmentErrors(t *testing.T) {
	a := pair()
	a.Series[0].GPUs = 0
	for name, c := range map[string]struct {
		s    analyze.Series
		o    Options
		want string
	}{
		"no GPUs": {a.Series[0], Options{PerGPU: true}, "how many GPUs simple used"},
		"only":    {a.Series[0], Options{Only: "e2e"}, "both, ttft or tpot"},
		"rates":   {a.Series[0], Options{Xs: "common"}, "shared or separate"},
	} {
		if _, err := Attainment(a, c.s, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}
