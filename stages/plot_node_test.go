package stages

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/runs"
)

// analysisOf scores tables of two rates for each name.
func analysisOf(t *testing.T, names ...string) *analyze.Analysis {
	t.Helper()
	var points []analyze.Point
	for _, name := range names {
		for rate, qps := range map[float64]string{1: "1", 2: "2"} {
			table := tableOf(3, int(rate), 0.1, 0.01)
			table.Meta.Axes = axesOf("mode", name, "qps", qps, "repeat", "0")
			table.Meta.Rate, table.Meta.GPUs = rate, 2
			points = append(points, analyze.Point{Table: table, Valid: true})
		}
	}
	a, err := analyze.Analyze(points, analyze.Params{TTFT: 0.2, TPOT: 0.1, Target: 0.7, Scales: []float64{1, 2}, ScaleRate: 1})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestChooseSeries(t *testing.T) {
	a := analysisOf(t, "simple", "nixl", "lmcache")
	for name, c := range map[string]struct {
		figure figureInput
		want   string
		err    string
	}{
		"all":             {figureInput{}, "simple nixl lmcache", ""},
		"where":           {figureInput{Where: "mode != 'nixl'"}, "simple lmcache", ""},
		"labels":          {figureInput{Labels: map[string]string{"mode": "nixl"}}, "nixl", ""},
		"both":            {figureInput{Labels: map[string]string{"mode": "nixl"}, Where: "mode == 'simple'"}, "", "no series to draw"},
		"a foreign label": {figureInput{Labels: map[string]string{"x": "1"}}, "", "no series to draw"},
		"bad where":       {figureInput{Where: "mode =="}, "", "where: "},
	} {
		got, err := chooseSeries(a, c.figure)
		if c.err != "" {
			mustContain(t, err, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		for _, s := range got.Series {
			names = append(names, s.Name)
		}
		if s := strings.Join(names, " "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
		if len(a.Series) != 3 {
			t.Fatalf("%s: the analysis has %d series left", name, len(a.Series))
		}
	}
}

// TestPlot draws from a stored analysis in every format; the figure says what
// it was asked to say.
func TestPlot(t *testing.T) {
	need := t.TempDir()
	if err := writeAnalysis(need, analysisOf(t, "simple", "nixl")); err != nil {
		t.Fatal(err)
	}
	draw := func(f figureInput, formats ...string) (string, error) {
		t.Helper()
		in, err := pipeline.NewInput(plotInput{Figure: f, Formats: formats, Need: "analyze"})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		return dir, plotWork(t.Context(), in, &pipeline.Runtime{Dir: dir, Needs: map[string]string{"analyze": need}})
	}
	dir, err := draw(figureInput{File: "f", Kind: "comparison", Title: "Two ways", Only: "both", Xs: "shared"}, "pdf", "svg", "png")
	if err != nil {
		t.Fatal(err)
	}
	if got := filesBelow(t, dir); !slices.Equal(got, []string{"f.pdf", "f.png", "f.svg"}) {
		t.Errorf("files %q", got)
	}
	if got := contentOf(t, dir, "f.pdf"); !strings.HasPrefix(got, "%PDF-") {
		t.Errorf("f.pdf begins %q", got[:8])
	}
	if _, err := png.Decode(bytes.NewReader([]byte(contentOf(t, dir, "f.png")))); err != nil {
		t.Errorf("f.png: %v", err)
	}
	svg := contentOf(t, dir, "f.svg")
	for _, want := range []string{"Two ways", "simple", "nixl"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the figure does not say %q", want)
		}
	}
	dir, err = draw(figureInput{File: "g", Kind: "attainment", PerGPU: true, Labels: map[string]string{"mode": "nixl"}}, "svg")
	if err != nil {
		t.Fatal(err)
	}
	if svg := contentOf(t, dir, "g.svg"); !strings.Contains(svg, "nixl") || strings.Contains(svg, "simple") || !strings.Contains(svg, "GPU") {
		t.Error("the figure of nixl is another one")
	}

	for want, f := range map[string]figureInput{
		"figure a: an attainment figure shows one series, and 2 match": {File: "a", Kind: "attainment"},
		`figure b: kind "pie" is not known`:                            {File: "b", Kind: "pie"},
	} {
		dir, err := draw(f, "svg")
		mustContain(t, err, want)
		if got := filesBelow(t, dir); len(got) > 0 {
			t.Errorf("it leaves %q", got)
		}
	}
	_, err = draw(figureInput{File: "f", Kind: "comparison"}, "gif")
	mustContain(t, err, `format "gif" is not known; there is: [pdf svg png]`)
}

// TestFiguresPool holds that a figure which tells series apart by fewer axes
// pools the points of the others, and that others of the run do not.
func TestFiguresPool(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, twoModes, "sweep: {", "sweep: {workload.seed: [1, 2], ") + `
figures:
  - {file: apart, kind: comparison}
  - {file: pooled, kind: comparison, series: [mode]}
  - {file: each, kind: attainment, series: [mode]}
`
	a := w.apply(spec)
	if got := runs.StateOf(a.RunDir); got != runs.Complete {
		t.Fatalf("the run is %s", got)
	}
	drawn := func(id string) []string {
		t.Helper()
		r := a.Report.Result(id)
		if len(r.Node.Needs) != 1 {
			t.Fatalf("%s needs %q", id, r.Node.Needs)
		}
		analysis, err := ReadAnalysis(a.Report.Result(r.Node.Needs[0]).Artefact.Dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range analysis.Series {
			out = append(out, fmt.Sprintf("%s: %d sent", s.Name, s.Rates[0].Sent))
		}
		return out
	}
	if got, want := drawn("plot pooled"), []string{"simple: 8 sent", "nixl: 8 sent"}; !slices.Equal(got, want) {
		t.Errorf("pooled: %q, want %q", got, want)
	}
	if got := drawn("plot each mode=nixl"); len(got) != 2 {
		t.Errorf("each: %q", got)
	}
	if got := drawn("plot apart"); len(got) != 4 {
		t.Errorf("apart: %q", got)
	}
	if analysis, err := ReadAnalysis(a.RunDir); err != nil || len(analysis.Series) != 4 {
		t.Errorf("the run's own analysis: %+v, %v", analysis, err)
	}
}

func TestFootnotes(t *testing.T) {
	for n, want := range []string{"", "a", "a b", "a b c", "a b 2 more notes are in the analysis."} {
		a := &analyze.Analysis{Warnings: []string{"a", "b", "c", "d"}[:n]}
		if got := strings.Join(footnotes(a), " "); got != want {
			t.Errorf("of %d notes: %q, want %q", n, got, want)
		}
		// Which requests count is said whatever else there is to say.
		a.Window.From, a.Windowed = analyze.Edge{Share: 0.1, Set: true}, &analyze.Windowed{Sent: 9, LeftOut: 1}
		if got := footnotes(a); got[0] != a.WindowLine() || strings.Join(got[1:], " ") != want {
			t.Errorf("of a window and %d notes: %q", n, got)
		}
	}
}

// TestDraw holds which figures plot and compare draw, and where.
func TestDraw(t *testing.T) {
	for want, names := range map[string][]string{
		"out/vllm_benchmark_plots.svg": {"simple"},
		"out/a,b/vllm_benchmark_plots.svg out/simple/vllm_benchmark_plots.svg out/vllm_comparison_plots.svg": {"simple", "a b"},
	} {
		dir := t.TempDir()
		files, err := Draw(analysisOf(t, names...), filepath.Join(dir, "out"), specs.Figure{Title: "T", Only: "both", Xs: "shared"}, []string{"svg"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			rel, _ := filepath.Rel(dir, f)
			got = append(got, rel)
			if info, err := os.Stat(f); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", f, err)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("drawn %s, want %s", s, want)
		}
	}
	// What cannot be drawn leaves nothing, not the figures before it.
	dir := t.TempDir()
	_, err := Draw(analysisOf(t, "simple", "nixl"), dir, specs.Figure{Where: "mode == 'simple'"}, []string{"svg"})
	mustContain(t, err, "no series to draw")
	if got := filesBelow(t, dir); len(got) > 0 {
		t.Errorf("it leaves %q", got)
	}
}

// TestNotesOfOneSeries holds that a figure of one series carries the notes about it
// and about the whole, not those about others.
func TestNotesOfOneSeries(t *testing.T) {
	a := &analyze.Analysis{
		Series: []analyze.Series{
			{Name: "a", Labels: map[string]string{"mode": "a"}, Rates: []analyze.Rate{{QPS: 1, Sent: 1}}},
			{Name: "ab", Labels: map[string]string{"mode": "ab"}},
		},
		Warnings: []string{
			"a: nothing was sent at rate 2", "ab: nothing was sent at rate 2", "mode=ab qps=2 repeat=0: 1 of 4 requests failed",
			"mode=a qps=2 repeat=0: 1 of 4 requests failed", "prefix caches could not be reset before 2 of 4 points: ...",
		},
	}
	got, err := chooseSeries(a, figureInput{Labels: map[string]string{"mode": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{a.Warnings[0], a.Warnings[3], a.Warnings[4]}; !slices.Equal(got.Warnings, want) {
		t.Errorf("got %q, want %q", got.Warnings, want)
	}
	if got, err := chooseSeries(a, figureInput{}); err != nil || !slices.Equal(got.Warnings, a.Warnings) {
		t.Errorf("a figure of all has %q, %v", got.Warnings, err)
	}
}
