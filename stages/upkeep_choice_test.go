package stages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/upkeep"
)

// TestPruneKeepsRejected holds that attempts which broke a rule stay as long
// as another of their key, that others do not, and that all go in the end.
func TestPruneKeepsRejected(t *testing.T) {
	p := newPruneWorld(t)
	load := "small: load mode=simple qps=1000 repeat=0"
	count := func() (n int) {
		for _, slot := range p.stored() {
			if slot == load {
				n++
			}
		}
		return n
	}
	rejecting := []string{`valid=["sent == 5"]`, "stages.load.retries=0"}
	p.applyOn(1, oneMode, rejecting...)
	p.applyOn(2, oneMode, rejecting...)
	var last string
	for day := 3; day < 6; day++ {
		p.now = time.Date(2026, 3, day, 12, 0, 0, 0, time.Local)
		a, err := p.applyWith(t.Context(), ApplyOptions{PlanChoices: PlanChoices{Rerun: []string{"load"}}}, oneMode)
		if err != nil || !a.New {
			t.Fatalf("%+v, %v", a, err)
		}
		last = a.RunDir
	}
	if n := count(); n != 5 {
		t.Fatalf("%d attempts", n)
	}
	if done := p.prune(upkeep.Rules{Keep: 1}); len(done.Runs) != 4 || count() != 3 {
		t.Fatalf("removed %q, %d attempts are left", prunedNames(done), count())
	}
	p.isWhole(last)
	p.now = p.now.AddDate(0, 0, 3)
	p.prune(upkeep.Rules{OlderThan: time.Second, All: true})
	if got := p.stored(); len(got) > 0 {
		t.Errorf("the store holds %q", got)
	}
}

// TestPruneOrphans holds when results go that no run refers to: those that an
// apply published and was killed before it could note them.
func TestPruneOrphans(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(10, oneMode, "workload.seed=1")
	killed := p.applyOn(12, oneMode, "workload.seed=2")
	p.applyOn(14, oneMode, "workload.seed=3")
	// The second is killed just before it notes its first result.
	text := contentOf(t, killed, history.FileName)
	cut := strings.Index(text, `{"at":`+text[len(`{"at":`):strings.Index(text, ",")]+`,"kind":"node_done"`)
	if cut < 0 {
		t.Fatalf("no result is noted: %s", text)
	}
	if err := os.WriteFile(filepath.Join(killed, history.FileName), []byte(text[:cut]), 0o644); err != nil {
		t.Fatal(err)
	}
	all := len(p.stored())
	keepTwo := upkeep.Rules{Keep: 2}
	if plan := p.plan(keepTwo); plan.Orphans > 0 || len(plan.Runs) != 1 {
		t.Errorf("the run may resume, and yet %+v", plan)
	}
	if err := os.RemoveAll(killed); err != nil {
		t.Fatal(err)
	}
	if plan := p.plan(upkeep.Rules{Keep: 2}); plan.Orphans > 0 {
		t.Errorf("a run that began before stays, and yet %+v", plan)
	}
	if plan := p.plan(upkeep.Rules{Keep: 1, Names: []string{"small"}}); plan.Orphans > 0 || len(plan.Runs) != 1 {
		t.Errorf("names were given, and yet %+v", plan)
	}
	used := diskUse(t, p.site.Results)
	done := p.prune(upkeep.Rules{Keep: 1})
	if done.Orphans != 4 || done.Stored != 8 || len(p.stored()) != all-8 {
		t.Errorf("of %d results %d are left: %+v", all, len(p.stored()), done)
	}
	if freed := used - diskUse(t, p.site.Results); done.Bytes != freed {
		t.Errorf("%d bytes are free, told %d", freed, done.Bytes)
	}
	// Young ones stay though no run does.
	p.now = p.now.Add(2 * time.Hour)
	last := p.applyOn(20, oneMode, "workload.seed=4")
	if err := os.RemoveAll(last); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(23 * time.Hour)
	if plan := p.plan(upkeep.Rules{Keep: 1, All: true, OlderThan: time.Hour}); plan.Orphans > 0 || len(plan.Runs) != 1 {
		t.Errorf("a day has not passed, and yet %+v", plan)
	}
	p.now = p.now.Add(2 * time.Hour)
	if plan := p.plan(upkeep.Rules{OlderThan: time.Hour, All: true}); plan.Orphans != 4 {
		t.Errorf("%+v", plan)
	}
}
