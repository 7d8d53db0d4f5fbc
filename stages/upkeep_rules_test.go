package stages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vbp/stages/upkeep"
)

// TestPruneOfUnreadable holds that nothing is removed while a journal cannot be
// read, which hides what its run refers to.
func TestPruneOfUnreadable(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(5, changed(t, oneMode, "name: small", "name: a"), "workload.seed=1")
	p.applyOn(6, changed(t, oneMode, "name: small", "name: a"), "workload.seed=2")
	p.write("results/mine/run/journal.jsonl", strings.Repeat(`{"at":"2026-03-01T01:00:00Z","kind":"node_begun","node":"collect"}`+"\n", 3)+"{broken\n{}\n")
	before := snapshot(t, p.site.Results)
	_, err := upkeep.PlanPrune(t.Context(), p.site.Results, upkeep.Rules{Keep: 1}, p.now)
	mustContain(t, err, "nothing is removed", "mine/run", ":4: not a journal record", "move that folder out")
	if snapshot(t, p.site.Results) != before {
		t.Error("something has changed")
	}
	// If it goes itself, that hinders nobody.
	if err := os.Rename(filepath.Join(p.site.Results, "mine/run"), filepath.Join(p.site.Results, "mine/20260301_010000")); err != nil {
		t.Fatal(err)
	}
	if plan := p.plan(upkeep.Rules{OlderThan: time.Hour, All: true, Names: []string{"mine"}}); len(plan.Runs) != 1 {
		t.Errorf("%+v", plan)
	}
	// A folder that its owner may not look into is not taken for an empty one.
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(p.site.Results, "mine"), 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(filepath.Join(p.site.Results, "mine"), 0o755) }()
		_, err = upkeep.PlanPrune(t.Context(), p.site.Results, upkeep.Rules{Keep: 1}, p.now)
		mustContain(t, err, "permission denied")
	}
}
