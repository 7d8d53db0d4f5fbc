package stages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
)

// TestList lists a made-up results folder: runs of vbp in every state, the
// scripts' folders, and what is neither.
func TestList(t *testing.T) {
	w := newWorld(t)
	at := func(hour int) {
		w.site.Now = func() time.Time { return time.Date(2026, 1, 2, hour, 0, 0, 0, time.Local) }
	}
	at(10)
	whole := w.apply(twoModes)
	at(12)
	w.prepare = func(s *server) error { return errors.New("no such card") }
	w.apply(changed(t, oneMode, "name: small", "name: broken", "requests: 4", "requests: 4, seed: 1"))

	w.write("results/small/20260102_130000/"+history.FileName, "")
	w.write("results/small/20260102_140000/"+history.FileName, `{"kind": "run_begun"}`+"\n"+`{"kind": "run_do`)
	w.write("results/sharegpt/nixl_20260102_110000/vllm-1.0qps-m-20260101-000000.json", scriptsFile("simple", 1))
	w.write("results/sharegpt/nixl_20260102_110000/plots/vllm_benchmark_plots.pdf", "%PDF")
	w.write("results/sharegpt/bad_20260102_090000/vllm-1.0qps-m-20260101-000000.json", "{")
	w.write("results/sharegpt/undated/vllm-1.0qps-m-20260101-000000.json", scriptsFile("simple", 1))
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.Local)
	if err := os.Chtimes(filepath.Join(w.site.Results, "sharegpt/undated"), old, old); err != nil {
		t.Fatal(err)
	}
	w.write("results/notes.txt", "")
	w.write("results/sharegpt/readme.txt", "")
	w.write("results/sharegpt/pictures/a.pdf", "")
	w.write("results/.hidden/run/"+history.FileName, "")

	listed, err := List(w.site.Results)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range listed {
		state := l.State
		if strings.HasPrefix(state, "not readable") {
			state = "not readable"
		}
		got = append(got, fmt.Sprintf("%s %s %s [%s] %d results %d plots: %s",
			l.Time.Format("0201 15"), l.Kind, l.Name, state, l.Results, l.Plots, strings.Join(l.Config, " | ")))
	}
	want := []string{
		"0201 14 vbp small/20260102_140000 [unfinished] 0 results 0 plots: ",
		"0201 13 vbp small/20260102_130000 [unfinished] 0 results 0 plots: ",
		"0201 12 vbp broken/20260102_120000 [empty] 0 results 0 plots: ",
		"0201 11 scripts sharegpt/nixl_20260102_110000 [] 1 results 1 plots: TP:2, Model:m",
		"0201 10 vbp small/20260102_100000 [complete] 2 results 3 plots: simple: TP:1, Model:Qwen3-8B, simulated engine | nixl: PF:1, D:1, TP:1x1, Model:Qwen3-8B, simulated engine",
		"0201 09 scripts sharegpt/bad_20260102_090000 [not readable] 1 results 0 plots: ",
		"0101 00 scripts sharegpt/undated [] 1 results 0 plots: TP:2, Model:m",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if listed[4].Path != whole.RunDir {
		t.Errorf("path %s, not %s", listed[4].Path, whole.RunDir)
	}
	if strings.Contains(listed[5].State, "\n") {
		t.Errorf("a state of several lines: %q", listed[5].State)
	}
	_, err = List(filepath.Join(w.dir, "nowhere"))
	mustContain(t, err, "no results folder", "--results names another")
}

// TestListOfOtherFolders lists several results folders, a folder of one
// dataset, and does not need to read samples or whole result files.
func TestListOfOtherFolders(t *testing.T) {
	dir := tempDir(t)
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	head := `{"model_name": "Qwen3-0.6B", "deployment_mode": "nixl", "num_prefill_instances": 2, "num_decode_instances": 2, "prefiller_tp_size": 2, "decoder_tp_size": 2, `
	write("a/sharegpt/nixl_20240814_153022/vllm-0.5qps-m.json", head+"and the rest is not looked at")
	write("a/sharegpt/nixl_20240814_153022/vllm-1.0qps-m.json", "")
	write("a/sharegpt/nixl_20240814_153022/plots/x.pdf", "")
	write("a/sharegpt/simple_20240814_143022/vllm-0.5qps-m.json", `{"ttfts": [0.1], "tpots": [0.1], "model_name": "Qwen3-0.6B", "deployment_mode": "simple", "tensor_parallel_size": 1}`)
	write("a/sharegpt/plots/x.pdf", "")
	write("a/sharegpt/.import-1/journal.jsonl", "{}\n")
	write("b/demo_20240101_000000/20240815_000000/"+history.FileName, `{"kind": "run_begun"}`+"\n"+strings.Repeat(" ", 200<<10)+"{}\n"+`{"kind": "run_done", "text": "partial"}`+"\n")
	describe := func(l Listed) string {
		return fmt.Sprintf("%s %s [%s] %d %d %s", l.Time.Format("02 15:04:05"), strings.TrimPrefix(l.Name, dir), l.State, l.Results, l.Plots, strings.Join(l.Config, " | "))
	}
	nixl := "14 15:30:22 %s/nixl_20240814_153022 [] 2 1 PF:2, D:2, TP:2x2, Model:Qwen3-0.6B"
	simple := "14 14:30:22 %s/simple_20240814_143022 [] 1 0 TP:1, Model:Qwen3-0.6B"
	for _, c := range []struct {
		dirs []string
		name string
		want []string
	}{
		{[]string{"a"}, "sharegpt", []string{nixl, simple}},
		{[]string{"a/sharegpt"}, "sharegpt", []string{nixl, simple}},
		{[]string{"a", "b", "a/sharegpt"}, "/a/sharegpt", []string{"15 00:00:00 /b/demo_20240101_000000/20240815_000000 [partial] 0 0 ", nixl, simple}},
		{[]string{"b"}, "", []string{"15 00:00:00 demo_20240101_000000/20240815_000000 [partial] 0 0 "}},
	} {
		for i, d := range c.dirs {
			c.dirs[i] = filepath.Join(dir, filepath.FromSlash(d))
		}
		listed, err := List(c.dirs...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range listed {
			got = append(got, describe(l))
		}
		for i := range c.want {
			c.want[i] = strings.Replace(c.want[i], "%s", c.name, 1)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q:\n%s\nwant\n%s", c.dirs, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	_, err := List(filepath.Join(dir, "a/sharegpt/simple_20240814_143022/vllm-0.5qps-m.json"))
	mustContain(t, err, "no results folder", "not a directory")
}
