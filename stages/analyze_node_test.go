package stages

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/sample"
)

// TestSeconds holds that an objective in milliseconds is the number that
// people mean: a sample of exactly that many seconds meets it.
func TestSeconds(t *testing.T) {
	for ms := range 5000 {
		got := seconds(time.Duration(ms) * time.Millisecond)
		if got != float64(ms)/1000 {
			t.Fatalf("%d ms are %v s", ms, got)
		}
		ttft, _, err := newSLOInput(specs.SLO{TTFT: time.Duration(ms) * time.Millisecond}).seconds()
		if err != nil || ttft != got {
			t.Fatalf("%d ms come back as %v s, %v", ms, ttft, err)
		}
	}
	_, _, err := sloInput{TTFT: "fast", TPOT: "1ms"}.seconds()
	mustContain(t, err, "fast")
}

// analyzing runs the analysis of the tree.
func analyzing(t *testing.T, tree string, in analyzeInput) (*analyze.Analysis, string, error) {
	t.Helper()
	in.Need = "collect"
	raw, err := pipeline.NewInput(in)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := analyzeWork(t.Context(), raw, &pipeline.Runtime{Dir: dir, Needs: map[string]string{"collect": tree}}); err != nil {
		return nil, dir, err
	}
	a, err := ReadAnalysis(dir)
	return a, dir, err
}

// TestAnalyze analyzes the tree of TestCollect: three of four requests are
// answered after 0.1 s with 0.01 s a token.
func TestAnalyze(t *testing.T) {
	tree, _ := collected(t)
	run := func(in analyzeInput) (*analyze.Analysis, string, error) { return analyzing(t, tree, in) }
	rate := 1.0
	a, dir, err := run(analyzeInput{
		SLO: sloInput{"100ms", "5ms", 0.5}, Scales: []float64{1, 2}, ScaleRate: &rate, Valid: []string{"failed < 1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Series) != 2 || a.Series[0].Name != "b, x=a/b" || a.Series[1].Name != "a" {
		t.Fatalf("series %+v", a.Series)
	}
	r := a.Series[1].Rates
	if len(r) != 1 || r[0].QPS != 1 || r[0].Both != 0 || r[0].TTFT != 0.75 || r[0].TPOT != 0 || r[0].Valid || r[0].Reason != "failed < 1, it was 1" {
		t.Errorf("rates of a: %+v", r)
	}
	// Twice 5 ms are met exactly; only a has the rate of the scale panel.
	if p := a.Series[1].Scales.Points; len(p) != 2 || p[0].Both != 0 || p[1].Both != 0.75 {
		t.Errorf("scales of a: %+v", p)
	}
	if p := a.Series[0].Scales; p.QPS != nil {
		t.Errorf("scales of b: %+v", p)
	}
	if a.SLO != (analyze.SLO{TTFT: 100, TPOT: 5, Target: 0.5}) {
		t.Errorf("SLO %+v", a.SLO)
	}
	// A point without a record is told of under its rate.
	if !slices.ContainsFunc(a.Warnings, func(s string) bool { return strings.HasPrefix(s, "a: not measured at rate 4.5") }) {
		t.Errorf("warnings %q", a.Warnings)
	}
	f, err := os.Open(filepath.Join(dir, tableFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rows, err := csv.NewReader(f).ReadAll(); err != nil || len(rows) < 3 {
		t.Errorf("the table has %d rows, %v", len(rows), err)
	}

	// Without rules every measured point is valid; without a rate the panel
	// has the median common one, and here is none.
	a, _, err = run(analyzeInput{SLO: sloInput{"1s", "1s", 0.5}})
	if err != nil || !a.Series[0].Rates[0].Valid || a.Series[0].Rates[0].Both != 0.75 {
		t.Errorf("%+v, %v", a, err)
	}

	for want, in := range map[string]analyzeInput{
		`rule "x <"`: {SLO: sloInput{"1s", "1s", 0.5}, Valid: []string{"x <"}},
		"duration":   {SLO: sloInput{"1s", "", 0.5}},
		"target":     {SLO: sloInput{"1s", "1s", 0}},
	} {
		_, dir, err := run(in)
		mustContain(t, err, want)
		if got := filesBelow(t, dir); len(got) > 0 {
			t.Errorf("%s: it leaves %q", want, got)
		}
	}
}

func TestObserved(t *testing.T) {
	point := func(mode string, facts map[string]float64) analyze.Point {
		table := tableOf(1, 0, 1, 1)
		table.Meta.Axes, table.Meta.Facts = axesOf("mode", mode, "x", "-"), facts
		return analyze.Point{Table: table}
	}
	observed := func(points []analyze.Point) []string {
		return observed(points, make([]analyze.Count, len(points)))
	}
	got := observed([]analyze.Point{
		point("a", map[string]float64{"fallbacks": 3, "sent": 10, "cache_reset": 1}),
		point("b", map[string]float64{"fallbacks": 0, "sent": 10, "cache_reset": 0}),
		point("c", nil), // of others' files nothing is known, which is no warning
		point("d", map[string]float64{"cache_reset": 0}),
	})
	want := []string{
		"mode=a: 3 of 10 requests fell back to local prefill: their decode instance got no KV and prefilled itself",
		"prefix caches could not be reset before 2 of 4 points: repeated prompts may have hit them",
	}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q\nwant     %q", got, want)
	}
	// Notes of several points are told once.
	var noted []analyze.Point
	for mode, notes := range map[string]string{"a": "small data set\nbusy", "b": "small data set", "c": ""} {
		p := point(mode, nil)
		p.Table.Meta.Extra = map[string]string{notesKey: notes}
		noted = append(noted, p)
	}
	slices.SortFunc(noted, func(a, b analyze.Point) int {
		return strings.Compare(axesLabel(a.Table.Meta.Axes), axesLabel(b.Table.Meta.Axes))
	})
	if got, want := observed(noted), []string{"mode=a and 1 more: small data set", "mode=a: busy"}; !slices.Equal(got, want) {
		t.Errorf("of notes: %q, want %q", got, want)
	}
	if got := observed([]analyze.Point{point("a", map[string]float64{"cache_reset": 1})}); got != nil {
		t.Errorf("of a good point: %q", got)
	}
}

// TestAnalyzeWindow leaves out the first of the four requests, which are due a
// second apart: the one that failed is the last.
func TestAnalyzeWindow(t *testing.T) {
	tree, _ := collected(t)
	before := contentOf(t, tree, "samples", "mode=a", "modes.b.args.x=__HIVE_DEFAULT_PARTITION__", "qps=1", "repeat=0", samplesFile)
	w, err := analyze.ParseWindow("1s..")
	if err != nil {
		t.Fatal(err)
	}
	a, dir, err := analyzing(t, tree, analyzeInput{SLO: sloInput{"1s", "1s", 0.5}, Window: w})
	if err != nil {
		t.Fatal(err)
	}
	r := a.Series[1].Rates[0]
	if a.Window != w || r.Sent != 3 || r.Failed != 1 || r.LeftOut != 1 || r.Both != 2.0/3 {
		t.Errorf("of the window %v: %+v", a.Window, r)
	}
	if !slices.Contains(a.Warnings, "mode=a: 1 of 3 requests failed, the first with "+sample.HTTPError) {
		t.Errorf("warnings %q", a.Warnings)
	}
	if text := contentOf(t, dir, analysisFile); !strings.Contains(text, `"from": "1s"`) || !strings.Contains(text, `"left_out": 1`) {
		t.Errorf("the analysis does not tell of the window: %s", text)
	}
	if contentOf(t, tree, "samples", "mode=a", "modes.b.args.x=__HIVE_DEFAULT_PARTITION__", "qps=1", "repeat=0", samplesFile) != before {
		t.Error("the samples were changed")
	}
	// Up to 50 % there are two requests, and none that failed.
	if w, err = analyze.ParseWindow("..50%"); err != nil {
		t.Fatal(err)
	}
	a, _, err = analyzing(t, tree, analyzeInput{SLO: sloInput{"1s", "1s", 0.5}, Window: w})
	if err != nil {
		t.Fatal(err)
	}
	if r := a.Series[1].Rates[0]; r.Sent != 2 || r.Failed != 0 || slices.ContainsFunc(a.Warnings, func(s string) bool { return strings.Contains(s, "failed") }) {
		t.Errorf("of the window %v: %+v, %q", a.Window, r, a.Warnings)
	}
}

// TestTheWindowIsOfOneAnalysis holds that a window changes the key of its own
// analysis and of nothing before it, and reaches the figure.
func TestTheWindowIsOfOneAnalysis(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "stages: {", "stages: {trimmed: {uses: analyze, needs: [collect], window: {from: 25%, to: 90%}}, ")
	windowed := changed(t, spec, "collect: {", "analyze: {window: {from: 1ms}}, collect: {")
	input := func(g *pipeline.Graph, id string) (v map[string]any) {
		if err := g.Node(id).Input.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	plain, other := w.build(spec), w.build(windowed)
	for _, n := range plain.Nodes {
		if same := reflect.DeepEqual(input(plain, n.ID), input(other, n.ID)); same != (n.ID != "analyze") {
			t.Errorf("%s: the input with a window is the same: %v", n.ID, same)
		}
	}
	var in analyzeInput
	if err := plain.Node("trimmed").Input.Decode(&in); err != nil || in.Window.String() != "25%..90%" {
		t.Errorf("the further analysis has the window %v, %v", in.Window, err)
	}

	a := w.apply(windowed)
	got, err := ReadAnalysis(a.RunDir)
	if err != nil || got.Window.String() != "1ms.." || got.Series[0].Rates[0].Sent+got.Series[0].Rates[0].LeftOut != 4 {
		t.Fatalf("analyzed as %+v, %v", got, err)
	}
	if svg := contentOf(t, a.RunDir, "plots", "vllm_benchmark_plots.svg"); !strings.Contains(svg, "Window 1ms..") {
		t.Error("the figure does not tell of the window")
	}
}

// TestAnalyzedColumnsSuffice compares an analysis that reads only its columns
// with one of whole tables.
func TestAnalyzedColumnsSuffice(t *testing.T) {
	tree, _ := collected(t)
	p := analyze.Params{TTFT: 0.1, TPOT: 0.01, Target: 0.5, Scales: []float64{0.5, 1}, ScaleRate: 1}
	for _, window := range []string{"all", "10%..90%"} {
		var err error
		if p.Window, err = analyze.ParseWindow(window); err != nil {
			t.Fatal(err)
		}
		var all []*analyze.Analysis
		for _, how := range []reading{openWhole, openToAsk} {
			points, err := collectedPoints(tree, nil, how)
			if err != nil {
				t.Fatal(err)
			}
			if rows := points[0].Table.Len(); (rows == 0) != (how == openToAsk) {
				t.Errorf("%d rows were read", rows)
			}
			a, err := analyze.Analyze(points, p)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		if !reflect.DeepEqual(all[0], all[1]) {
			t.Errorf("%s: whole tables give %+v\ntheir columns %+v", window, all[0], all[1])
		}
	}
}
