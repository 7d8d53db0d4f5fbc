package stages

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline/history"
)

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
