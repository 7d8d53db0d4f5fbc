package stages

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/stages/runs"
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
	if s.Path != a.RunDir || s.Name != "small" || s.State != runs.Partial || s.Command != "vbp apply" || s.Begun.IsZero() || s.Seconds < 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Services) != 1 || s.Services[0].Node != "deploy mode=nixl" || s.Services[0].Environment["engine_version"] != "fake/1" {
		t.Errorf("services %+v", s.Services)
	}
	var points []string
	for _, p := range s.Points {
		how := p.How
		if strings.HasPrefix(how, "reused") || strings.HasPrefix(how, "skipped") {
			how, _, _ = strings.Cut(how, ": ")
		}
		points = append(points, fmt.Sprintf("%s: %s; %s; sent %v", p.Node, how, p.Verdict, p.Facts["sent"]))
		if p.Node == "mode=nixl qps=1000 repeat=0" && !slices.Equal(p.Notes, []string{"prefix caches were not reset: busy"}) {
			t.Errorf("notes of nixl: %q", p.Notes)
		}
	}
	slices.Sort(points)
	want := []string{
		"mode=more qps=1000 repeat=0: skipped; ; sent 0",
		"mode=nixl qps=1000 repeat=0: measured, 2nd attempt; 2 rejected: cache_reset == 1, it was 0; not valid: cache_reset == 1, it was 0; sent 4",
		"mode=simple qps=1000 repeat=0: reused; valid; sent 4",
	}
	if !slices.Equal(points, want) {
		t.Errorf("points %q\nwant   %q", points, want)
	}
	if !slices.ContainsFunc(s.Failures, func(f string) bool { return f == "deploy mode=more: no such card" }) {
		t.Errorf("failures %q", s.Failures)
	}
	want = []string{"mode=more qps=1000 repeat=0"}
	if len(s.Left) != 1 || s.Left[0].Why != "deploy mode=more failed: no such card" || !slices.Equal(s.Left[0].Points, want) {
		t.Errorf("left %+v", s.Left)
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
	if s.State != runs.Unfinished || s.Analysis != nil || len(s.Points) != 0 || len(s.Left) != 0 || len(s.Failures) != 1 || !strings.Contains(s.Failures[0], "torn") {
		t.Errorf("%+v", s)
	}
	_, err = Show(w.dir)
	mustContain(t, err, w.dir+" is not a run of vbp", "vbp list")
	w.write("broken/"+history.FileName, "{\n{}\n")
	_, err = Show(filepath.Join(w.dir, "broken"))
	mustContain(t, err, history.FileName+":1")
}

// failFirst lets a server answer the first n requests that it gets with an
// error.
func failFirst(s *server, n int) {
	s.complete = func(w http.ResponseWriter, _ *http.Request, i int) bool {
		if i < n {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
		return i < n
	}
}

// TestShowAttempts counts what stands behind a point, in this run and before,
// each point once.
func TestShowAttempts(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "sent == 4", "ok == 4")
	failing := 1
	w.prepare = func(s *server) error {
		failFirst(s, failing)
		return nil
	}
	how := func(a *Applied) string {
		t.Helper()
		s, err := Show(a.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Points) != 1 {
			t.Fatalf("points %+v", s.Points)
		}
		p := s.Points[0]
		return fmt.Sprintf("%s | %s | %d, %d", p.How, p.Verdict, p.Attempts, p.Rejected)
	}
	first := w.apply(spec)
	const rejected = "1 rejected: ok == 4, it was 3"
	if got := how(first); got != "measured, 2nd attempt; "+rejected+" | valid | 2, 1" {
		t.Errorf("of one that was tried again: %s", got)
	}
	failing = 0
	again, err := w.applyWith(t.Context(), ApplyOptions{PlanChoices: PlanChoices{Rerun: []string{"load"}}}, spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := how(again); got != "measured, 3rd attempt; "+rejected+" | valid | 3, 1" {
		t.Errorf("of one that was measured once more: %s", got)
	}
	reused := w.apply(spec, "slo.tpot=1ms")
	if got := how(reused); got != "reused: measured under fake/1, just now; "+rejected+" | valid | 3, 1" {
		t.Errorf("of one that is reused: %s", got)
	}
	// What was made since is no part of the first run, and a pruned store
	// leaves what the run itself tells.
	if got := how(first); got != "measured, 2nd attempt; "+rejected+" | valid | 2, 1" {
		t.Errorf("later: %s", got)
	}
	if err := os.RemoveAll(filepath.Join(w.site.Results, runs.StoreDir)); err != nil {
		t.Fatal(err)
	}
	if got := how(first); got != "measured, 2nd attempt; "+rejected+" | valid | 2, 1" {
		t.Errorf("without a store: %s", got)
	}
}

// TestShowRestarts tells that a server was started again, and why, and of a
// point that the budget left no time for.
func TestShowRestarts(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(s *server) error {
		if len(w.started()) == 0 {
			s.check = func() error { return errors.New("exit status 3\nlast words") }
		}
		return nil
	}
	a := w.apply(changed(t, oneMode, "formats: [svg]", "formats: [png, svg]"))
	s, err := Show(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Services) != 2 || s.Services[0].Again != "" || s.Services[1].Again != "again (1 of 2)" ||
		s.Services[1].Why != "no longer works: exit status 3" || s.Services[1].At.Before(s.Services[0].At) {
		t.Errorf("services %+v", s.Services)
	}
	if len(s.Points) != 1 || s.Points[0].How != "measured" {
		t.Errorf("points %+v", s.Points)
	}
	want := []string{filepath.Join(a.RunDir, "plots/vllm_benchmark_plots.svg")}
	if !slices.Equal(s.Figures, want) || !slices.Equal(Figures(a), want) {
		t.Errorf("figures %q and %q, want %q", s.Figures, Figures(a), want)
	}

	begun, looks := time.Now(), new(atomic.Int64)
	w.site.Now = func() time.Time { return begun.Add(time.Duration(looks.Add(1)) * time.Second) }
	a, err = w.applyWith(t.Context(), ApplyOptions{Budget: time.Second}, changed(t, oneMode, "qps: [1000]", "qps: [1000, 2000]"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Show(a.RunDir); err != nil {
		t.Fatal(err)
	}
	if len(s.Left) != 1 || s.Left[0].Why != pipeline.OutOfBudget || !slices.Equal(s.Left[0].Points, []string{"mode=simple qps=2000 repeat=0"}) {
		t.Errorf("left %+v", s.Left)
	}
}

// TestShowFailedTries tells of tries that left nothing.
func TestShowFailedTries(t *testing.T) {
	w := newWorld(t)
	text := `{"at":"2026-01-01T00:00:00Z","kind":"run_begun"}
{"at":"2026-01-01T00:00:01Z","kind":"node_begun","node":"load qps=1","key":"k","text":"not done yet"}
{"at":"2026-01-01T00:00:02Z","kind":"node_again","node":"load qps=1","text":"it failed: connection refused"}
{"at":"2026-01-01T00:00:02Z","kind":"node_begun","node":"load qps=1","key":"k","text":"again, for it failed: connection refused"}
{"at":"2026-01-01T00:00:03Z","kind":"node_done","node":"load qps=1","key":"k","attempt":"a","seconds":1}
{"at":"2026-01-01T00:00:04Z","kind":"node_begun","node":"load qps=2","key":"l"}
{"at":"2026-01-01T00:00:05Z","kind":"node_again","node":"load qps=2","text":"it failed: no route"}
{"at":"2026-01-01T00:00:06Z","kind":"node_begun","node":"load qps=2","key":"l"}
{"at":"2026-01-01T00:00:07Z","kind":"node_failed","node":"load qps=2","error":"no route\n  log"}
{"at":"2026-01-01T00:00:08Z","kind":"node_begun","node":"load qps=3","key":"m"}
`
	w.write("tries/"+history.FileName, text)
	s, err := Show(filepath.Join(w.dir, "tries"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range s.Points {
		got = append(got, p.Node+": "+p.How)
	}
	want := []string{"qps=1: measured; 1 failed: connection refused", "qps=2: failed; 2 failed: no route", "qps=3: not finished"}
	if !slices.Equal(got, want) {
		t.Errorf("points %q\nwant   %q", got, want)
	}
}
