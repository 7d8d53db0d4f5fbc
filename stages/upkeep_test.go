package stages

// Package upkeep removes and checks what applies have made. Its tests that need
// real applies are in the files upkeep_*_test.go here, beside the fakes that an
// apply runs against; those that only need files are in its own folder.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
	"vbp/stages/upkeep"
)

// pruneWorld is a world whose clock stands, with days to apply specs on.
type pruneWorld struct {
	*world
	now time.Time
}

func newPruneWorld(t *testing.T) *pruneWorld {
	p := &pruneWorld{world: newWorld(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)}
	p.site.Now = func() time.Time { return p.now }
	return p
}

// applyOn applies a spec on a day of March and returns the run's folder.
func (p *pruneWorld) applyOn(day int, text string, set ...string) string {
	p.t.Helper()
	p.now = time.Date(2026, 3, day, 12, 0, 0, 0, time.Local)
	a := p.apply(text, set...)
	if !a.New {
		p.t.Fatalf("day %d: no new run", day)
	}
	return a.RunDir
}

func (p *pruneWorld) plan(rules upkeep.Rules) *upkeep.Pruning {
	p.t.Helper()
	plan, err := upkeep.PlanPrune(p.t.Context(), p.site.Results, rules, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return plan
}

func (p *pruneWorld) prune(rules upkeep.Rules) *upkeep.Pruning {
	p.t.Helper()
	plan := p.plan(rules)
	var told []string
	done, err := upkeep.Prune(p.t.Context(), plan, p.site.Now, func(r upkeep.PrunedRun) { told = append(told, r.Name) })
	if err != nil {
		p.t.Fatal(err)
	}
	if names := prunedNames(done); !slices.Equal(told, names) {
		p.t.Errorf("told of %q, removed %q", told, names)
	}
	if !done.Done {
		p.t.Error("what was done is not said to be")
	}
	return done
}

func prunedNames(p *upkeep.Pruning) []string {
	var out []string
	for _, r := range p.Runs {
		out = append(out, r.Name)
	}
	return out
}

// runsLeft lists the runs below the results as list does, oldest first.
func (p *pruneWorld) runsLeft() []string {
	p.t.Helper()
	listed, err := List(p.site.Results)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, l := range slices.Backward(listed) {
		out = append(out, l.Name)
	}
	return out
}

// stored lists the slots of what is in the store, and checks its content.
func (p *pruneWorld) stored() []string {
	p.t.Helper()
	var out []string
	err := cache.At(filepath.Join(p.site.Results, runs.StoreDir)).Verify(p.t.Context(), func(a *cache.Artefact, err error) {
		if err != nil {
			p.t.Errorf("%s: %v", a.Slot, err)
		}
		out = append(out, a.Slot)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// isWhole holds that a run shows all that it did.
func (p *pruneWorld) isWhole(dir string) {
	p.t.Helper()
	records, torn, err := history.Read(filepath.Join(dir, history.FileName))
	if err != nil || torn {
		p.t.Fatalf("%s: torn %v, %v", dir, torn, err)
	}
	store := cache.At(filepath.Join(p.site.Results, runs.StoreDir))
	for _, r := range records {
		if r.Attempt == "" {
			continue
		}
		found, err := store.Find(cache.Key(r.Key))
		if err != nil {
			p.t.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(a *cache.Artefact) bool { return a.Attempt == r.Attempt }) {
			p.t.Errorf("%s: the store no longer holds %s", filepath.Base(dir), r.Node)
		}
	}
	if _, err := OpenResults(dir, ""); err != nil {
		p.t.Errorf("%s: %v", dir, err)
	}
}

// snapshot describes everything below dir: names, modes, times, contents.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if info.Mode().IsRegular() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%s %v %v %d %q\n", path, info.Mode(), info.ModTime(), info.Sys().(*syscall.Stat_t).Ino, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestPrune holds that a run goes with what it alone refers to, that the
// others keep what they show, and that what is said of sizes is true.
func TestPrune(t *testing.T) {
	p := newPruneWorld(t)
	first := p.applyOn(1, oneMode, "sweep.qps=[1000, 2000]")
	second := p.applyOn(2, oneMode, "sweep.qps=[1000, 3000]") // shares a point with the first
	third := p.applyOn(3, oneMode, "sweep.qps=[1000, 3000]", "slo.tpot=15ms")
	p.now = p.now.AddDate(0, 0, 29).Add(-time.Hour) // the second is 29 days old and 23 hours
	rules := upkeep.Rules{OlderThan: 30 * 24 * time.Hour}

	before := snapshot(t, p.site.Results)
	plan := p.plan(rules)
	if snapshot(t, p.site.Results) != before {
		t.Error("planning has changed something")
	}
	if len(plan.Runs) != 1 || plan.Runs[0].Path != first || plan.Runs[0].Why != "30 days old" || plan.Runs[0].State != runs.Complete || plan.Done {
		t.Fatalf("the plan is %+v", plan)
	}
	if got := plan.Runs[0].Figures; !slices.Equal(got, []string{"plots/vllm_benchmark_plots.svg"}) {
		t.Errorf("figures that go: %q", got)
	}
	used := diskUse(t, p.site.Results)
	done := p.prune(rules)
	if freed := used - diskUse(t, p.site.Results); done.Bytes != freed || max(plan.Bytes-freed, freed-plan.Bytes) > 8192 { // two files of locks or indexes
		t.Errorf("%d bytes are free, planned %d, told %d", freed, plan.Bytes, done.Bytes)
	}
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run is there: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(first)); err != nil || len(entries) != 2 {
		t.Errorf("its experiment's folder holds %v, %v", entries, err)
	}
	p.isWhole(second)
	p.isWhole(third)
	// Of the first run: its second point, collection, analysis and figure.
	if done.Stored != 4 || plan.Stored != 4 || done.Orphans+done.Held > 0 {
		t.Errorf("%d results went, planned %d: %+v", done.Stored, plan.Stored, done)
	}
	if got := p.stored(); slices.Contains(got, "small: load mode=simple qps=2000 repeat=0") || !slices.Contains(got, "small: load mode=simple qps=1000 repeat=0") {
		t.Errorf("the store holds %q", got)
	}
	starts := len(p.started())
	if a := p.apply(oneMode, "sweep.qps=[1000, 3000]", "slo.tpot=15ms"); a.New || a.RunDir != third || len(p.started()) != starts {
		t.Errorf("an apply makes %s", a.RunDir)
	}
	if again := p.plan(rules); !again.Empty() {
		t.Errorf("still to go: %+v", again)
	}
}

// TestPruneRunsOfOneExperiment holds that the last run of a name takes the
// name's folder along, and that names limit what goes.
func TestPruneRunsOfOneExperiment(t *testing.T) {
	p := newPruneWorld(t)
	small := p.applyOn(1, oneMode)
	other := p.applyOn(2, changed(t, oneMode, "name: small", "name: other.thing"), "slo.tpot=15ms")
	p.now = p.now.AddDate(1, 0, 0)
	done := p.prune(upkeep.Rules{Names: []string{"other.thing"}, OlderThan: time.Hour, All: true})
	if len(done.Runs) != 1 || done.Runs[0].Path != other {
		t.Fatalf("removed %q", prunedNames(done))
	}
	if _, err := os.Stat(filepath.Dir(other)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of the name: %v", err)
	}
	p.isWhole(small) // they share the measurement
	if done := p.prune(upkeep.Rules{OlderThan: time.Hour, All: true}); len(done.Runs) != 1 || done.Runs[0].Path != small {
		t.Fatalf("removed %q", prunedNames(done))
	}
	if got := p.stored(); len(got) > 0 {
		t.Errorf("the store holds %q", got)
	}
	if got := p.runsLeft(); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// TestPruneImported holds that imports go only by wish.
func TestPruneImported(t *testing.T) {
	p := newPruneWorld(t)
	p.write("old/vllm-1.0qps-m-20260101-000000.json", scriptsFile("simple", 1))
	m, err := Import(t.Context(), p.site, ImportOptions{Folders: []string{filepath.Join(p.dir, "old")}, Name: "small", Question: nothing()})
	if err != nil {
		t.Fatal(err)
	}
	run := p.applyOn(2, oneMode)
	p.now = p.now.AddDate(1, 0, 0)
	rules := upkeep.Rules{OlderThan: time.Hour, All: true}
	plan := p.plan(rules)
	if len(plan.Runs) != 1 || plan.Runs[0].Path != run || len(plan.Stay) != 1 || plan.Stay[0].Path != m.RunDir || !strings.Contains(plan.Stay[0].Why, "--imported") {
		t.Errorf("%+v", plan)
	}
	// It does not take the place of one that was measured.
	if plan := p.plan(upkeep.Rules{Keep: 1}); len(plan.Runs) > 0 {
		t.Errorf("%+v", plan)
	}
	rules.Imported = true
	if done := p.prune(rules); len(done.Runs) != 2 || len(p.runsLeft()) > 0 {
		t.Errorf("%+v, left %q", done, p.runsLeft())
	}
}

// TestPruneOnlyImports prunes where nothing was ever applied: no store is made.
func TestPruneOnlyImports(t *testing.T) {
	p := newPruneWorld(t)
	p.write("old/vllm-1.0qps-m-20260101-000000.json", scriptsFile("simple", 1))
	if _, err := Import(t.Context(), p.site, ImportOptions{Folders: []string{filepath.Join(p.dir, "old")}, Question: nothing()}); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.AddDate(1, 0, 0)
	done := p.prune(upkeep.Rules{OlderThan: time.Hour, All: true, Imported: true})
	if left := filesBelow(t, p.site.Results); len(done.Runs) != 1 || len(left) > 0 {
		t.Errorf("%+v, left %q", done, left)
	}
	if entries, _ := os.ReadDir(p.site.Results); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
