package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// Prune removes what plan says, as far as the rules still say so: no run goes
// that plan does not name, and none of an experiment that is being applied by
// now. It tells of every run that is gone. When it is killed or interrupted,
// each run is either as it was or no run any more, and the next prune finishes
// what was begun:
//
//   - runs are renamed, first their folders and then their journals;
//   - all that is in these folders but the journals is deleted;
//   - results are removed from the store that only those journals refer to;
//   - the journals are deleted.
func Prune(ctx context.Context, plan *Pruning, now func() time.Time, gone func(PrunedRun)) (done *Pruning, err error) {
	defer func() { // when nothing of this process is in the store any more
		if done != nil && plan.rules.MaxSize > 0 {
			after, usageErr := usage(plan.Results)
			done.Used, done.After = plan.Used, after.total()
			err = errors.Join(err, usageErr)
		}
	}()
	root := filepath.Join(plan.Results, runs.StoreDir)
	store, drafts, err := openToPrune(root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	kept, err := bookkeeping(root)
	if err != nil {
		return nil, err
	}
	locks := &pruneLocks{root: root, held: make(map[string]*cache.Lock)}
	defer func() { err = errors.Join(err, locks.release()) }()

	p := &pruner{results: plan.Results, rules: plan.rules, now: now(), store: store, busy: locks.take, allowed: plan.names}
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	if err := p.choose(ctx); err != nil {
		return nil, err
	}
	done = p.out
	done.Done = true
	Step("chosen")
	failed := done.takeRuns(ctx)

	rest := &pruner{results: plan.Results, rules: Rules{Names: plan.rules.Names}, now: now(), store: store, busy: locks.take}
	err = rest.finishAll(ctx, done.Runs, gone)
	done.Orphans, done.Stored, done.Held = rest.out.Orphans, len(rest.doomed), rest.out.Held
	left, keptErr := bookkeeping(root)
	done.Bytes = rest.out.Bytes + kept - left
	for _, d := range drafts {
		done.Bytes += d.Bytes
	}
	done.Debris = append(done.Debris, drafts...)
	return done, errors.Join(failed, err, keptErr)
}

// openToPrune opens a store, if it is there, which deletes what processes left
// in it that no longer live, and says what that was.
func openToPrune(root string) (*cache.Store, []Debris, error) {
	if !exists(root) {
		return cache.At(root), nil, nil // only imports were made here
	}
	drafts, err := deadDrafts(root)
	if err == nil {
		err = weigh(drafts)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := cache.Open(root)
	return store, drafts, err
}

// names reports whether a run is among those of the plan.
func (p *Pruning) names(dir string) bool {
	return slices.ContainsFunc(p.Runs, func(r PrunedRun) bool { return r.Path == dir })
}

// pruneLocks are the locks of the experiments whose runs go, so that no apply
// of theirs begins meanwhile.
type pruneLocks struct {
	root string
	held map[string]*cache.Lock
}

func (l *pruneLocks) take(experiment string) (who string, err error) {
	if l.held[experiment] != nil {
		return "", nil
	}
	path := runs.Lock(l.root, experiment)
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return "", nil // nothing was ever applied here
	}
	lock, holder, err := cache.TryLock(path, "prune "+experiment)
	switch {
	case err != nil:
		return "", err
	case lock == nil:
		return holder.String(), nil
	}
	l.held[experiment] = lock
	return "", nil
}

func (l *pruneLocks) release() error {
	var errs []error
	for _, lock := range l.held {
		errs = append(errs, lock.Release())
	}
	return errors.Join(errs...)
}

// takeRuns makes runs no runs to anybody. What cannot be taken stays.
func (p *Pruning) takeRuns(ctx context.Context) error {
	var errs []error
	parents := make(map[string]bool)
	p.Runs = slices.DeleteFunc(p.Runs, func(r PrunedRun) bool {
		if ctx.Err() != nil {
			return true
		}
		if err := takeAway(r.Path); err != nil {
			errs = append(errs, fmt.Errorf("cannot remove %s: %w%s", r.Path, err, cache.Hint(err)))
			p.Stay = append(p.Stay, StayingRun{Path: r.Path, Name: r.Name, Why: "it cannot be removed: " + firstLine(err.Error())})
			return true
		}
		parents[filepath.Dir(r.Path)] = true
		return false
	})
	for dir := range parents {
		errs = append(errs, syncFolder(dir)) // before anything of them is deleted
	}
	return errors.Join(errs...)
}

// firstLine is an error's text as far as it fits into a list.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// finishAll deletes what prunes have begun to delete, this one or those that
// were killed, and other debris.
func (p *pruner) finishAll(ctx context.Context, taken []PrunedRun, gone func(PrunedRun)) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	if err := p.choose(ctx); err != nil {
		return err
	}
	space := newDeletions()
	p.out.Bytes = 0
	take := func(path string) { p.out.Bytes += space.take(p.prints[path]) }
	for _, d := range p.out.Debris {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("pruning was interrupted; the next prune finishes it: %w", err)
		}
		if d.store {
			continue // left since the store was opened; the next opening deletes it
		}
		if d.pruned {
			if err := takeAway(d.Path); err != nil {
				return fmt.Errorf("cannot delete all of %s; the next prune tries again: %w", d.Path, err)
			}
			if err := empty(d.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot delete all of %s; the next prune tries again: %w", d.Path, err)
			}
			continue
		}
		if err := os.RemoveAll(d.Path); err != nil {
			return fmt.Errorf("cannot delete %s: %w", d.Path, err)
		}
		take(d.Path)
	}
	if err := p.refresh(); err != nil {
		return err
	}
	Step("contents deleted")
	removed, held, err := p.store.Prune(ctx, p.doomed)
	p.out.Held, p.doomed = len(held), removed
	for _, a := range removed {
		take(a.Dir)
	}
	if err != nil {
		return err
	}
	Step("store pruned")
	for _, d := range p.out.Debris {
		if !d.pruned {
			continue
		}
		if err := os.RemoveAll(d.Path); err != nil {
			return fmt.Errorf("cannot delete %s; the next prune tries again: %w", d.Path, err)
		}
		Step("journal deleted")
		take(d.Path)
		base := filepath.Dir(d.Path)
		p.prints[base], _ = measure(base)
		if syscall.Rmdir(base) == nil { // which fails if there is more in it, or if it is a link
			take(base)
		}
	}
	for _, r := range taken {
		gone(r)
	}
	return nil
}

// refresh takes in what runs have noted since they were read: of what they
// refer to now, nothing is removed. What a running apply uses without having
// noted it yet, it holds, which the store sees to.
func (p *pruner) refresh() error {
	const passes = 5 // a running apply writes all the time; what it uses, it holds
	read := make(map[string]int64)
	for _, r := range p.runs {
		read[r.dir] = r.size
	}
	for range passes {
		dirs, err := runs.Below(p.results)
		if err != nil {
			return err
		}
		changed := false
		for _, dir := range dirs {
			size, known := read[dir]
			if info, err := os.Stat(filepath.Join(dir, history.FileName)); err != nil || known && info.Size() == size {
				continue
			}
			r := readStoredRun(p.results, dir, p.listing.Find)
			if r.broken != nil && !errors.Is(r.broken, fs.ErrNotExist) {
				return r.unreadable()
			}
			changed, read[dir] = true, r.size
			p.use(r)
		}
		if !changed {
			break
		}
	}
	p.doomed = slices.DeleteFunc(p.doomed, func(a *cache.Artefact) bool { return p.uses[a] > 0 })
	return nil
}

// weigh says of drafts and trash, whose files have no other names, what they
// take.
func weigh(debris []Debris) error {
	for i, d := range debris {
		for _, path := range []string{d.Path, d.Path + ".lock", d.Path + ".keys"} {
			p, err := measure(path)
			if err != nil {
				return err
			}
			debris[i].Bytes += p.total()
		}
	}
	return nil
}
