package analyze

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"vbp/stages/sample"
)

// at makes a point of mode at rate with met requests that meet 0.1/0.1 s and
// missed ones that do not. More axes follow as name=value; "name=" is an axis
// that does not apply.
func at(mode string, rate float64, repeat, met, missed int, more ...string) Point {
	t := table()
	for range met {
		t.Append(request(sample.OK, 0.1, 0.1, 2))
	}
	for range missed {
		t.Append(request(sample.OK, 0.2, 0.2, 2))
	}
	t.Meta.Rate, t.Meta.Repeat, t.Meta.GPUs = rate, repeat, 1
	t.Meta.Axes = []sample.Axis{{Name: "mode", Value: mode, Set: true}}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		t.Meta.Axes = append(t.Meta.Axes, sample.Axis{Name: name, Value: value, Set: value != ""})
	}
	t.Meta.Axes = append(t.Meta.Axes,
		sample.Axis{Name: "qps", Value: fmt.Sprint(rate), Set: true},
		sample.Axis{Name: "repeat", Value: fmt.Sprint(repeat), Set: true})
	return Point{Table: t, Valid: true}
}

func invalid(p Point, reason string) Point {
	p.Valid, p.Reason = false, reason
	return p
}

func params() Params {
	return Params{TTFT: 0.1, TPOT: 0.1, Target: 0.9, Scales: []float64{2, 1, 0.5, 2}, ScaleRate: math.NaN()}
}

func analyze(t *testing.T, p Params, points ...Point) *Analysis {
	t.Helper()
	a, err := Analyze(points, p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func warned(t *testing.T, a *Analysis, parts ...string) {
	t.Helper()
	if !slices.ContainsFunc(a.Warnings, func(w string) bool {
		for _, p := range parts {
			if !strings.Contains(w, p) {
				return false
			}
		}
		return true
	}) {
		t.Errorf("no warning says %q: %q", parts, a.Warnings)
	}
}

func TestSeriesAreNamedByWhatDiffers(t *testing.T) {
	for _, c := range []struct {
		points []Point
		want   string
	}{
		{[]Point{at("simple", 1, 0, 1, 0), at("simple", 2, 0, 1, 0)}, "simple"},
		{[]Point{at("simple", 1, 0, 1, 0, "tp=1"), at("simple", 1, 1, 1, 0, "tp=1")}, "simple"},
		{[]Point{at("simple", 1, 0, 1, 0, "tp=1"), at("nixl", 1, 0, 1, 0, "tp=1")}, "simple | nixl"},
		{[]Point{at("simple", 1, 0, 1, 0, "len=4096"), at("simple", 1, 0, 1, 0, "len=8192"), at("nixl", 1, 0, 1, 0, "len=")}, "simple, len=4096 | simple, len=8192 | nixl"},
		{[]Point{at("simple", 1, 0, 1, 0, "tp=1"), at("simple", 1, 0, 1, 0, "tp=2")}, "tp=1 | tp=2"},
		{[]Point{at("simple", 1, 0, 1, 0, "a=1", "b="), at("simple", 1, 0, 1, 0, "a=", "b=1")}, "a=1 | b=1"},
	} {
		var names []string
		for _, s := range analyze(t, params(), c.points...).Series {
			names = append(names, s.Name)
			if s.Labels["mode"] == "" || s.Labels["qps"] != "" {
				t.Errorf("labels %v", s.Labels)
			}
		}
		if got := strings.Join(names, " | "); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestValidRepeatsPool(t *testing.T) {
	a := analyze(t, params(),
		at("simple", 2, 1, 6, 4), at("simple", 2, 0, 8, 2), invalid(at("simple", 2, 2, 0, 10), "send_lag_p99_ms < 5"),
		invalid(at("simple", 1, 0, 10, 0), "schedule_kept > 0.97"), invalid(at("simple", 1, 1, 5, 5), "schedule_kept > 0.97"))
	rates := a.Series[0].Rates
	if len(rates) != 2 {
		t.Fatalf("got %+v", rates)
	}
	one, two := rates[0], rates[1]
	if two.Repeats != 2 || two.Sent != 20 || two.Both != 0.7 || !two.Valid || two.Reason != "" || len(two.Each) != 3 ||
		two.Each[0].Both != 0.8 || two.Each[2].Valid || two.Each[2].Reason != "send_lag_p99_ms < 5" {
		t.Errorf("with valid repeats: %+v", two)
	}
	if one.Repeats != 2 || one.Sent != 20 || one.Both != 0.75 || one.Valid || one.Reason != "schedule_kept > 0.97" {
		t.Errorf("without a valid repeat: %+v", one)
	}
	warned(t, a, "rate 2", "1 of 3 repeats left out", "send_lag")
}

func TestMissingPointsLeaveNoNumbers(t *testing.T) {
	missing := func(rate float64, repeat int) Point {
		p := invalid(at("simple", rate, repeat, 0, 0), "the server died")
		p.Missing = true
		return p
	}
	a := analyze(t, params(), at("simple", 1, 0, 10, 0), missing(2, 0), at("simple", 3, 0, 0, 10), missing(3, 1))
	s := a.Series[0]
	if len(s.Rates) != 2 || s.Rates[1].Repeats != 1 || len(s.Rates[1].Each) != 2 || s.Rates[1].Each[1].Reason != "the server died" {
		t.Fatalf("got %+v", s.Rates)
	}
	warned(t, a, "not measured at rate 2", "the server died")
	if err := a.WriteJSON(&strings.Builder{}); err != nil {
		t.Error(err)
	}
	// Even if nothing at all was measured.
	a = analyze(t, params(), missing(1, 0))
	if len(a.Series) != 1 || len(a.Series[0].Rates) != 0 || a.Series[0].Capacity.Both.Bound != Unknown {
		t.Errorf("got %+v", a.Series)
	}
}

func TestScaleRate(t *testing.T) {
	points := []Point{
		at("simple", 1, 0, 10, 0), at("simple", 2, 0, 9, 1), at("simple", 3, 0, 8, 2), at("simple", 4, 0, 7, 3), at("simple", 5, 0, 7, 3),
		at("nixl", 5, 0, 1, 9), at("nixl", 3, 0, 5, 5), at("nixl", 2, 0, 6, 4), at("nixl", 6, 0, 6, 4), at("nixl", 1, 0, 6, 4),
	}
	a := analyze(t, params(), points...) // in common: 1, 2, 3, 5
	for _, s := range a.Series {
		if s.Scales.QPS == nil || *s.Scales.QPS != 2 || len(s.Scales.Points) != 3 {
			t.Fatalf("%s: %+v, want rate 2 and three distinct scales", s.Name, s.Scales)
		}
	}
	if p := a.Series[0].Scales.Points; p[0].Scale != 0.5 || p[0].Both != 0 || p[1].Both != 0.9 || p[2].Both != 1 {
		t.Errorf("scale curve %+v", p)
	}
	if got := a.Series[1].Crossings.Scale.Both; len(got) != 1 || math.Abs(got[0]-1.75) > 1e-12 { // 0.6 at 1, 1 at 2
		t.Errorf("crossing over scale %v, want 1.75", got)
	}

	p := params()
	p.ScaleRate = 6
	a = analyze(t, p, points...)
	if s := a.Series[0].Scales; s.QPS != nil || s.Points == nil || len(s.Points) != 0 {
		t.Errorf("a rate that is not there gives %+v", s)
	}
	if a.Series[1].Scales.QPS == nil {
		t.Error("nixl has rate 6")
	}
	warned(t, a, "simple: no scale curve", "no rate 6", "1, 2, 3, 4, 5")

	a = analyze(t, params(), at("simple", 1, 0, 1, 0), at("nixl", 2, 0, 1, 0))
	warned(t, a, "no rate in common")
}

func TestPerGPU(t *testing.T) {
	two := at("nixl", 3, 0, 10, 0)
	two.Table.Meta.GPUs = 2
	p := params()
	p.PerGPU = true
	a := analyze(t, p, at("simple", 1.5, 0, 10, 0), two)
	for _, s := range a.Series {
		if s.Rates[0].QPS != 1.5 || *s.Scales.QPS != 1.5 || *s.Capacity.Both.Value != 1.5 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	two.Table.Meta.GPUs = 0
	if _, err := Analyze([]Point{two}, p); err == nil || !strings.Contains(err.Error(), "GPUs nixl used") {
		t.Errorf("got %v", err)
	}
}

func TestWhatMakesNoSenseIsAnError(t *testing.T) {
	good := at("simple", 1, 0, 1, 0)
	uneven := at("simple", 1, 0, 2, 0)
	uneven.Table.TTFT = uneven.Table.TTFT[:1]
	rateless := at("simple", math.NaN(), 0, 1, 0)
	with := func(change func(*Params)) Params { p := params(); change(&p); return p }
	for _, c := range []struct {
		points []Point
		p      Params
		want   string
	}{
		{nil, params(), "no points"},
		{[]Point{{}}, params(), "no table"},
		{[]Point{uneven}, params(), "TTFT has 1"},
		{[]Point{rateless}, params(), "mode=simple qps=NaN repeat=0) has rate NaN"},
		{[]Point{good}, with(func(p *Params) { p.TTFT = -1 }), "TTFT objective"},
		{[]Point{good}, with(func(p *Params) { p.TPOT = math.NaN() }), "TPOT objective"},
		{[]Point{good}, with(func(p *Params) { p.Target = 90 }), "target is 90"},
		{[]Point{good}, with(func(p *Params) { p.Scales = []float64{0} }), "scale 0"},
		{[]Point{good}, with(func(p *Params) { p.ScaleRate = -2 }), "scale panel"},
	} {
		if _, err := Analyze(c.points, c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestOddRequestsAndCurvesAreWarnedOf(t *testing.T) {
	odd := at("simple", 2, 0, 0, 10)
	odd.Table.Append(request(sample.OK, 0.1, math.NaN(), 9))
	odd.Table.Append(request(sample.OK, math.NaN(), 0.1, 9))
	last := at("simple", 3, 0, 10, 0)
	last.Table.Meta.GPUs = 4
	last.Table.Meta.Config = map[string]string{"tp": "4"}
	first := at("simple", 1, 0, 10, 0)
	first.Table.Meta.Config = map[string]string{"tp": "1"}
	a := analyze(t, params(), first, odd, last)
	warned(t, a, "rate 2", "1 successful requests have no TTFT")
	warned(t, a, "rate 2", "no TPOT")
	warned(t, a, "both SLOs", "back above it")
	warned(t, a, "different numbers of GPUs")
	warned(t, a, "differ in tp (1 | 4)")
}

func TestMillisecondsAreAsWritten(t *testing.T) {
	for ms := 1; ms <= 3000; ms++ {
		for _, v := range []float64{float64(ms), float64(ms) / 8, float64(ms) / 10} {
			if got := milliseconds(v / 1000); got != v {
				t.Fatalf("%v ms come back as %v", v, got)
			}
		}
	}
}

// A rate that was not offered, since max_concurrency held it back or a ramp went
// up to it, says nothing of what a deployment carries at it.
func TestRatesThatWereNotOffered(t *testing.T) {
	sent := func(rate, achieved, waited float64) Point {
		p := at("simple", rate, 0, 10, 0)
		p.Table.Meta.Facts = map[string]float64{"scheduled_qps": rate, "achieved_qps": achieved, "slot_waited": waited}
		return p
	}
	ramp := sent(9, 5, 0)
	ramp.Table.Meta.Facts["ramp_from_qps"] = 1
	a := analyze(t, params(), sent(1, 1, 0.5), sent(2, 1.9, 0), sent(4, 2.5, 0.9), sent(8, 2.6, 0.9), ramp)
	s := a.Series[0]
	if c := s.Capacity.Both; c.Bound != AtLeast || c.Value == nil || *c.Value != 2 {
		t.Errorf("capacity %+v", c)
	}
	for i, want := range []float64{0, 0, 2.5, 2.6, 5} {
		if got := s.Rates[i].SentQPS; (got == nil) != (want == 0) || got != nil && *got != want {
			t.Errorf("rate %v was sent at %v, want %v", s.Rates[i].QPS, got, want)
		}
	}
	if len(a.Warnings) != 3 || !strings.Contains(a.Warnings[0], "rate 4: max_concurrency held requests back (slot_wait_s; latencies count from the sending), and 2.5 were sent per second") || !strings.Contains(a.Warnings[2], "rate 9: arrivals were a ramp up to it, and 5 were") {
		t.Errorf("warnings %q", a.Warnings)
	}
	a = analyze(t, params(), sent(4, 2.5, 0.9))
	if c := a.Series[0].Capacity.Both; c.Bound != Unknown || c.Value != nil {
		t.Errorf("capacity of held rates alone: %+v", c)
	}
}
