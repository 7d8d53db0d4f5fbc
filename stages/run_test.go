package stages

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// TestApply holds what a run's folder has, who is told what, and that the
// servers that were started are stopped.
func TestApply(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	w.site.Now = func() time.Time { return now }
	var plans []string
	var began []string
	a, err := w.applyWith(t.Context(), ApplyOptions{
		Command: "vbp apply spec.yaml",
		OnPlan: func(p *pipeline.Plan, dir string) {
			if len(w.started()) > 0 {
				t.Error("the plan is told after the first start")
			}
			plans = append(plans, dir)
		},
		Emit: func(e pipeline.Event) {
			if e.Kind == pipeline.Began {
				began = append(began, e.Node.ID)
			}
		},
	}, twoModes)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.site.Results, "small", "20260102_030405")
	if a.RunDir != dir || !a.New || !slices.Equal(plans, []string{dir}) {
		t.Errorf("run %q, new %v, told %q", a.RunDir, a.New, plans)
	}
	want := []string{
		"analysis.csv", "analysis.json", "journal.jsonl",
		"plots/nixl/vllm_benchmark_plots.svg", "plots/simple/vllm_benchmark_plots.svg", "plots/vllm_comparison_plots.svg",
		"points.json", "samples/mode=nixl/qps=1000/repeat=0/samples.parquet", "samples/mode=simple/qps=1000/repeat=0/samples.parquet",
		"spec.yaml",
	}
	if got := filesBelow(t, dir); !slices.Equal(got, want) {
		t.Errorf("the run holds %q\nwant %q", got, want)
	}
	if got := contentOf(t, dir, runs.SpecFile); got != string(w.parse(twoModes).Resolved) {
		t.Errorf("its spec is\n%s", got)
	}
	if len(began) != 9 {
		t.Errorf("began %q", began)
	}
	for _, s := range w.started() {
		if s.stops == 0 {
			t.Errorf("%+v was not stopped", s.deployment)
		}
	}
	records, torn, err := history.Read(filepath.Join(dir, history.FileName))
	if err != nil || torn || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	first, last := records[0], records[len(records)-1]
	if first.Kind != history.RunBegun || first.Text != "vbp apply spec.yaml" {
		t.Errorf("the journal begins with %+v", first)
	}
	if last.Kind != history.RunDone || last.Text != runs.Complete || last.Fingerprint == "" {
		t.Errorf("the journal ends with %+v", last)
	}
	if got, want := a.Tally(), (Tally{Usable: 2}); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
}

// TestApplyElsewhere holds that figures go where the spec wants them, and that
// they are missed there.
func TestApplyElsewhere(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(w.dir, "figures")
	set := "stages.plot.dir=" + out
	a := w.apply(oneMode, set)
	figure := filepath.Join(out, "vllm_benchmark_plots.svg")
	if got := Figures(a); !slices.Equal(got, []string{figure}) {
		t.Errorf("figures %q", got)
	}
	if again := w.apply(oneMode, set); again.New || !slices.Equal(Figures(again), []string{figure}) {
		t.Errorf("again: new %v, figures %q", again.New, Figures(again))
	}
	if err := os.Remove(figure); err != nil {
		t.Fatal(err)
	}
	w.apply(oneMode, set)
	if _, err := os.Stat(figure); err != nil {
		t.Error(err)
	}
}

// TestApplyChecksEnvironment holds that servers are started to look at them
// though all is reused, and that what they show decides.
func TestApplyChecksEnvironment(t *testing.T) {
	w := newWorld(t)
	version := "fake/1"
	w.prepare = func(s *server) error {
		s.env["engine_version"] = version
		return nil
	}
	const load = "load mode=simple qps=1000 repeat=0"
	w.apply(oneMode)
	for _, c := range []struct {
		version string
		state   pipeline.State
	}{{"fake/1", pipeline.StateReused}, {"fake/2", pipeline.StateDone}} {
		version = c.version
		a, err := w.applyWith(t.Context(), ApplyOptions{PlanChoices: PlanChoices{CheckEnvironment: true}}, oneMode)
		if err != nil {
			t.Fatal(err)
		}
		if r := a.Report.Result(load); r.State != c.state {
			t.Errorf("%s: the load is %s: %s", c.version, r.State, r.Why)
		}
	}
	if n := len(w.started()); n != 3 {
		t.Errorf("%d starts", n)
	}
}

func TestApplyInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.prepare = func(s *server) error {
		s.complete = func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n == 5 { // in the second point
				cancel()
				<-r.Context().Done()
			}
			return n >= 5
		}
		return nil
	}
	a, err := w.applyWith(ctx, ApplyOptions{}, oneMode, "sweep.qps=[1000, 2000]")
	if err != nil {
		t.Fatal(err)
	}
	if got := runs.StateOf(a.RunDir); got != runs.Interrupted || !a.Report.Interrupted {
		t.Errorf("the run is %s", got)
	}
	if n := w.started()[0].stops; n == 0 {
		t.Error("the server was left running")
	}
	_, err = OpenResults(a.RunDir, "")
	mustContain(t, err, a.RunDir+" is a run of vbp that was not finished", "apply its spec again")
	// The first point is kept.
	w.prepare = nil
	a = w.apply(oneMode, "sweep.qps=[1000, 2000]")
	if got := len(w.started()[1].asked()); got != 5 { // a reset and four requests
		t.Errorf("the next apply asks %d times", got)
	}
	if got := runs.StateOf(a.RunDir); got != runs.Complete {
		t.Errorf("the next run is %s", got)
	}
}

func TestApplyLocked(t *testing.T) {
	w := newWorld(t)
	locks := filepath.Join(w.site.Results, runs.StoreDir, "locks", "names")
	if err := os.MkdirAll(locks, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, _, err := cache.TryLock(filepath.Join(locks, "small.lock"), "apply small")
	if err != nil || lock == nil {
		t.Fatalf("%v, %v", lock, err)
	}
	_, err = w.applyWith(t.Context(), ApplyOptions{}, oneMode)
	var locked *Locked
	if !errors.As(err, &locked) || locked.Name != "small" {
		t.Errorf("error %v", err)
	}
	mustContain(t, err, "small is being applied by process ")
	if _, err := w.applyWith(t.Context(), ApplyOptions{}, strings.Replace(oneMode, "name: small", "name: other", 1)); err != nil {
		t.Errorf("another spec must wait too: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	w.apply(oneMode)
}

// TestApplyOfWhatCannotBeBuilt holds that a spec which fails its plan leaves
// no run.
func TestApplyOfWhatCannotBeBuilt(t *testing.T) {
	w := newWorld(t)
	_, err := w.applyWith(t.Context(), ApplyOptions{OnPlan: func(*pipeline.Plan, string) { t.Error("there is a plan") }},
		changed(t, oneMode, "engine: simulated", "engine: simulated, args: {nonsense: 1}"))
	mustContain(t, err, "nonsense")
	var bad *BadPlan
	if !errors.As(err, &bad) {
		t.Errorf("the error is a %T, not one of the plan", err)
	}
	if got := runs.Of(filepath.Join(w.site.Results, "small")); len(got) > 0 {
		t.Errorf("runs %q", got)
	}
}

// TestApplySecrets holds that nothing starts without a secret that the spec
// refers to, and that what is stored needs none.
func TestApplySecrets(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "engine: simulated", `engine: simulated, env: {A: "${secret:KEY}"}`)
	_, err := w.applyWith(t.Context(), ApplyOptions{}, spec)
	mustContain(t, err, "the secret KEY is not in the environment", "set KEY before")
	var bad *BadPlan
	if !errors.As(err, &bad) || len(w.started()) > 0 || len(runs.Of(filepath.Join(w.site.Results, "small"))) > 0 {
		t.Errorf("the error is a %T, %d servers were started", err, len(w.started()))
	}
	if _, err := PlanOf(t.Context(), w.parse(spec), w.site, PlanChoices{}); err != nil {
		t.Errorf("a plan needs the secret: %v", err)
	}
	w.env["KEY"] = "hush"
	a := w.apply(spec)
	delete(w.env, "KEY")
	if again := w.apply(spec); again.RunDir != a.RunDir {
		t.Errorf("run %s, not %s", again.RunDir, a.RunDir)
	}
}

func TestTallyAndState(t *testing.T) {
	load := &pipeline.Node{Kind: pipeline.Measurement}
	pure := &pipeline.Node{Kind: pipeline.Pure}
	measured := func(sent, failed string) pipeline.Result {
		a := &cache.Artefact{}
		a.Note = []byte(`{"facts": {"sent": ` + sent + `, "failed": ` + failed + `}}`)
		return pipeline.Result{Node: load, State: pipeline.StateDone, Artefact: a, Verdict: pipeline.Verdict{Usable: true}}
	}
	good, bad, late := measured("4", "3"), measured("4", "4"), measured("4", "0")
	late.Verdict = pipeline.Verdict{Reason: "it was late"}
	reused := good
	reused.State = pipeline.StateReused
	broken := pipeline.Result{Node: load, State: pipeline.StateDone, Artefact: &cache.Artefact{}}
	broken.Artefact.Note = []byte("{")
	failed := pipeline.Result{Node: load, State: pipeline.StateFailed}
	step := pipeline.Result{Node: pure, State: pipeline.StateFailed}
	skipped := pipeline.Result{Node: pure, State: pipeline.StateSkipped}
	unused := pipeline.Result{Node: &pipeline.Node{Kind: pipeline.Service}, State: pipeline.StateUnused}
	done := pipeline.Result{Node: pure, State: pipeline.StateDone, Artefact: &cache.Artefact{}}
	for _, c := range []struct {
		results     []pipeline.Result
		interrupted bool
		want        Tally
		state       string
	}{
		{[]pipeline.Result{unused, good, reused, done}, false, Tally{Usable: 2}, runs.Complete},
		{[]pipeline.Result{late, good, done}, false, Tally{Usable: 2, Invalid: 1}, runs.Complete},
		{[]pipeline.Result{good, failed, skipped}, false, Tally{Usable: 1, Lost: 1}, runs.Partial},
		{[]pipeline.Result{good, bad, done}, false, Tally{Usable: 1, Lost: 1}, runs.Partial},
		{[]pipeline.Result{good, broken}, false, Tally{Usable: 1, Lost: 1}, runs.Partial},
		{[]pipeline.Result{good, step, skipped}, false, Tally{Usable: 1, LostSteps: 1}, runs.Partial},
		{[]pipeline.Result{bad, failed, done}, false, Tally{Lost: 2}, runs.Empty},
		{[]pipeline.Result{good, failed}, true, Tally{Usable: 1, Lost: 1}, runs.Interrupted},
		{[]pipeline.Result{failed}, true, Tally{Lost: 1}, runs.Interrupted},
	} {
		a := &Applied{Report: &pipeline.Report{Results: c.results, Interrupted: c.interrupted}}
		if got := a.Tally(); got != c.want || a.state() != c.state {
			t.Errorf("%+v: tally %+v, %s", c.results, got, a.state())
		}
	}
}
