package stages

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"vbp/pipeline/cache"
)

// Pruning is what a prune removes, or has removed.
type Pruning struct {
	Results string       `json:"results"`
	Runs    []PrunedRun  `json:"runs"`   // oldest first
	Stay    []StayingRun `json:"stay"`   // that a rule names
	Debris  []Debris     `json:"debris"` // left by processes that were killed
	Orphans int          `json:"orphans"`
	Stored  int          `json:"stored"` // results that go from the store, orphans included
	Held    int          `json:"held"`   // of those that were to go: a running apply uses them
	Bytes   int64        `json:"bytes"`  // that are free afterwards
	// Used and After are what du counts in the results folder, before and
	// afterwards; only if MaxSize is set.
	Used  int64 `json:"used"`
	After int64 `json:"after"`
	Done  bool  `json:"done"`

	rules PruneRules
}

// PrunedRun is a run that goes.
type PrunedRun struct {
	Path  string    `json:"path"`
	Name  string    `json:"name"` // as list prints it
	State string    `json:"state"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
	Why   string    `json:"why"`
	Bytes int64     `json:"bytes"` // that it frees once the runs before it are gone
	// Figures go with the run: paths in its folder. Losing stay where the
	// spec had them put, without the samples that they show.
	Figures []string `json:"figures"`
	Losing  []string `json:"losing"`
}

// StayingRun is a run that stays though a rule names it.
type StayingRun struct {
	Path string `json:"path"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Left is by how many bytes the results are above MaxSize afterwards.
func (p *Pruning) Left() int64 {
	if p.rules.MaxSize == 0 {
		return 0
	}
	return max(0, p.After-p.rules.MaxSize)
}

// Empty reports whether there is nothing to remove.
func (p *Pruning) Empty() bool { return len(p.Runs) == 0 && len(p.Debris) == 0 && p.Stored == 0 }

// PlanPrune says what Prune would remove of a results folder, and writes
// nothing.
func PlanPrune(ctx context.Context, results string, rules PruneRules, now time.Time) (*Pruning, error) {
	rules.Names = slices.Clone(rules.Names)
	p := &pruner{
		results: results, rules: rules, now: now, store: cache.At(filepath.Join(results, storeDir)),
		busy: func(experiment string) (string, error) {
			return heldBy(experimentLock(filepath.Join(results, storeDir), experiment))
		},
	}
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	return p.out, p.choose(ctx)
}

// experimentLock is the lock, in the store at root, that lockExperiment takes of
// the experiment whose runs are in folder: apart from the store's own locks,
// for an experiment may have any name.
func experimentLock(root, folder string) string {
	return filepath.Join(root, "locks", "names", folder+".lock")
}
