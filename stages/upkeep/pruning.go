// Package upkeep keeps a results folder small and sound: it removes old runs
// with the stored results that only they refer to (Prune), reads every stored
// result (VerifyStore) and tells what the store takes (UseOfStore).
//
// A prune has these steps, each in a file of its own:
//
//   - what there is: the runs and what of the store each refers to, and what
//     killed processes left (stored_run.go, debris.go);
//   - what goes: the rules name runs (rules.go), and what nobody else refers to
//     goes with them (choice.go), weighed as du does (space.go), with the
//     figures that lose their data (figures.go);
//   - removing it, so that a kill at any instant leaves each run whole or no
//     run any more (removal.go).
//
// Package runs says where runs lie and what their journals tell, pipeline/cache
// is the store. Of specs, only where one had its figures put is read: without
// it, nobody could say which of them lose their data. What made the runs
// (package stages) is not known here.
package upkeep

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"vbp/pipeline/cache"
	"vbp/stages/runs"
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

	rules Rules
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
func PlanPrune(ctx context.Context, results string, rules Rules, now time.Time) (*Pruning, error) {
	rules.Names = slices.Clone(rules.Names)
	p := &pruner{
		results: results, rules: rules, now: now, store: cache.At(filepath.Join(results, runs.StoreDir)),
		busy: func(experiment string) (string, error) {
			return heldBy(runs.Lock(filepath.Join(results, runs.StoreDir), experiment))
		},
	}
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	return p.out, p.choose(ctx)
}
