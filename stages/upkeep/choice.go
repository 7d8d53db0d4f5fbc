package upkeep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// pruner decides what goes. A run goes with all that it alone refers to.
type pruner struct {
	results string
	rules   Rules
	now     time.Time
	store   *cache.Store
	busy    func(experiment string) (who string, err error) // "" if no apply is at work
	allowed func(dir string) bool                           // nil: every run may go

	listing  *cache.Listing
	runs     []*storedRun // oldest first
	going    []*storedRun
	uses     map[*cache.Artefact]int // runs that refer to it and stay
	rejected map[*cache.Artefact]bool
	orphans  []*cache.Artefact // no run referred to them from the beginning; those that stay so far
	waiting  []*cache.Artefact // no run refers to them any more, and yet they stay
	doomed   []*cache.Artefact
	prints   map[string]footprint // of all that goes, by path
	space    *deletions
	shards   map[string]int // folder of the store -> results that stay in it
	out      *Pruning
}

// look reads what there is.
func (p *pruner) look(ctx context.Context) error {
	p.out = &Pruning{Results: p.results, Runs: []PrunedRun{}, Stay: []StayingRun{}, Debris: []Debris{}, rules: p.rules}
	p.space = newDeletions()
	p.uses = make(map[*cache.Artefact]int)
	p.rejected, p.prints = make(map[*cache.Artefact]bool), make(map[string]footprint)
	if err := p.checkNames(); err != nil {
		return err
	}
	var err error
	if p.listing, err = p.store.List(); err != nil {
		return err
	}
	p.shards = make(map[string]int)
	for a := range p.listing.All() {
		p.shards[filepath.Dir(a.Dir)]++
	}
	dirs, err := runs.Below(p.results)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("nothing was removed: %w", err)
		}
		r := readStoredRun(p.results, dir, p.listing.Find)
		if errors.Is(r.broken, fs.ErrNotExist) {
			continue // another prune was faster
		}
		p.runs = append(p.runs, r)
		p.use(r)
	}
	slices.SortFunc(p.runs, func(a, b *storedRun) int {
		return cmp.Or(a.ended.Compare(b.ended), a.begun.Compare(b.begun), cmp.Compare(a.dir, b.dir))
	})
	if p.rules.MaxSize > 0 {
		all, err := usage(p.results)
		if err != nil {
			return err
		}
		p.space.inside, p.out.Used = all.names(), all.total()
	}
	return nil
}

// checkNames says of a folder or a name that it is none.
func (p *pruner) checkNames() error {
	entries, err := os.ReadDir(p.results)
	if err != nil {
		return fmt.Errorf("no results folder: %w; --results names another", err)
	}
	var names []string
	for _, e := range entries {
		path := filepath.Join(p.results, e.Name())
		if !runs.IsFolder(path, e) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, err := runs.FirstRecord(path); err == nil && runName.MatchString(e.Name()) {
			abs := runs.Absolute(p.results)
			return fmt.Errorf("%s holds the runs of one experiment: say vbp prune %s --results %s", p.results, filepath.Base(abs), filepath.Dir(abs))
		}
		names = append(names, e.Name())
	}
	var errs []error
	for i, name := range p.rules.Names {
		switch {
		case slices.Contains(names, name):
		case slices.Contains(names, runs.FileName(name)):
			p.rules.Names[i] = runs.FileName(name)
		case strings.ContainsRune(name, filepath.Separator):
			errs = append(errs, fmt.Errorf("%s is no experiment: prune takes NAMEs, as in %s, and rules for their runs; to remove one run, delete its folder, and the next prune removes what it alone referred to",
				name, filepath.Base(filepath.Dir(name))))
		case len(names) == 0:
			errs = append(errs, fmt.Errorf("%s has no runs of %s, and none at all; --results names another folder", p.results, name))
		default:
			errs = append(errs, fmt.Errorf("%s has no runs of %s; there is: %s", p.results, name, strings.Join(names, ", ")))
		}
	}
	return errors.Join(errs...)
}

// choose applies the rules: age and count first, then size to what is left.
func (p *pruner) choose(ctx context.Context) error {
	if err := p.chooseDebris(); err != nil {
		return err
	}
	why, bar := p.named(), p.barred()
	stay := func(r *storedRun, reason string) {
		p.out.Stay = append(p.out.Stay, StayingRun{Path: r.dir, Name: r.name(), Why: reason})
	}
	for _, r := range p.runs {
		if why[r] == "" || p.allowed != nil && !p.allowed(r.dir) {
			continue
		}
		if reason, err := bar(r); err != nil {
			return err
		} else if reason != "" {
			stay(r, reason)
			continue
		}
		if err := p.remove(ctx, r, why[r]); err != nil {
			return err
		}
	}
	if err := p.removeOrphans(); err != nil {
		return err
	}
	for _, r := range p.runs {
		if p.out.After = p.out.Used - p.space.fewer; p.out.Left() == 0 {
			break
		}
		if !p.wanted(r.experiment) || slices.Contains(p.going, r) || why[r] != "" || p.allowed != nil && !p.allowed(r.dir) {
			continue
		}
		if reason, err := bar(r); err != nil {
			return err
		} else if reason != "" {
			stay(r, reason)
			continue
		}
		if err := p.remove(ctx, r, "the results take too much room"); err != nil {
			return err
		}
		if err := p.removeOrphans(); err != nil {
			return err
		}
	}
	return p.finish()
}

// removeOrphans lets go what no run refers to, if it is about all experiments.
// An apply that was killed between publishing a result and noting it leaves
// such a result, and the next apply of the spec reuses it: so it goes only if
// it is old, and older than every run that stays, since a run that began
// before may be the one that made it.
func (p *pruner) removeOrphans() error {
	if len(p.rules.Names) > 0 {
		return nil
	}
	oldest := p.now.Add(-debrisAge)
	for _, r := range p.runs {
		if !slices.Contains(p.going, r) && r.begun.Before(oldest) {
			oldest = r.begun
		}
	}
	var err error
	p.orphans = slices.DeleteFunc(p.orphans, func(a *cache.Artefact) bool {
		made := a.Created
		if info, statErr := os.Stat(a.Dir); made.IsZero() && statErr == nil { // its manifest cannot be read
			made = info.ModTime()
		}
		if err != nil || !made.Before(oldest) {
			return false
		}
		var freed int64
		freed, err = p.doom(a)
		p.out.Orphans++
		p.out.Bytes += freed
		return true
	})
	return err
}

// use notes what a run refers to.
func (p *pruner) use(r *storedRun) {
	for _, a := range r.shown {
		p.uses[a]++
	}
	for _, a := range r.rejected {
		p.rejected[a] = true
	}
}

// remove lets a run go, and what no other refers to.
func (p *pruner) remove(ctx context.Context, r *storedRun, why string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	p.going = append(p.going, r)
	freed, err := p.weighAndTake(r.dir)
	if err != nil {
		return err
	}
	for _, a := range r.shown {
		if p.uses[a]--; p.uses[a] == 0 {
			p.waiting = append(p.waiting, a)
		}
	}
	stored, err := p.removeWaiting()
	freed += stored
	p.out.Bytes += freed
	p.out.Runs = append(p.out.Runs, PrunedRun{
		Path: r.dir, Name: r.name(), State: r.state, Begun: r.begun, Ended: r.ended, Why: why, Bytes: freed,
		Figures: figuresBelow(r.dir),
	})
	return err
}

// removeWaiting lets go what no run refers to any more. An attempt that broke
// a rule stays as long as any of its key does: figures count how many were
// rejected before the one that they show.
func (p *pruner) removeWaiting() (freed int64, err error) {
	p.waiting = slices.DeleteFunc(p.waiting, func(a *cache.Artefact) bool {
		if err != nil || p.rejected[a] && slices.ContainsFunc(p.listing.Find(a.Key), func(b *cache.Artefact) bool { return p.uses[b] > 0 }) {
			return false
		}
		var f int64
		f, err = p.doom(a)
		freed += f
		return true
	})
	return freed, err
}

// doom lets a stored result go, and what leads to nothing then: its slot, and
// the index of its shard if it is the last in there.
func (p *pruner) doom(a *cache.Artefact) (freed int64, err error) {
	p.doomed = append(p.doomed, a)
	if freed, err = p.weighAndTake(a.Dir); err != nil {
		return 0, err
	}
	var rest footprint
	slot := cache.SlotName(a.Slot)
	slot = filepath.Join(p.store.Root(), "slots", slot[:2], slot)
	if data, err := os.ReadFile(slot); err == nil && strings.TrimSpace(string(data)) == string(a.Key)+" "+a.Attempt {
		if info, err := os.Lstat(slot); err == nil {
			rest.add(info)
		}
	}
	shard := filepath.Dir(a.Dir)
	if p.shards[shard]--; p.shards[shard] == 0 {
		if err := rest.addShard(shard); err != nil {
			return 0, err
		}
	}
	return freed + p.space.take(rest), nil
}

func (p *pruner) weighAndTake(path string) (freed int64, err error) {
	if p.prints[path], err = measure(path); err != nil {
		return 0, fmt.Errorf("cannot tell what %s takes: %w", path, err)
	}
	return p.space.take(p.prints[path]), nil
}

// chooseDebris lets go what killed processes left, and what only runs refer to
// that a prune has begun to delete.
func (p *pruner) chooseDebris() error {
	for a := range p.listing.All() {
		if p.uses[a] == 0 {
			p.orphans = append(p.orphans, a)
		}
	}
	found, err := findDebris(p.results, p.wanted, p.now)
	if err != nil {
		return err
	}
	known := make(map[*cache.Artefact]bool)
	for _, d := range found {
		if d.experiment != "" && !strings.HasPrefix(filepath.Base(d.Path), runs.ImportPrefix) {
			if who, err := p.busy(d.experiment); err != nil {
				return err
			} else if who != "" {
				continue
			}
		}
		if d.store {
			one := []Debris{d}
			err = weigh(one)
			d = one[0]
			p.space.fewer += d.Bytes
		} else {
			d.Bytes, err = p.weighAndTake(d.Path)
		}
		if err != nil {
			return err
		}
		if d.pruned {
			var r storedRun
			for _, name := range []string{prunedJournal, history.FileName} { // it has one of them
				r.readJournal(filepath.Join(d.Path, name), p.listing.Find)
			}
			for _, a := range r.rejected {
				p.rejected[a] = true
			}
			for _, a := range r.shown {
				if p.uses[a] == 0 && !known[a] {
					known[a] = true
					p.waiting = append(p.waiting, a)
				}
			}
			freed, err := p.removeWaiting()
			if err != nil {
				return err
			}
			d.Bytes += freed
		}
		p.out.Bytes += d.Bytes
		p.out.Debris = append(p.out.Debris, d)
	}
	p.orphans = slices.DeleteFunc(p.orphans, func(a *cache.Artefact) bool { return known[a] })
	return nil
}

// finish completes what is told of the runs that go.
func (p *pruner) finish() error {
	for _, r := range p.runs {
		if r.broken != nil && len(p.doomed) > 0 && !slices.Contains(p.going, r) {
			return r.unreadable()
		}
	}
	p.out.Stored = len(p.doomed)
	p.out.After = max(0, p.out.Used-p.space.fewer)
	doomed := make(map[*cache.Artefact]bool)
	for _, a := range p.doomed {
		doomed[a] = true
	}
	for i, r := range p.going {
		p.out.Runs[i].Losing = []string{}
		if slices.ContainsFunc(r.shown, func(a *cache.Artefact) bool { return doomed[a] && strings.Contains(a.Slot, ": load ") }) {
			p.out.Runs[i].Losing = figuresElsewhere(r)
		}
	}
	slices.SortStableFunc(p.out.Runs, func(a, b PrunedRun) int { return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Path, b.Path)) })
	return nil
}
