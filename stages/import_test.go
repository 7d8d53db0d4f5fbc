package stages

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/analyze"
	"vbp/stages/runs"
)

// importInto imports folders at a fixed time.
func (w *world) importInto(o ImportOptions) (*Imported, error) {
	w.site.Now = func() time.Time { return time.Date(2026, 5, 6, 7, 8, 9, 0, time.Local) }
	return Import(w.t.Context(), w.site, o)
}

func (w *world) mustImport(o ImportOptions) *Imported {
	w.t.Helper()
	m, err := w.importInto(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// asking is options that ask for nothing in particular, and for figures that
// are drawn quickly.
func asking(folders ...string) ImportOptions {
	return ImportOptions{Folders: folders, Question: nothing(), Formats: []string{"svg"}}
}

// scriptsFolder writes a folder of the scripts with two rates.
func (w *world) scriptsFolder(name, mode string) string {
	w.write(name+"/vllm-1.0qps-m-20260101-000000.json", scriptsFile(mode, 4))
	return filepath.Dir(w.write(name+"/vllm-2.0qps-m-20260101-000000.json", scriptsFile(mode, 2)))
}

// TestImportMakesARun holds that list, show, plot and other tools find in an
// imported run what they find in one that was applied.
func TestImportMakesARun(t *testing.T) {
	w := newWorld(t)
	simple, nixl := w.scriptsFolder("old/sharegpt/simple_20260101_000000", "simple"), w.scriptsFolder("old/sharegpt/nixl_20260101_010000", "nixl")
	o := asking(simple, nixl)
	o.Question.TTFT, o.Question.TPOT, o.Question.Target = 0.1, 0.05, 0.8
	o.Question.Scales, o.Question.ScaleRate = []float64{1, 3}, 2
	o.Command, o.Formats = "vbp import", nil
	m := w.mustImport(o)
	if !m.New || m.Points != 4 || m.RunDir != filepath.Join(w.site.Results, "sharegpt", "20260506_070809") || len(m.Warnings) != 0 {
		t.Errorf("%+v", m)
	}
	want := []string{
		"analysis.csv", "analysis.json", "journal.jsonl",
		"plots/nixl/vllm_benchmark_plots.pdf", "plots/nixl/vllm_benchmark_plots.png", "plots/nixl/vllm_benchmark_plots.svg",
		"plots/simple/vllm_benchmark_plots.pdf", "plots/simple/vllm_benchmark_plots.png", "plots/simple/vllm_benchmark_plots.svg",
		"plots/vllm_comparison_plots.pdf", "plots/vllm_comparison_plots.png", "plots/vllm_comparison_plots.svg",
		"points.json",
		"samples/mode=nixl/qps=1/repeat=0/samples.parquet", "samples/mode=nixl/qps=2/repeat=0/samples.parquet",
		"samples/mode=simple/qps=1/repeat=0/samples.parquet", "samples/mode=simple/qps=2/repeat=0/samples.parquet",
	}
	if got := filesBelow(t, m.RunDir); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	records, _, err := history.Read(filepath.Join(m.RunDir, history.FileName))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := readImport(m.RunDir)
	if err != nil || records[0].Kind != history.RunBegun || records[0].Text != "vbp import" || len(rec.Files) != 4 || rec.Files[0].Bytes == 0 {
		t.Errorf("first record %+v: %+v, %v", records[0], rec, err)
	}
	// sha256sum is another program's word on what was read.
	if sum, err := exec.Command("sha256sum", rec.Files[0].Path).Output(); err == nil && !strings.HasPrefix(string(sum), rec.Files[0].SHA256) {
		t.Errorf("digest %s, sha256sum says %s", rec.Files[0].SHA256, sum)
	}

	listed, err := List(w.site.Results)
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	if l := listed[0]; l.Kind != "vbp" || l.State != runs.Complete || l.Results != 4 || l.Plots != 3 || l.Name != "sharegpt/20260506_070809" ||
		!slices.Equal(l.Config, []string{"simple: TP:2, Model:m", "nixl: TP:2, Model:m"}) {
		t.Errorf("listed %+v", l)
	}
	s, err := Show(m.RunDir)
	if err != nil || s.Name != "sharegpt" || s.State != runs.Complete || len(s.Points) != 4 || len(s.Figures) != 3 || s.Analysis == nil {
		t.Fatalf("shown %+v, %v", s, err)
	}
	if p := s.Points[3]; p.Node != "mode=nixl qps=2 repeat=0" || p.How != "imported" || p.Verdict != "valid" || p.Facts["sent"] != 4 || p.Facts["failed"] != 0 {
		t.Errorf("shown point %+v", p)
	}
	// Asked for nothing, it answers what it was imported with.
	run := open(t, m.RunDir, "")
	a, err := Ask([]*Results{run}, nothing())
	if err != nil {
		t.Fatal(err)
	}
	if got := seriesOf(a); got != "simple: 1=1 2=0.5; nixl: 1=1 2=0.5" || a.SLO != (analyze.SLO{TTFT: 100, TPOT: 50, Target: 0.8}) {
		t.Errorf("%s under %+v", got, a.SLO)
	}
	if sc := a.Series[0].Scales; *sc.QPS != 2 || len(sc.Points) != 2 || sc.Points[1].Both != 1 {
		t.Errorf("scales %+v", sc)
	}
	if got := seriesOf(mustAsk(t, open(t, m.RunDir, "old"))); got != "old simple: 1=1 2=0.5; old nixl: 1=1 2=0.5" {
		t.Errorf("under a label: %s", got)
	}
}

func mustAsk(t *testing.T, r ...*Results) *analyze.Analysis {
	t.Helper()
	q := nothing()
	q.TTFT, q.TPOT = 0.1, 0.05
	a, err := Ask(r, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestImportRoundTrip holds that import, export and import again lose nothing,
// for real files of both kinds and for a run that was applied.
func TestImportRoundTrip(t *testing.T) {
	for _, path := range [][]string{{"vllm-bench", "llama_8B"}, {"distserve", "llama_8B"}} {
		for _, format := range []string{"vllm", "arrow"} {
			t.Run(strings.Join(path, "/")+" "+format, func(t *testing.T) {
				w := newWorld(t)
				first := open(t, w.mustImport(asking(realData(t, path...))).RunDir, "")
				_, e := export(t, first, format)
				second := open(t, w.mustImport(asking(e.Paths...)).RunDir, "")
				samePoints(t, second.Points, first.Points)
				if first.Dir == second.Dir {
					t.Error("the second import is the first")
				}
			})
		}
	}
	w := newWorld(t)
	run := open(t, w.apply(changed(t, sweptModes, "sent == 4", "order < 3")).RunDir, "")
	for _, format := range []string{"vllm", "arrow"} {
		_, e := export(t, run, format)
		o := asking(e.Paths...)
		o.Name = format
		back := open(t, w.mustImport(o).RunDir, "")
		slices.SortFunc(back.Points, inOrderOf(run.Points))
		samePoints(t, back.Points, run.Points)
		want, got := mustAsk(t, run), mustAsk(t, back)
		if seriesOf(got) != seriesOf(want) || len(got.Series) != 3 {
			t.Errorf("%s: %s, was %s", format, seriesOf(got), seriesOf(want))
		}
	}
}

// inOrderOf compares points by the place of their equals in want.
func inOrderOf(want []analyze.Point) func(a, b analyze.Point) int {
	at := func(p analyze.Point) int {
		return slices.IndexFunc(want, func(q analyze.Point) bool { return axesLabel(q.Table.Meta.Axes) == axesLabel(p.Table.Meta.Axes) })
	}
	return func(a, b analyze.Point) int { return at(a) - at(b) }
}

// TestImportAgain holds that the same files in the same way are one run, and
// anything else another.
func TestImportAgain(t *testing.T) {
	w := newWorld(t)
	dir := w.scriptsFolder("old/sharegpt/simple_20260101_000000", "simple")
	first := w.mustImport(asking(dir))
	if again := w.mustImport(asking(dir)); again.New || again.RunDir != first.RunDir {
		t.Errorf("the same again is %+v", again)
	}
	moved := filepath.Join(w.dir, "elsewhere", "sharegpt", "simple_20260101_000000")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if again := w.mustImport(asking(moved)); again.New {
		t.Errorf("a copy elsewhere is %+v", again)
	}
	seen := []string{first.RunDir}
	other := func(what string, o ImportOptions) {
		t.Helper()
		m := w.mustImport(o)
		if !m.New || slices.Contains(seen, m.RunDir) {
			t.Errorf("%s: %+v is one of %q", what, m, seen)
		}
		seen = append(seen, m.RunDir)
	}
	o := asking(dir)
	o.Question.TTFT = 0.3
	other("another objective", o)
	o = asking(dir)
	o.Formats = []string{"pdf"}
	other("another form of figures", o)
	o = asking(dir)
	o.Mode = "mine"
	other("another mode", o)
	o = asking(dir)
	o.Name = "mine"
	other("another name", o)
	w.site.Code = "new"
	other("another build", asking(dir))
	if err := os.Remove(filepath.Join(seen[5], "samples/mode=simple/qps=1/repeat=0/samples.parquet")); err != nil {
		t.Fatal(err)
	}
	other("one that is no more whole", asking(dir))
	w.write("old/sharegpt/simple_20260101_000000/vllm-2.0qps-m-20260101-000000.json", scriptsFile("simple", 3))
	other("other content", asking(dir))
}

// TestImportOfSeveralFolders holds how the points of several folders become
// those of one run.
func TestImportOfSeveralFolders(t *testing.T) {
	w := newWorld(t)
	a, b := w.scriptsFolder("a/simple_20260101_000000", "simple"), w.scriptsFolder("b/simple_20260102_000000", "simple")
	_, err := w.importInto(asking(a, b))
	mustContain(t, err, a, b, "both hold mode=simple qps=1", "--mode")
	apart := w.mustImport(asking("old="+a, "new="+b))
	if got := seriesOf(mustAsk(t, open(t, apart.RunDir, ""))); got != "old: 1=1 2=0.5; new: 1=1 2=0.5" || filepath.Base(filepath.Dir(apart.RunDir)) != "a-b" {
		t.Errorf("%s in %s", got, apart.RunDir)
	}
	o := asking(a, b)
	o.Mode = "simple"
	pooled := mustAsk(t, open(t, w.mustImport(o).RunDir, ""))
	if r := pooled.Series[0].Rates[0]; len(pooled.Series) != 1 || r.Repeats != 2 || r.Sent != 8 {
		t.Errorf("pooled %+v", pooled.Series)
	}
	// An export with an axis that the others lack.
	run := open(t, w.apply(sweptModes).RunDir, "")
	_, e := export(t, run, "arrow")
	m := w.mustImport(asking(e.Paths[0], "old="+a))
	if !slices.Contains(filesBelow(t, m.RunDir), "samples/mode=old/modes.simple.args.max-num-seqs=__HIVE_DEFAULT_PARTITION__/qps=1/repeat=0/samples.parquet") {
		t.Errorf("files %q", filesBelow(t, m.RunDir))
	}
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "own rates") {
		t.Errorf("no rate is shared: %q", m.Warnings)
	}
}

// TestWrongImports holds what is said of what cannot be imported, and that
// nothing is left of it.
func TestWrongImports(t *testing.T) {
	w := newWorld(t)
	good := w.scriptsFolder("good_20260101_000000", "simple")
	run := w.apply(oneMode).RunDir
	if err := os.MkdirAll(filepath.Join(w.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("torn/vllm-1.0qps-m.json", scriptsFile("simple", 1)[:60])
	w.write("mixed/vllm-1.0qps-m.json", scriptsFile("simple", 1))
	w.write("mixed/d-1.exp", `[{"start_time": 1, "output_len": 1, "token_timestamps": [2]}]`)
	file := w.write("notes.txt", "hello")
	before := filesBelow(t, w.site.Results)
	for _, c := range []struct {
		folders []string
		want    []string
	}{
		{[]string{"empty"}, []string{"empty", "no usable results", "looked for"}},
		{[]string{"torn"}, []string{"vllm-1.0qps-m.json", "cut off"}},
		{[]string{"mixed"}, []string{"folder of its own"}},
		{[]string{"nowhere"}, []string{"nowhere", "no such file"}},
		{[]string{file}, []string{"notes.txt"}},
		{[]string{run}, []string{"is a run of vbp already", "plot, compare"}},
		{[]string{"empty", "torn", "nowhere"}, []string{"empty", "cut off", "nowhere"}},
		{[]string{good, good + "/"}, []string{"named twice"}},
	} {
		for i, f := range c.folders {
			if !filepath.IsAbs(f) {
				c.folders[i] = filepath.Join(w.dir, f)
			}
		}
		_, err := w.importInto(asking(c.folders...))
		mustContain(t, err, c.want...)
	}
	o := asking(good)
	o.Question.ScaleRate = -1
	_, err := w.importInto(o)
	mustContain(t, err, "rate of the scale panel")
	w.site.Results = file
	_, err = w.importInto(asking(good))
	mustContain(t, err, "cannot make the results folder", "--results")
	w.site.Results = filepath.Join(w.dir, "results")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, w.site, asking(good)); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted import: %v", err)
	}
	if after := filesBelow(t, w.site.Results); !slices.Equal(before, after) {
		t.Errorf("left: %q", after)
	}
}

// TestImportCountsFailures holds that verdicts and states are those of the
// requests: an import with nothing answered is empty.
func TestImportCountsFailures(t *testing.T) {
	w := newWorld(t)
	failed := `{"request_rate": %s, "ttfts": [0, 0], "itls": [[], []], "output_lens": [0, 0], "errors": ["x", "y"]}`
	w.write("some/vllm-1.0qps-m.json", strings.Replace(failed, "%s", "1", 1))
	w.write("some/vllm-2.0qps-m.json", scriptsFile("some", 4))
	dir := filepath.Dir(w.write("none/vllm-1.0qps-m.json", strings.Replace(failed, "%s", "1", 1)))
	for folder, want := range map[string]string{filepath.Join(w.dir, "some"): runs.Partial, dir: runs.Empty} {
		m := w.mustImport(asking(folder))
		s, err := Show(m.RunDir)
		if err != nil || s.State != want || s.Points[0].Facts["failed"] != 2 {
			t.Errorf("%s: %+v, %v", folder, s, err)
		}
	}
}
