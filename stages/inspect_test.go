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
		"0201 10 vbp small/20260102_100000 [complete] 2 results 0 plots: simple: TP:1, Model:Qwen3-8B, simulated engine | nixl: PF:1, D:1, TP:1x1, Model:Qwen3-8B, simulated engine",
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

func TestStampOf(t *testing.T) {
	want := time.Date(2026, 4, 9, 11, 16, 45, 0, time.Local)
	for _, name := range []string{"20260409_111645", "20260409_111645_2", "nixl_20260409_111645", "a_b_20260409_111645"} {
		if got, ok := stampOf(name); !ok || !got.Equal(want) {
			t.Errorf("%s is of %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "nixl", "20260409", "20261309_111645", "20260409-111645"} {
		if got, ok := stampOf(name); ok {
			t.Errorf("%s is of %v", name, got)
		}
	}
}

// TestShow tells a run in which one mode was reused, one measured and one
// failed.
func TestShow(t *testing.T) {
	w := newWorld(t)
	w.apply(oneMode)
	w.prepare = func(s *server) error {
		if s.deployment.Prefill != nil && s.deployment.Prefill.Instances == 2 {
			return errors.New("no such card")
		}
		s.reset = func() (bool, error) { return false, errors.New("busy") }
		return nil
	}
	spec := changed(t, oneMode, "modes: {", `modes: {
  nixl: {engine: simulated, disaggregated: {connector: nixl}},
  more: {engine: simulated, disaggregated: {connector: nixl, prefill: {instances: 2}}}, `,
		"sent == 4", "cache_reset == 1", "formats: [svg]", "formats: [pdf]")
	a, err := w.applyWith(t.Context(), ApplyOptions{Command: "vbp apply"}, spec)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Show(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Path != a.RunDir || s.Name != "small" || s.State != RunPartial || s.Command != "vbp apply" || s.Begun.IsZero() || s.Seconds < 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Services) != 1 || s.Services[0].Node != "deploy mode=nixl" || s.Services[0].Environment["engine_version"] != "fake/1" {
		t.Errorf("services %+v", s.Services)
	}
	var points []string
	for _, p := range s.Points {
		how, _, _ := strings.Cut(p.How, ": ")
		points = append(points, fmt.Sprintf("%s %s, %s, sent %v", p.Node, how, p.Verdict, p.Facts["sent"]))
		if p.Node == "mode=nixl qps=1000 repeat=0" && !slices.Equal(p.Notes, []string{"prefix caches were not reset: busy"}) {
			t.Errorf("notes of nixl: %q", p.Notes)
		}
	}
	slices.Sort(points)
	want := []string{
		"mode=more qps=1000 repeat=0 skipped, , sent 0",
		"mode=nixl qps=1000 repeat=0 measured, not valid: cache_reset == 1, it was 0, sent 4",
		"mode=simple qps=1000 repeat=0 reused, valid, sent 4",
	}
	if !slices.Equal(points, want) {
		t.Errorf("points %q\nwant   %q", points, want)
	}
	if !slices.ContainsFunc(s.Failures, func(f string) bool { return f == "deploy mode=more: no such card" }) {
		t.Errorf("failures %q", s.Failures)
	}
	if !slices.Contains(s.Figures, filepath.Join(a.RunDir, "plots/vllm_comparison_plots.pdf")) {
		t.Errorf("figures %q", s.Figures)
	}
	if s.Analysis == nil || len(s.Analysis.Series) != 3 {
		t.Errorf("analysis %+v", s.Analysis)
	}
}

// TestShowOfWhatIsLeft tells of a run that was killed, as far as it got, and
// says what is not a run.
func TestShowOfWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	a := w.apply(oneMode)
	journal := contentOf(t, a.RunDir, history.FileName)
	lines := strings.SplitAfter(journal, "\n")
	w.write("killed/"+history.FileName, lines[0]+lines[1][:9])
	s, err := Show(filepath.Join(w.dir, "killed"))
	if err != nil {
		t.Fatal(err)
	}
	if s.State != RunUnfinished || s.Analysis != nil || len(s.Points) != 0 || len(s.Failures) != 1 || !strings.Contains(s.Failures[0], "torn") {
		t.Errorf("%+v", s)
	}
	_, err = Show(w.dir)
	mustContain(t, err, w.dir+" is not a run of vbp", "vbp list")
	w.write("broken/"+history.FileName, "{\n{}\n")
	_, err = Show(filepath.Join(w.dir, "broken"))
	mustContain(t, err, history.FileName+":1")
}
