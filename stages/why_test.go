package stages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/stages/runs"
)

// explain is Explain of a run, which must work.
func explain(t *testing.T, a *Applied, words ...string) *Explained {
	t.Helper()
	e, err := Explain(a.RunDir, words, ExplainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// notShown lists why other attempts than the shown one are not, oldest first.
func notShown(b Behind) []string {
	var out []string
	for _, a := range b.Others {
		out = append(out, a.NotShown)
	}
	return out
}

// TestExplainAttempts measures one point over and over, and asks each run why
// it shows what it shows.
func TestExplainAttempts(t *testing.T) {
	w := newWorld(t)
	version, failing := "fake/1", 1
	w.prepare = func(s *server) error {
		failFirst(s, failing)
		s.env["engine_version"] = version
		return nil
	}
	spec := changed(t, oneMode, "sent == 4", "ok == 4")
	rerun := ApplyOptions{PlanChoices: PlanChoices{Rerun: []string{"load"}}}
	check := ApplyOptions{PlanChoices: PlanChoices{CheckEnvironment: true}}
	apply := func(o ApplyOptions, text string) *Applied {
		t.Helper()
		a, err := w.applyWith(t.Context(), o, text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := w.apply(spec) // attempts 1, which a rule rejects, and 2
	failing = 0
	second := apply(rerun, spec) // 3
	version = "fake/2"
	third := apply(check, spec) // 4
	w.site.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	aged := spec + "reuse: {max_age: 1h}\n"
	fourth := apply(ApplyOptions{}, aged) // 5
	scored := apply(ApplyOptions{}, strings.Replace(aged, "tpot: 50ms", "tpot: 40ms", 1))

	const rejected = "rejected: ok == 4, it was 3"
	other, after := "another environment: engine_version: fake/1 -> fake/2", "made after this run"
	for i, c := range []struct {
		run      *Applied
		how      string
		why      string // the last that the journal says
		notShown []string
		runs     []*Applied // that show the same
	}{
		{first, "measured", "again, for not usable: ok == 4, it was 3", []string{rejected, after, after, after}, []*Applied{first}},
		{second, "measured", "to be made again, as asked for", []string{rejected, "older", after, after}, []*Applied{second}},
		{third, "measured", "the environment differs: engine_version: fake/1 -> fake/2", []string{rejected, other, other, after}, []*Applied{third}},
		{fourth, "measured", "measured 3 h ago, and only what is younger than 1h is reused", []string{rejected, "too old", "too old", "too old"}, []*Applied{fourth, scored}},
		{scored, "reused", "measured under fake/2, just now", []string{rejected, "too old", "too old", "too old"}, []*Applied{fourth, scored}},
	} {
		e := explain(t, c.run, "qps=1000")
		if len(e.Results) != 1 || e.Results[0].Shown == nil || len(e.Notes) != 0 {
			t.Fatalf("run %d: %+v", i, e)
		}
		b := e.Results[0]
		var runs []string
		for _, r := range c.runs {
			runs = append(runs, r.RunDir)
		}
		if b.How != c.how || len(b.Why) == 0 || b.Why[len(b.Why)-1] != c.why || !slices.Equal(b.Shown.Runs, runs) || b.Shown.MadeBy != runs[0] {
			t.Errorf("run %d: %s %q, made by %s, shown by %q", i, b.How, b.Why, b.Shown.MadeBy, b.Shown.Runs)
		}
		if b.Shown.Verdict != "valid" || b.Shown.Facts["ok"] != 4 || b.Shown.For != "small: load mode=simple qps=1000 repeat=0" {
			t.Errorf("run %d shows %+v", i, b.Shown)
		}
		got := notShown(b)
		for j := range got {
			got[j], _, _ = strings.Cut(got[j], ": measured ")
		}
		if !slices.Equal(got, c.notShown) {
			t.Errorf("run %d: not shown for %q\nwant %q", i, got, c.notShown)
		}
		if r := b.Others[0].Rules; len(r) != 1 || r[0].Rule != "ok == 4" || r[0].Facts["ok"] != 3 || r[0].Broken == "" {
			t.Errorf("run %d: rules of the first attempt: %+v", i, r)
		}
	}
}

// TestExplainPoint holds what else is told of a point: its key, its files, its
// servers, and what was made of it.
func TestExplainPoint(t *testing.T) {
	w := newWorld(t)
	a := w.apply(changed(t, twoModes, "qps: [1000]", "qps: [1000, 2000]", "plot: {", "extra: {uses: command, needs: [analyze], run: cat $VBP_ANALYZE/analysis.csv > out.csv, outputs: [out.csv]}, plot: {"))
	e := explain(t, a, "load", "mode=nixl", "qps=2000.0")
	if len(e.Results) != 1 {
		t.Fatalf("%+v", e.Results)
	}
	b := e.Results[0]
	for name, want := range map[string]string{"qps": "2000", "deployment.connector": "nixl", "workload.requests": "4", "its stage": "load"} {
		if !slices.Contains(b.Components, KeyComponent{name, want}) {
			t.Errorf("no part %s: %s of the key among %q", name, want, b.Components)
		}
	}
	path := filepath.Join(a.RunDir, "samples/mode=nixl/qps=2000/repeat=0/samples.parquet")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	i := slices.IndexFunc(b.Files, func(f KeptFile) bool { return f.Name == samplesFile })
	if i < 0 {
		t.Fatalf("files %+v", b.Files)
	}
	want := KeptFile{
		Name: samplesFile, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		InRun: path, InStore: filepath.Join(b.Shown.Folder, samplesFile),
	}
	if b.Files[i] != want {
		t.Errorf("file %+v, want %+v", b.Files[i], want)
	}
	if len(b.Services) != 1 || b.Services[0].Node != "deploy mode=nixl" || b.Services[0].Environment["engine_version"] != "fake/1" {
		t.Errorf("services %+v", b.Services)
	}
	var made []string
	for _, m := range b.MadeOfIt {
		text := m.Node
		for _, f := range m.Files {
			rel, err := filepath.Rel(a.RunDir, f)
			if err != nil {
				t.Fatal(err)
			}
			text += " " + rel
		}
		made = append(made, text)
	}
	slices.Sort(made)
	wantMade := []string{
		"analyze analysis.json analysis.csv", "collect points.json", "extra extra/out.csv",
		"plot vllm_benchmark_plots mode=nixl plots/nixl/vllm_benchmark_plots.svg",
		"plot vllm_benchmark_plots mode=simple plots/simple/vllm_benchmark_plots.svg",
		"plot vllm_comparison_plots plots/vllm_comparison_plots.svg",
	}
	if !slices.Equal(made, wantMade) {
		t.Errorf("made of it %q", made)
	}

	// A file of the run that is another by now, and one that is gone.
	figure := filepath.Join(a.RunDir, "plots/vllm_comparison_plots.svg")
	if err := os.Remove(figure); err != nil {
		t.Fatal(err)
	}
	if f := explain(t, a, "plot", "vllm_comparison_plots").Results[0].Files; len(f) != 1 || f[0].InRun != "" || !strings.Contains(f[0].Trouble, "not there any more") {
		t.Errorf("a figure that is gone: %+v", f)
	}
	if err := os.WriteFile(figure, []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := explain(t, a, figure).Results[0].Files; len(f) != 1 || f[0].InRun != figure || !strings.Contains(f[0].Trouble, "another file by now: 6 bytes") {
		t.Errorf("a figure that is edited: %+v", f)
	}
}

// TestExplainNames holds by which names results can be asked for.
func TestExplainNames(t *testing.T) {
	w := newWorld(t)
	a := w.apply(changed(t, twoModes, "qps: [1000]", "qps: [1000, 2000]"))
	for words, want := range map[string]int{
		"":                                    4,
		"load":                                4,
		"mode=nixl":                           2,
		"qps=1000 mode=nixl":                  1,
		"load mode=nixl qps=1000 repeat=0":    1,
		"analyze":                             1,
		"plot":                                3,
		"plot vllm_comparison_plots":          1,
		"vllm_comparison_plots":               1,
		"vllm_comparison_plots.svg":           1,
		"vllm_benchmark_plots.svg":            2, // of two modes
		"plots/nixl/vllm_benchmark_plots.svg": 1,
		"analysis.csv":                        1,
		"samples/mode=nixl/qps=1000/repeat=0/samples.parquet": 1,
	} {
		if e := explain(t, a, strings.Fields(words)...); len(e.Results) != want {
			t.Errorf("%q: %d results, not %d: %+v", words, len(e.Results), want, e.Results)
		}
	}
	for words, say := range map[string][]string{
		"mode=lmcache":     {"no point of " + a.RunDir + " is at mode=lmcache", "mode=nixl|simple qps=1000|2000 repeat=0"},
		"mode=":            {`"mode=" is not an axis`, "mode=nixl or qps=4"},
		"qps":              {`no result called "qps"`, "mode=nixl|simple", "analyze, collect, plot", "a figure's file"},
		"deploy mode=nixl": {"deploy mode=nixl leaves no result", "vbp show"},
		"nothing.pdf":      {`no result called "nothing.pdf" and no file of one`},
	} {
		_, err := Explain(a.RunDir, strings.Fields(words), ExplainOptions{})
		mustContain(t, err, say...)
	}
	_, err := Explain(w.dir, nil, ExplainOptions{})
	mustContain(t, err, w.dir+" is not a run of vbp", "vbp list")
}

// TestExplainPruned holds what a run tells of itself when its results are no
// longer in the store, or the store is not there.
func TestExplainPruned(t *testing.T) {
	w := newWorld(t)
	a := w.apply(oneMode)
	before := explain(t, a, "qps=1000").Results[0]
	if err := os.RemoveAll(filepath.Join(w.site.Results, runs.StoreDir, "objects")); err != nil {
		t.Fatal(err)
	}
	e := explain(t, a, "qps=1000")
	b := e.Results[0]
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "no longer in the store") || b.Shown == nil || b.Shown.Trouble != "it is no longer in the store" {
		t.Fatalf("notes %q, shown %+v", e.Notes, b.Shown)
	}
	if b.Shown.Attempt != before.Shown.Attempt || b.Shown.Verdict != "valid" || b.Shown.Facts["sent"] != 4 || b.Shown.Created.Sub(before.Shown.Created).Abs() > time.Second || // the name tells, about
		b.Shown.Environment["engine_version"] != "fake/1" || len(b.Shown.Runs) != 1 || len(b.Components) != 0 {
		t.Errorf("%+v", b)
	}
	if len(b.Files) != 1 || b.Files[0].SHA256 != before.Files[0].SHA256 || b.Files[0].InRun != before.Files[0].InRun || b.Files[0].InStore != "" {
		t.Errorf("files %+v", b.Files)
	}
	if len(b.MadeOfIt) != len(before.MadeOfIt) {
		t.Errorf("made of it %+v", b.MadeOfIt)
	}
	if f := explain(t, a, "vllm_benchmark_plots.svg").Results[0].Files; len(f) != 1 || f[0].InRun == "" {
		t.Errorf("the figure's files: %+v", f)
	}
	if err := os.RemoveAll(filepath.Join(w.site.Results, runs.StoreDir)); err != nil {
		t.Fatal(err)
	}
	if e := explain(t, a); len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "there is no store of results beside this run") || e.Results[0].Shown.Verdict != "valid" {
		t.Errorf("without a store: %+v", e)
	}
}

// TestExplainImported holds what is told of points that others measured.
func TestExplainImported(t *testing.T) {
	w := newWorld(t)
	m := w.mustImport(asking(w.scriptsFolder("old/sharegpt/simple_20260101_000000", "simple")))
	e, err := Explain(m.RunDir, []string{"qps=2"}, ExplainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Results) != 1 || len(e.ImportedFrom) != 2 || len(e.Notes) != 0 {
		t.Fatalf("%+v", e)
	}
	b := e.Results[0]
	if b.How != "imported" || b.Shown == nil || b.Shown.Verdict != "valid" || len(b.Files) != 1 || b.Files[0].InRun == "" || len(b.MadeOfIt) != 1 || len(b.MadeOfIt[0].Files) != 2 {
		t.Errorf("%+v\n%+v", b, b.Shown)
	}
}

// TestExplainUnfinished tells of a run that was killed: what it came to, and
// what not.
func TestExplainUnfinished(t *testing.T) {
	w := newWorld(t)
	a := w.apply(changed(t, oneMode, "qps: [1000]", "qps: [1000, 2000]"))
	lines := strings.SplitAfter(contentOf(t, a.RunDir, "journal.jsonl"), "\n")
	first := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"node_done","node":"load `) })
	dir := filepath.Dir(w.write("results/small/killed/journal.jsonl", strings.Join(lines[:first+1], "")))
	w.write("results/small/killed/spec.yaml", contentOf(t, a.RunDir, "spec.yaml"))
	e, err := Explain(dir, nil, ExplainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range e.Results {
		verdict := "none"
		if b.Shown != nil {
			verdict = b.Shown.Verdict
		}
		got = append(got, fmt.Sprintf("%s, %s", b.How, verdict))
	}
	if e.State != runs.Unfinished || !slices.Equal(got, []string{"measured, valid", "not begun, none"}) {
		t.Errorf("%s, %q", e.State, got)
	}
}
