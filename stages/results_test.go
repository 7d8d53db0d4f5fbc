package stages

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/runs"
)

// scriptsFile is a result of the scripts: the share of its four requests that
// meets a TTFT of 100 ms is met/4.
func scriptsFile(mode string, met int) string {
	ttfts := []string{"0.2", "0.2", "0.2", "0.2"}
	for i := range met {
		ttfts[i] = "0.05"
	}
	return fmt.Sprintf(`{"model_name": "m", "dataset_name": "sharegpt", "deployment_mode": %q, "tensor_parallel_size": 2,
 "ttfts": [%s], "tpots": [0.02, 0.02, 0.02, 0.02]}`, mode, strings.Join(ttfts, ", "))
}

// seriesOf lists each series with its rates and attainments.
func seriesOf(a *analyze.Analysis) string {
	var parts []string
	for _, s := range a.Series {
		p := s.Name + ":"
		for _, r := range s.Rates {
			p += fmt.Sprintf(" %v=%v", r.QPS, r.Both)
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, "; ")
}

func open(t *testing.T, dir, label string) *Results {
	t.Helper()
	r, err := OpenResults(dir, label)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nothing is the question that asks for nothing in particular.
func nothing() Question {
	return Question{TTFT: math.NaN(), TPOT: math.NaN(), Target: math.NaN(), ScaleRate: math.NaN()}
}

// TestOpenForeign holds how series of others' files are called: as is asked,
// else as the file says, else as the folder is called.
func TestOpenForeign(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"said/vllm-1.0qps-m-20260101-000000.json":                 scriptsFile("nixl", 1),
		"said/vllm-2.0qps-m-20260101-000000.json":                 scriptsFile("nixl", 3),
		"fast_20260101_000000/vllm-1.0qps-m-20260101-000000.json": strings.Replace(scriptsFile("", 2), `"deployment_mode": "", `, "", 1),
		"twice/vllm-1.0qps-m-20260101-000000.json":                scriptsFile("simple", 4),
		"twice/vllm-1.0qps-m-20260102-000000.json":                scriptsFile("simple", 0),
		"twice/notes.json":                                        `{"by": "me"}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	q := nothing()
	q.TTFT, q.TPOT = 0.1, 1
	for _, c := range []struct{ folder, label, want string }{
		{"said", "", "nixl: 1=0.25 2=0.75"},
		{"said", "new", "new: 1=0.25 2=0.75"},
		{"fast_20260101_000000", "", "fast: 1=0.5"},
		{"twice", "", "simple: 1=0.5"}, // pooled
	} {
		r := open(t, filepath.Join(dir, c.folder), c.label)
		a, err := Ask([]*Results{r}, q)
		if err != nil || seriesOf(a) != c.want {
			t.Errorf("%s as %q: %v, %v, want %s", c.folder, c.label, a, err, c.want)
		}
		if c.folder == "twice" && len(a.Warnings) != 2 { // one file left out, two pooled
			t.Errorf("warnings %q", a.Warnings)
		}
		for _, p := range r.Points {
			if !p.Valid || p.Missing {
				t.Errorf("%s: a point of others, whose rules are not known, is %+v", c.folder, p)
			}
		}
	}
	_, err := OpenResults(filepath.Join(dir, "nowhere"), "")
	mustContain(t, err, "nowhere")
}

// TestOpenRun reads a run with its own rules, whatever has become of the files
// that its spec names.
func TestOpenRun(t *testing.T) {
	w := newWorld(t)
	data := w.write("prompts.jsonl", `{"prompt": "Name three rivers.", "output_tokens": 3}`)
	spec := changed(t, twoModes, "kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0", "kind: jsonl, path: prompts.jsonl",
		`"sent == 4"`, `"sent > 4"`)
	a := w.apply(spec)
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	r := open(t, a.RunDir, "")
	if r.Spec == nil || r.Spec.SLO.TPOT != 50*time.Millisecond || len(r.Points) != 2 {
		t.Fatalf("%+v", r)
	}
	for _, p := range r.Points {
		if p.Valid || p.Reason != "sent > 4, it was 4" {
			t.Errorf("a point is %v, %q", p.Valid, p.Reason)
		}
	}

	// A run whose spec was lost is still readable: without rules.
	if err := os.Remove(filepath.Join(a.RunDir, runs.SpecFile)); err != nil {
		t.Fatal(err)
	}
	if r := open(t, a.RunDir, ""); r.Spec != nil || !r.Points[0].Valid {
		t.Errorf("without its spec: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(a.RunDir, runs.SpecFile), []byte("modes: 3"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := OpenResults(a.RunDir, "")
	mustContain(t, err, "the run's spec: ", filepath.Join(a.RunDir, runs.SpecFile))
}

// TestRelabel compares runs under labels: in place of the mode where there is
// one, before it where there are several.
func TestRelabel(t *testing.T) {
	w := newWorld(t)
	one, two := w.apply(oneMode), w.apply(changed(t, twoModes, "name: small", "name: two"))
	for _, c := range []struct {
		results []*Results
		want    string
	}{
		{[]*Results{open(t, one.RunDir, "before"), open(t, two.RunDir, "after")}, "before after simple after nixl"},
		{[]*Results{open(t, one.RunDir, ""), open(t, two.RunDir, "")}, "simple nixl"}, // equal modes pool
		{[]*Results{open(t, one.RunDir, ""), open(t, two.RunDir, "x")}, "simple x simple x nixl"},
	} {
		a, err := Ask(c.results, nothing())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range a.Series {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("series %s, want %s", got, c.want)
		}
	}
}

// TestAskPrecedence holds what is asked with what: what the question says,
// else what the run was analyzed with, else the defaults.
func TestAskPrecedence(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "qps: [1000]", "qps: [500, 1000]", "slo: {", "slo_scales: [3]\nscale_rate: 1000\nslo: {target: 60%, ")
	run := open(t, w.apply(spec).RunDir, "")
	foreign := func() *Results { return &Results{Dir: "foreign", Points: run.Points} }
	said := Question{TTFT: 0.001, TPOT: 0.002, Target: 0.5, Scales: []float64{5}, ScaleRate: 500}
	some := nothing()
	some.TPOT = 0.002

	type asked struct {
		slo   analyze.SLO
		scale float64
		at    float64
	}
	for name, c := range map[string]struct {
		q       Question
		results []*Results
		want    asked
	}{
		"the run's own":  {nothing(), []*Results{run}, asked{analyze.SLO{TTFT: 500, TPOT: 50, Target: 0.6}, 3, 1000}},
		"said":           {said, []*Results{run}, asked{analyze.SLO{TTFT: 1, TPOT: 2, Target: 0.5}, 5, 500}},
		"partly said":    {some, []*Results{run}, asked{analyze.SLO{TTFT: 500, TPOT: 2, Target: 0.6}, 3, 1000}},
		"nobody's":       {nothing(), []*Results{foreign()}, asked{analyze.SLO{TTFT: 125, TPOT: 200, Target: 0.9}, specs.DefaultSLOScales()[0], 500}},
		"a run's second": {nothing(), []*Results{foreign(), run}, asked{analyze.SLO{TTFT: 500, TPOT: 50, Target: 0.6}, 3, 1000}},
	} {
		a, err := Ask(c.results, c.q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := asked{a.SLO, a.Series[0].Scales.Points[0].Scale, *a.Series[0].Scales.QPS}
		if got != c.want {
			t.Errorf("%s: asked with %+v, want %+v", name, got, c.want)
		}
	}
	// What cannot be asked is an error.
	q := nothing()
	q.ScaleRate = -1
	_, err := Ask([]*Results{run}, q)
	mustContain(t, err, "rate of the scale panel")
	_, err = Ask(nil, nothing())
	mustContain(t, err, "no points")
}

// TestAskWarns holds that what is known against results comes with them.
func TestAskWarns(t *testing.T) {
	w := newWorld(t)
	run := open(t, w.apply(oneMode).RunDir, "")
	other := open(t, w.apply(changed(t, oneMode, "name: small", "name: other", "tpot: 50ms", "tpot: 40ms")).RunDir, "b")
	run.Warnings = []string{"a file was left out"}
	a, err := Ask([]*Results{run, other}, nothing())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		run.Dir + ": a file was left out",
		other.Dir + " was applied with other objectives; all are scored with those of " + run.Dir,
	} {
		if !slices.ContainsFunc(a.Warnings, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("warnings %q lack %q", a.Warnings, want)
		}
	}
	q := Question{TTFT: 1, TPOT: 1, Target: 0.5, ScaleRate: math.NaN()}
	if a, err = Ask([]*Results{run, other}, q); err != nil || slices.ContainsFunc(a.Warnings, func(s string) bool { return strings.Contains(s, "other objectives") }) {
		t.Errorf("with objectives of the question: %q, %v", a.Warnings, err)
	}
}

// Two parts of a run's tree, or the run itself twice, compare as its two
// modes: no label is lost, and no modes are pooled.
func TestPartsOfARunKeepTheirModes(t *testing.T) {
	w := newWorld(t)
	dir := w.apply(twoModes).RunDir
	names := func(dirs ...string) string {
		var all []*Results
		for i := 0; i < len(dirs); i += 2 {
			r, err := OpenResults(dirs[i], dirs[i+1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		a, err := Ask(all, Question{TTFT: math.NaN(), TPOT: math.NaN(), Target: math.NaN(), ScaleRate: math.NaN()})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range a.Series {
			out = append(out, fmt.Sprintf("%s %d", s.Name, s.Rates[0].Sent))
		}
		return strings.Join(out, ", ")
	}
	part := func(mode string) string { return filepath.Join(dir, "samples", "mode="+mode) }
	for _, c := range []struct {
		dirs []string
		want string
	}{
		{[]string{part("simple"), "A", part("nixl"), "B"}, "A 4, B 4"},
		{[]string{dir, "simple", dir, "nixl"}, "simple 4, nixl 4"},
		{[]string{dir, "nixl"}, "nixl 4"},
		{[]string{dir, "other"}, "other simple 4, other nixl 4"},
		{[]string{filepath.Join(dir, "samples"), ""}, "nixl 4, simple 4"},
	} {
		if got := names(c.dirs...); got != c.want {
			t.Errorf("%q: %q, want %q", c.dirs, got, c.want)
		}
	}
}

// TestOpenToAsk holds that a run which is opened without its rows gives the
// same answers.
func TestOpenToAsk(t *testing.T) {
	w := newWorld(t)
	run := w.apply(changed(t, twoModes, "qps: [1000]", "qps: [500, 1000]")).RunDir
	imported := w.mustImport(ImportOptions{Folders: []string{w.scriptsFolder("bench", "simple")}, Question: nothing()}).RunDir
	for _, c := range []struct{ dir, label string }{{run, ""}, {run, "nixl"}, {run, "before"}, {imported, ""}} {
		lean, err := OpenToAsk(c.dir, c.label)
		if err != nil {
			t.Fatal(err)
		}
		if c.dir == run && lean.Points[0].Table.Len() > 0 {
			t.Error("its rows are read at once")
		}
		got, err := Ask([]*Results{lean}, nothing())
		if err != nil {
			t.Fatal(err)
		}
		want, err := Ask([]*Results{open(t, c.dir, c.label)}, nothing())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s as %q: %+v\nwant %+v", c.dir, c.label, got, want)
		}
	}
	// What became of the samples since is found out when they are read.
	lean, err := OpenToAsk(run, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(run, samplesDir, "mode=nixl", "qps=500", "repeat=0", samplesFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err = Ask([]*Results{lean}, nothing())
	mustContain(t, err, "mode=nixl qps=500 repeat=0", file)
}

// TestAskWindow holds which window results are asked with: that of the
// question, else that of the first run that says one.
func TestAskWindow(t *testing.T) {
	w := newWorld(t)
	windowed := func(name, window string) *Results {
		return open(t, w.apply(changed(t, oneMode, "name: small", "name: "+name, "collect: {", "analyze: {window: "+window+"}, collect: {")).RunDir, name)
	}
	a, b := windowed("a", "{from: 25%}"), windowed("b", "{to: 75%}")
	plain := open(t, w.apply(oneMode).RunDir, "plain")
	all := func(text string) Question {
		q := nothing()
		window, err := analyze.ParseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		q.Window = &window
		return q
	}
	for _, c := range []struct {
		q       Question
		results []*Results
		want    string
		warned  []*Results
	}{
		{nothing(), []*Results{a}, "25%..", nil},
		{nothing(), []*Results{plain}, "all", nil},
		{nothing(), []*Results{a, b, plain}, "25%..", []*Results{b, plain}},
		{nothing(), []*Results{plain, b}, "all", []*Results{b}},
		{all("50%.."), []*Results{a, b}, "50%..", nil},
		{all("all"), []*Results{a, b}, "all", nil},
	} {
		got, err := Ask(c.results, c.q)
		if err != nil {
			t.Fatal(err)
		}
		if got.Window.String() != c.want {
			t.Errorf("asked with the window %s, want %s", got.Window, c.want)
		}
		var warned []string
		for _, s := range got.Warnings {
			if strings.Contains(s, "window") {
				warned = append(warned, s)
			}
		}
		if len(warned) != len(c.warned) {
			t.Errorf("warnings %q", warned)
			continue
		}
		for i, r := range c.warned {
			if !strings.HasPrefix(warned[i], r.Dir+" was applied with the window ") {
				t.Errorf("warning %q is not about %s", warned[i], r.Dir)
			}
		}
	}
	// The scripts' files do not tell when a request was sent.
	bench := open(t, w.scriptsFolder("bench", "simple"), "")
	_, err := Ask([]*Results{a, bench}, nothing())
	mustContain(t, err, "nothing says when they were due or sent", "--window all")
	if _, err := Ask([]*Results{a, bench}, all("all")); err != nil {
		t.Error(err)
	}
}
