package upkeep

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"vbp/stages/runs"
)

// Rules say which runs go: those that any of the rules names.
type Rules struct {
	Names     []string      // experiments that they are about; none: all
	OlderThan time.Duration // since the last record of a run's journal; 0: no rule
	Keep      int           // runs of each experiment that stay, the newest; 0: no rule
	MaxSize   int64         // bytes on the disk of the results folder, to which the oldest runs go; 0: no rule
	All       bool          // the newest run of each experiment, and its newest complete one, may go too
	Imported  bool          // and imported runs, which nobody can measure again
}

// wanted reports whether the rules are about an experiment.
func (p *pruner) wanted(experiment string) bool {
	return len(p.rules.Names) == 0 || slices.Contains(p.rules.Names, experiment)
}

// named says of every run that age or count name why it is to go.
func (p *pruner) named() map[*storedRun]string {
	why := make(map[*storedRun]string)
	for _, r := range p.runs {
		if age := p.now.Sub(r.ended); p.wanted(r.experiment) && p.rules.OlderThan > 0 && age > p.rules.OlderThan {
			why[r] = ageText(age) + " old"
		}
	}
	count := make(map[string]int)
	for _, r := range slices.Backward(p.newestLast()) {
		count[r.experiment]++
		if n := count[r.experiment]; p.wanted(r.experiment) && p.rules.Keep > 0 && n > p.rules.Keep && why[r] == "" {
			why[r] = fmt.Sprintf("the newest %d of %s stay", p.rules.Keep, r.experiment)
		}
	}
	return why
}

// newestLast is the runs that rules can be about, in order of their begin.
func (p *pruner) newestLast() []*storedRun {
	ours := slices.DeleteFunc(slices.Clone(p.runs), func(r *storedRun) bool { return !r.ours || r.imported && !p.rules.Imported })
	slices.SortStableFunc(ours, func(a, b *storedRun) int {
		return cmp.Or(a.begun.Compare(b.begun), cmp.Compare(a.dir, b.dir))
	})
	return ours
}

// barred returns a function that says why a run must stay; "": it may go.
func (p *pruner) barred() func(*storedRun) (string, error) {
	newest, complete := make(map[string]*storedRun), make(map[string]*storedRun)
	for _, r := range p.newestLast() {
		newest[r.experiment] = r
		if r.state == runs.Complete {
			complete[r.experiment] = r
		}
	}
	who := make(map[string]string)
	return func(r *storedRun) (string, error) {
		if _, known := who[r.experiment]; !known && r.ours {
			var err error
			if who[r.experiment], err = p.busy(r.experiment); err != nil {
				return "", err
			}
		}
		switch {
		case !r.ours:
			return "its folder is not one that vbp made, or was renamed", nil
		case r.imported && !p.rules.Imported:
			return "it was imported and cannot be measured again; --imported lets it go too", nil
		case who[r.experiment] != "":
			return r.experiment + " is in use by " + who[r.experiment], nil
		case !p.rules.All && r == newest[r.experiment]:
			return "it is the newest run of " + r.experiment + "; --all lets it go too", nil
		case !p.rules.All && r == complete[r.experiment]:
			return "it is the newest complete run of " + r.experiment + "; --all lets it go too", nil
		}
		return "", nil
	}
}

// ageText is an age in the largest unit that fits.
func ageText(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	}
	return fmt.Sprintf("%d seconds", int(d/time.Second))
}
