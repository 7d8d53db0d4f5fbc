package upkeep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// Debris is what a process left that was killed.
type Debris struct {
	Path  string `json:"path"`
	What  string `json:"what"`
	Bytes int64  `json:"bytes"` // that are free once it is deleted

	experiment string // whose lock guards it; "" if none does
	pruned     bool   // a run that a prune has begun to delete
	store      bool   // opening the store deletes it
}

// debrisAge is how long nothing has happened to a folder that is taken for
// left behind: no import takes a day, and no apply is a day without a journal.
const debrisAge = 24 * time.Hour

// findDebris looks for what was left in the folders of experiments below a
// folder of results, and in its store.
func findDebris(results string, wanted func(experiment string) bool, now time.Time) ([]Debris, error) {
	experiments, err := os.ReadDir(results)
	if err != nil {
		return nil, err
	}
	var found []Debris
	for _, x := range experiments {
		base := filepath.Join(results, x.Name())
		if strings.HasPrefix(x.Name(), ".") || !runs.IsFolder(base, x) || !wanted(x.Name()) {
			continue
		}
		entries, err := os.ReadDir(base)
		if err != nil {
			return nil, fmt.Errorf("cannot look for what was left: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			if d, ok := debrisIn(filepath.Join(base, e.Name()), now); ok {
				d.experiment = x.Name()
				found = append(found, d)
			}
		}
	}
	dead, err := deadDrafts(filepath.Join(results, runs.StoreDir))
	return append(found, dead...), err
}

// debrisIn says what a folder in that of an experiment was left by.
func debrisIn(dir string, now time.Time) (Debris, bool) {
	d, name := Debris{Path: dir}, filepath.Base(dir)
	switch {
	case strings.HasPrefix(name, runs.PrunedPrefix):
		d.What, d.pruned = "a run that a prune was deleting when it ended", true
		return d, true
	case strings.HasPrefix(name, runs.ImportPrefix):
		d.What = "left by an import that was killed"
		return d, lastChange(dir).Before(now.Add(-debrisAge))
	case runName.MatchString(name) && isHollow(dir):
		d.What = "the folder of a run that never began"
		return d, lastChange(dir).Before(now.Add(-debrisAge))
	}
	return d, false
}

// isHollow reports whether a run's folder holds nothing but perhaps its spec:
// its apply ended before there was a journal.
func isHollow(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() != runs.SpecFile && !strings.HasPrefix(e.Name(), "."+runs.SpecFile+"-") {
			return false
		}
	}
	return true
}

// lastChange is when a folder or a journal in it was last written to.
func lastChange(dir string) time.Time {
	var last time.Time
	for _, path := range []string{dir, filepath.Join(dir, history.FileName)} {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// deadDrafts lists what cache.Open deletes: drafts of processes that no longer
// live, and what they were deleting.
func deadDrafts(store string) ([]Debris, error) {
	var found []Debris
	locks, err := filepath.Glob(filepath.Join(runs.EscapeGlob(store), "tmp", "*.lock"))
	if err != nil {
		return nil, err
	}
	for _, path := range locks {
		who, err := heldBy(path)
		if err != nil {
			return nil, err
		}
		if who == "" {
			found = append(found, Debris{Path: strings.TrimSuffix(path, ".lock"), What: "half-made results of a process that was killed", store: true})
		}
	}
	trash, err := os.ReadDir(filepath.Join(store, "trash"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range trash {
		found = append(found, Debris{Path: filepath.Join(store, "trash", e.Name()), What: "a result that was being deleted", store: true})
	}
	return found, nil
}

// heldBy says who holds the lock at path, "" if nobody does, without writing
// to it.
func heldBy(path string) (who string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot tell whether somebody is at work: %w", err)
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return "", nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return "", fmt.Errorf("cannot tell whether somebody is at work: %s: %w", path, err)
	}
	var h cache.Holder
	for d := json.NewDecoder(f); d.Decode(&h) == nil; {
		continue // the last line is the latest holder's
	}
	return h.String(), nil
}
