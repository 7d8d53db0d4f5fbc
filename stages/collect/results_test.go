package collect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/stages/sample"
)

// folder writes files into a new folder and returns it.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// detailed is a good result at a rate.
func detailed(rate string) string {
	return `{"request_rate": ` + rate + `, "backend": "vllm", "ttfts": [0.1], "itls": [[0.1]], "output_lens": [2], "errors": [""]}`
}

func contains(t *testing.T, what string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(what, text) {
			t.Errorf("%q does not say %q", what, text)
		}
	}
}

func TestWhatIsWrongWithAFolderIsSaid(t *testing.T) {
	good := detailed("1")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"empty", nil, []string{"no usable results", "looked for", "samples.parquet", "--save-detailed", "*.exp"}},
		{"runs below", map[string]string{"simple_20260101_000000/a.json": good}, []string{"no usable results", "simple_20260101_000000", "name one"}},
		{"NaN", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [0.1, NaN], "itls": [[], []]}`}, []string{"a.json", "NaN at ttfts[1]", "byte 35"}},
		{"Infinity in a nested list", map[string]string{"a.json": `{"ttfts": [1], "itls": [[0.1, -Infinity]]}`}, []string{"-Infinity at itls[0][1]"}},
		{"NaN of a scalar", map[string]string{"a.json": `{"mean_ttft_ms": NaN, "ttfts": []}`}, []string{"NaN at mean_ttft_ms", "byte 17"}},
		{"NaN in a later line", map[string]string{"a.json": good + "\n" + `{"ttfts": [NaN]}`}, []string{"NaN at ttfts[0]", "byte 119"}},
		{"cut", map[string]string{"a.json": good[:50]}, []string{"a.json", "cut off at ttfts"}},
		{"cut exp", map[string]string{"d-1.exp": `[{"start_time": 1, "token_timestamps": [1, 2`}, []string{"d-1.exp", "cut off at [0].token_timestamps[2]"}},
		{"nothing in a file", map[string]string{"a.json": ""}, []string{"a.json: it is empty"}},
		{"not JSON", map[string]string{"a.json": `{"ttfts": [0.1 0.2]}`}, []string{"not JSON at ttfts[1]"}},
		{"uneven", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [1, 2], "itls": [[], [], []], "output_lens": [1, 1], "errors": [""]}`}, []string{"itls has 3 entries, errors has 1 entries, but ttfts has 2"}},
		{"uneven tpots", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [1, 2], "tpots": [0.1]}`}, []string{"tpots has 1 entries, but ttfts has 2"}},
		{"no lists", map[string]string{"a.json": `{"request_rate": 1, "completed": 100, "mean_ttft_ms": 3}`}, []string{"--save-detailed"}},
		{"no gaps", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [1], "output_lens": [3]}`}, []string{"neither tpots nor itls nor latencies", "--save-detailed"}},
		{"no lengths", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [1], "itls": [[1]]}`}, []string{"neither tpots nor output_lens"}},
		{"no requests", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [], "itls": []}`}, []string{"holds no request"}},
		{"no rate", map[string]string{"a.json": `{"ttfts": [1], "tpots": [1]}`}, []string{"no request_rate", "rate_2.5"}},
		{"odd rate", map[string]string{"a.json": `{"request_rate": "fast", "ttfts": [1], "tpots": [1]}`}, []string{`request_rate is "fast"`}},
		{"rate 0", map[string]string{"a.json": `{"request_rate": 0, "ttfts": [1], "tpots": [1]}`}, []string{"must be above 0"}},
		{"wrong type", map[string]string{"a.json": `{"request_rate": 1, "ttfts": ["a"], "tpots": [1]}`}, []string{"ttfts holds a string where a number is needed"}},
		{"negative", map[string]string{"a.json": `{"request_rate": 1, "ttfts": [-1], "tpots": [1]}`}, []string{"ttfts[0] is -1"}},
		{"only inf", map[string]string{"a.json": `{"request_rate": "inf", "ttfts": [1], "tpots": [1]}`}, []string{"no usable results", "a.json is left out", "inf"}},
		{"only other JSON", map[string]string{"package.json": `{"name": "x"}`}, []string{"no usable results", "package.json is left out"}},
		{"kinds mixed", map[string]string{"a.json": good, "d-1.exp": `[{"start_time": 1, "output_len": 1, "token_timestamps": [2]}]`}, []string{"d-1.exp: it is a distserve file", "folder of its own"}},
		{"exp without a rate", map[string]string{"d.exp": `[{"start_time": 1, "output_len": 1, "token_timestamps": [2]}]`}, []string{"no request rate"}},
		{"exp without start", map[string]string{"d-1.exp": `[{"output_len": 1, "token_timestamps": [2]}]`}, []string{"request 0: it has no start_time"}},
		{"exp of something else", map[string]string{"d-1.exp": `[{"a": 1}]`}, []string{"token_timestamps"}},
		{"exp backwards", map[string]string{"d-1.exp": `[{"start_time": 1, "output_len": 2, "token_timestamps": [3, 2]}]`}, []string{"back in time"}},
		{"two bad, one good", map[string]string{"a.json": good, "b.json": "{", "c.json": `{"ttfts": NaN}`}, []string{"2 of 3 files", "b.json", "c.json"}},
		{"damaged samples", map[string]string{"samples/mode=a/qps=1/samples.parquet": "PAR1"}, []string{"1 of 1 samples files", "qps=1", "measure the point again"}},
		{"empty tree", map[string]string{"samples/mode=a/note.txt": ""}, []string{"nothing was measured"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := OpenResults(folder(t, c.files))
			if err == nil {
				t.Fatalf("got %+v, want an error", r)
			}
			contains(t, err.Error(), c.want...)
		})
	}
	if _, err := OpenResults(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing folder was opened")
	}
}

func TestFilesOfOneRatePoolAsRepeats(t *testing.T) {
	later := strings.Replace(detailed("2"), "{", `{"date": "20260102-000000", `, 1)
	earlier := strings.Replace(detailed("2.0"), "{", `{"date": "20260101-000000", `, 1)
	r, err := OpenResults(folder(t, map[string]string{"a.json": later, "b.json": earlier, "rate_10.json": detailed("10")}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Points {
		repeat, _ := p.Table.Meta.Axis("repeat")
		qps, _ := p.Table.Meta.Axis("qps")
		got = append(got, filepath.Base(p.File)+" "+qps+" "+repeat)
	}
	if want := []string{"b.json 2 0", "a.json 2 1", "rate_10.json 10 0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(r.Warnings) != 1 {
		t.Fatalf("warnings %q", r.Warnings)
	}
	contains(t, r.Warnings[0], "2 results of rate 2", "repeats", "b.json, a.json")
}

func TestAFileThatIsNoResultIsLeftOutWithAWarning(t *testing.T) {
	r, err := OpenResults(folder(t, map[string]string{
		"rate_1.json": "\xef\xbb\xbf" + detailed("1"), "config.json": `{"a": 1}`, "list.json": `[1, 2]`, "plots/x.json": "{", "notes.txt": "x", ".hidden.json": "{",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != VLLM || len(r.Points) != 1 || len(r.Warnings) != 2 {
		t.Errorf("got %s, %d points, warnings %q", r.Kind, len(r.Points), r.Warnings)
	}
}

func TestASingleFileIsOpened(t *testing.T) {
	r, err := OpenResults(filepath.Join("testdata", "distserve", "distserve-4-1.5.exp"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != DistServe || r.Name != "distserve" || len(r.Points) != 1 {
		t.Errorf("got %+v", r)
	}
	path := filepath.Join(folder(t, map[string]string{"x.json": `{"a": 1}`}), "x.json")
	if _, err := OpenResults(path); err == nil {
		t.Error("a file that is no result was opened")
	} else {
		contains(t, err.Error(), "neither a result")
	}
}

// A run's folder links its artefacts, which lie in the store.
func TestARunIsReadThroughLinks(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "demo", "20260409_111645")
	for i, qps := range []string{"2", "10", "0.5"} {
		table := plainTable(3 + i)
		table.Meta.Axes = []sample.Axis{{Name: "mode", Value: "simple", Set: true}, {Name: "qps", Value: qps, Set: true}, {Name: "repeat", Value: "0", Set: true}}
		stored := filepath.Join(dir, "store", qps, SamplesFile)
		if err := WriteSamples(stored, table); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(run, "samples", PointDir(table.Meta.Axes))
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Dir(stored), link); err != nil {
			t.Skipf("this file system has no symbolic links: %v", err)
		}
	}
	for _, path := range []string{run, filepath.Join(run, "samples")} {
		r, err := OpenResults(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range r.Points {
			qps, _ := p.Table.Meta.Axis("qps")
			got = append(got, qps)
		}
		if r.Kind != VBP || !slices.Equal(got, []string{"0.5", "2", "10"}) {
			t.Errorf("%s: got %s with rates %v", path, r.Kind, got)
		}
	}
	if r, err := OpenResults(run); err != nil || r.Name != "demo" {
		t.Errorf("got name %q, want demo (%v)", r.Name, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "store", "2")); err != nil {
		t.Fatal(err)
	}
	// A link whose artefact is gone is not a point fewer, silently.
	if _, err := OpenResults(run); err == nil {
		t.Error("a run with a dead link was read as if whole")
	}
}

func FuzzOpenResults(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*", "testdata/scripts/*/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // a folder
			}
			f.Add(data, filepath.Base(file))
			f.Add(data[:len(data)/2], filepath.Base(file))
		}
	}
	own, err := vllmObject(Judged{Table: plainTable(2), Valid: true}, &Run{Name: "n"}, "20260101-120000")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(own), "vllm-2.0qps-m-20260101-120000.json")
	f.Add([]byte(`{"request_rate": 1, "ttfts": [1e308], "tpots": [null], "start_times": [-1e308]}`), "a.json")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		switch filepath.Ext(name) {
		case ".json", ".jsonl", ".exp":
		default:
			name = "rate_1.json"
		}
		if name != filepath.Base(name) || strings.ContainsAny(name, "\x00/") || len(name) > 200 || name[0] == '.' {
			name = "rate_1.exp"
		}
		r, err := OpenResults(folder(t, map[string]string{name: string(data)}))
		if err != nil {
			return
		}
		for _, p := range r.Points {
			if err := p.Table.Check(); err != nil {
				t.Error(err)
			}
			if p.Table.Len() == 0 || !(p.Table.Meta.Rate > 0) {
				t.Errorf("a point without requests or rate: %+v", p.Table.Meta)
			}
		}
	})
}
