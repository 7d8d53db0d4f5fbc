package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/stages/analyze"
	"vbp/stages/sample"
)

// export writes results into a new folder and returns it with what was told.
func export(t *testing.T, r *Results, format string) (string, *Exported) {
	t.Helper()
	out := filepath.Join(tempDir(t), "out")
	e, err := Export(t.Context(), r, format, out)
	if err != nil {
		t.Fatal(err)
	}
	return out, e
}

// samePoints holds that two lists of points have the same tables, all columns
// and all metadata, and the same verdicts.
func samePoints(t *testing.T, got, want []analyze.Point) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d points, not %d", len(got), len(want))
	}
	for i := range want {
		a, b := reflect.ValueOf(*got[i].Table), reflect.ValueOf(*want[i].Table)
		for j := range b.NumField() {
			// %#v tells nil from empty and NaN from numbers.
			if x, y := fmt.Sprintf("%#v", a.Field(j)), fmt.Sprintf("%#v", b.Field(j)); x != y {
				t.Errorf("point %d: %s is\n%.600s\nwas\n%.600s", i, b.Type().Field(j).Name, x, y)
			}
		}
		if got[i].Valid != want[i].Valid || got[i].Reason != want[i].Reason {
			t.Errorf("point %d: verdict %v %q, was %v %q", i, got[i].Valid, got[i].Reason, want[i].Valid, want[i].Reason)
		}
	}
}

// sweptModes has repeats, and an axis of one mode.
const sweptModes = `
apiVersion: vbp/v1
name: swept
model: Qwen/Qwen3-8B
modes: {simple: {engine: simulated, args: {max-num-seqs: 4}}, nixl: {engine: simulated, disaggregated: {connector: nixl}}}
workload: {dataset: {kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0}, requests: 4}
sweep: {mode: [simple, nixl], qps: [500, 1000], repeat: 2, modes.simple.args.max-num-seqs: [2, 4]}
slo: {ttft: 500ms, tpot: 50ms, target: 60%}
stages: {warmup: {requests: 0}, load: {cooldown: 0s}, plot: {formats: [svg]}}
valid: ["sent == 4"]
`

// TestExportLayout holds where the files of a run are put, whose they are
// called after, and that a second export replaces nothing.
func TestExportLayout(t *testing.T) {
	w := newWorld(t)
	w.site.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local) }
	r := open(t, w.apply(sweptModes).RunDir, "")
	out, e := export(t, r, "vllm")
	var got []string
	for _, f := range filesBelow(t, out) {
		f = filepath.ToSlash(f)
		at := strings.LastIndex(f, "-2") // the date is that of the load
		got = append(got, f[:at])
	}
	want := []string{}
	for _, series := range []string{"nixl", "simple,modes.simple.args.max-num-seqs=2", "simple,modes.simple.args.max-num-seqs=4"} {
		for _, rate := range []string{"1000.0", "500.0"} {
			dir := "random/" + series + "_20260102_030405/vllm-" + rate + "qps-"
			want = append(want, dir+"m", dir+"m-repeat1") // as the server calls its model
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(e.Paths) != 3 || e.Files != 12 || len(e.Warnings) != 0 {
		t.Errorf("%+v", e)
	}
	_, err := Export(t.Context(), r, "vllm", out)
	mustContain(t, err, "already exists", "--out", "_20260102_030405")
	for _, format := range []string{"arrow", "csv"} {
		if e, err = Export(t.Context(), r, format, out); err != nil || !slices.Equal(e.Paths, []string{filepath.Join(out, "swept_20260102_030405."+format)}) {
			t.Errorf("%s: %+v, %v", format, e, err)
		}
		_, err = Export(t.Context(), r, format, out)
		mustContain(t, err, "already exists")
	}
	if left, _ := filepath.Glob(filepath.Join(out, ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestExportIsReadBack holds that vLLM's form and Arrow give back every point
// of a run as it was, verdict and objectives included.
func TestExportIsReadBack(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, twoModes, `"sent == 4"`, `"order == 1"`, "slo: {", "scale_rate: 1000\nslo_scales: [1, 3]\nslo: {", "qps: [1000]", "qps: [500, 1000]")
	r := open(t, w.apply(spec).RunDir, "")
	if n := slices.IndexFunc(r.Points, func(p analyze.Point) bool { return !p.Valid }); n < 0 {
		t.Fatal("all points are valid: nothing is tried")
	}
	asked, err := Ask([]*Results{r}, nothing())
	if err != nil {
		t.Fatal(err)
	}
	arrow, _ := export(t, r, "arrow")
	back := open(t, arrow, "")
	samePoints(t, back.Points, r.Points)
	vllm, e := export(t, r, "vllm")
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "2 of 4 points broke a rule") {
		t.Errorf("warnings %q", e.Warnings)
	}
	var all []*Results
	var points []analyze.Point
	for _, dir := range e.Paths {
		all = append(all, open(t, dir, ""))
		points = append(points, all[len(all)-1].Points...)
	}
	samePoints(t, points, r.Points)
	for name, results := range map[string][]*Results{arrow: {back}, vllm: all} {
		a, err := Ask(results, nothing())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, asked) {
			t.Errorf("%s is analyzed as\n%+v\nthe run as\n%+v", name, a, asked)
		}
	}
	if got := *back.Run; got.Name != "small" || !slices.Equal(got.Rules, []string{"order == 1"}) || *got.TTFT != 500 || *got.ScaleRate != 1000 {
		t.Errorf("run %+v", got)
	}
	if label := open(t, e.Paths[0], "new").Points[0].Table.Meta.Axes[0].Value; label != "new" {
		t.Errorf("a label makes the mode %q", label)
	}
}

// TestExportSaysWhatItLeavesOut is about points that are no requests, and
// requests that others would misread.
func TestExportSaysWhatItLeavesOut(t *testing.T) {
	table := func(outcome string) *sample.Table {
		t := &sample.Table{Meta: sample.Meta{Rate: 1, Start: sample.Absent, Length: math.NaN(), Axes: []sample.Axis{{Name: "mode", Value: "m", Set: true}}}}
		o := sample.NewOutcome("")
		o.Outcome = outcome
		t.Append(o)
		return t
	}
	lost := table("")
	lost.Meta.Axes[0].Value = "lost"
	r := &Results{Dir: tempDir(t), Points: []analyze.Point{{Table: table(sample.Timeout), Valid: true}, {Table: lost, Missing: true}}}
	_, e := export(t, r, "csv")
	if len(e.Warnings) != 2 || e.Warnings[0] != "mode=lost was not measured and is left out" || !strings.HasPrefix(e.Warnings[1], "1 requests failed") {
		t.Errorf("warnings %q", e.Warnings)
	}
	r.Points = r.Points[1:]
	_, err := Export(t.Context(), r, "vllm", filepath.Join(tempDir(t), "out"))
	mustContain(t, err, "no measured point")
	_, err = Export(t.Context(), r, "json", "out")
	mustContain(t, err, `"json"`, "vllm, arrow, csv")
}

// TestExportLeavesNothingBehind holds that an export that cannot end makes no
// folder, and that no half of one is seen.
func TestExportLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	r := open(t, w.apply(twoModes).RunDir, "")
	ended, end := context.WithCancel(t.Context())
	end()
	out := filepath.Join(w.dir, "out")
	if _, err := Export(ended, r, "vllm", out); err == nil {
		t.Error("an export that was interrupted is whole")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder is left")
	}
	// The second of two series cannot appear: nor does the first.
	_, e := export(t, r, "vllm")
	second, err := filepath.Rel(filepath.Dir(filepath.Dir(e.Paths[1])), e.Paths[1])
	if err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join("out", second, "mine.txt"), "mine")
	if _, err = Export(t.Context(), r, "vllm", out); err == nil {
		t.Error("a folder was replaced")
	}
	if got := filesBelow(t, out); !slices.Equal(got, []string{filepath.Join(second, "mine.txt")}) {
		t.Errorf("left: %q", got)
	}
	file := w.write("file", "")
	_, err = Export(t.Context(), r, "csv", file)
	mustContain(t, err, "cannot make the folder", "--out")
}

// TestScriptsPlotterReadsAnExport reads an export as the scripts' plotter
// does, in Python, and finds the attainment that is known of these files.
func TestScriptsPlotterReadsAnExport(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not on PATH, so nothing can read the export as the scripts do")
	}
	dir := realData(t, "vllm-bench", "llama_8B")
	_, e := export(t, open(t, dir, "simple"), "vllm")
	cmd := exec.Command(python, "-c", `
import json, os, re, sys
files = sorted((float(m.group(1)), f) for f in os.listdir(sys.argv[1]) for m in [re.search(r"-(\d+(?:\.\d+)?)qps-", f)] if m)
out = []
for rate, f in files:
    d = json.load(open(os.path.join(sys.argv[1], f)))
    ttfts, tpots = [t * 1000 for t in d["ttfts"]], [t * 1000 for t in d["tpots"]]
    met = sum(a <= 180 and b <= 36 for a, b in zip(ttfts, tpots))
    assert d["model_name"] and "dataset_name" in d and d["deployment_mode"] == "simple", d.keys()
    out.append([rate, 100 * met / len(ttfts)])
print(json.dumps(out))
`, e.Paths[0])
	cmd.Stderr = os.Stderr
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]float64
	if err := json.Unmarshal(printed, &got); err != nil {
		t.Fatal(err)
	}
	if want := [][2]float64{{1, 11}, {1.5, 82}, {2, 68}, {2.5, 49}, {3, 35}, {3.5, 27}, {4, 26}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// realData is a folder of the real data beside the repository.
func realData(t *testing.T, path ...string) string {
	t.Helper()
	root := os.Getenv("VBP_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(append([]string{root, "data"}, path...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the real data set %s is missing (set VBP_SHARED to the folder that holds data/)", dir)
	}
	return dir
}

func TestNamesOfExports(t *testing.T) {
	start := time.Date(2026, 4, 9, 11, 16, 45, 0, time.Local).UnixNano()
	for _, c := range []struct {
		meta sample.Meta
		want string
	}{
		{sample.Meta{Rate: 0.5, Model: "a/b c", Start: start}, "vllm-0.5qps-b,c-20260409-111645.json"},
		{sample.Meta{Rate: 12, Repeat: 3, Start: sample.Absent, Config: map[string]string{"model_name": "m"}}, "vllm-12.0qps-m-repeat3-20260102-030405.json"},
		{sample.Meta{Rate: 1, Start: start, Extra: map[string]string{"date": "20250101-000000"}}, "vllm-1.0qps-unknown-20250101-000000.json"},
		{sample.Meta{Rate: 1, Start: start, Extra: map[string]string{"date": "../x"}}, "vllm-1.0qps-unknown-20260409-111645.json"},
	} {
		if got := vllmName(&c.meta, vllmDate(&c.meta, "20260102_030405_2")); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if got := seriesDir(&sample.Meta{}, "S"); got != "run_S" {
		t.Errorf("a series without axes is in %s", got)
	}
	dir := tempDir(t)
	for _, c := range []struct{ path, name, stamp string }{
		{"sharegpt/nixl_20260102_030405", "sharegpt", "20260102_030405"},
		{"demo/20260102_030405_2", "demo", "20260102_030405_2"},
		{"bench", "bench", "20200101_000000"},
	} {
		path := filepath.Join(dir, filepath.FromSlash(c.path))
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.Local)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		if name, stamp := nameOfResults(path), stampOfRun(&Results{Dir: path}); name != c.name || stamp != c.stamp {
			t.Errorf("%s is %s of %s", c.path, name, stamp)
		}
	}
	r := &Results{Dir: filepath.Join(dir, "bench"), Points: []analyze.Point{{Table: &sample.Table{Meta: sample.Meta{Start: start}}}}}
	if got := stampOfRun(r); got != "20260409_111645" {
		t.Errorf("a folder without a time is of %s", got)
	}
}
