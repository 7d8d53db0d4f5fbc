package upkeep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// prunedJournal is what the journal of a run is called that is being deleted:
// what has no journal of the usual name is no run to anybody. Renames need no
// room on a full disk.
const prunedJournal = "pruned.jsonl"

// runName is how an apply or an import names a run's folder. One of another
// name was renamed by its owner, who wants to keep it.
var runName = regexp.MustCompile(`^\d{8}_\d{6}(_\d+)?$`)

// storedRun is a run below a folder of results, and what of the store belongs
// to it.
type storedRun struct {
	dir        string
	experiment string // name of the folder that it is in
	begun      time.Time
	ended      time.Time // of its last record
	state      string
	imported   bool
	ours       bool  // in a place and under a name as vbp gives them
	size       int64 // of the journal, when it was read
	// shown is what the journal refers to and the store holds: results that
	// the run shows, and attempts that it made and does not.
	shown    []*cache.Artefact
	rejected []*cache.Artefact // of shown: attempts that broke a rule
	broken   error             // the journal cannot be read to its end
}

// readStoredRun reads a run's journal; stored finds what it refers to.
func readStoredRun(results, dir string, stored func(cache.Key) []*cache.Artefact) *storedRun {
	r := &storedRun{dir: dir, experiment: filepath.Base(filepath.Dir(dir)), state: runs.StateOf(dir)}
	rel, err := filepath.Rel(results, dir)
	info, statErr := os.Lstat(dir)
	r.ours = err == nil && strings.Count(filepath.ToSlash(rel), "/") == 1 && runName.MatchString(filepath.Base(dir)) &&
		statErr == nil && info.IsDir()
	if _, err := runs.Imported(dir); err == nil {
		r.imported = true
	}
	r.readJournal(filepath.Join(dir, history.FileName), stored)
	if r.begun.IsZero() { // not one record
		if t, ok := runs.StampOf(filepath.Base(dir)); ok {
			r.begun, r.ended = t, t
		} else if statErr == nil {
			r.begun, r.ended = info.ModTime(), info.ModTime()
		}
	}
	return r
}

func (r *storedRun) readJournal(path string, stored func(cache.Key) []*cache.Artefact) {
	if info, err := os.Stat(path); err == nil {
		r.size = info.Size()
	}
	records, _, err := history.Read(path)
	if err != nil {
		r.broken = err
		var path *fs.PathError
		if errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
			r.ours = false // whatever it is, it cannot be told now
		}
	}
	seen := make(map[*cache.Artefact]bool)
	for _, rec := range records {
		if !rec.At.IsZero() {
			if r.begun.IsZero() {
				r.begun = rec.At
			}
			r.ended = rec.At
		}
		if rec.Key == "" || rec.Attempt == "" {
			continue
		}
		for _, a := range stored(cache.Key(rec.Key)) {
			if a.Attempt != rec.Attempt || seen[a] {
				continue
			}
			seen[a] = true
			r.shown = append(r.shown, a)
			if rec.Kind == history.NodeDone && rec.Text != "" { // the rule that it broke
				r.rejected = append(r.rejected, a)
			}
		}
	}
}

// name is how list prints the run.
func (r *storedRun) name() string { return filepath.Join(r.experiment, filepath.Base(r.dir)) }

// unreadable is the error of a prune that cannot know what a run refers to.
func (r *storedRun) unreadable() error {
	return fmt.Errorf("nothing is removed, for it cannot be told which stored results %s refers to: %w; move that folder out of the results, or delete it, and prune again", r.dir, r.broken)
}

// takeAway makes a run no run to anybody. The next prune recognises what is
// left of it.
func takeAway(dir string) error {
	if !strings.HasPrefix(filepath.Base(dir), runs.PrunedPrefix) {
		to := filepath.Join(filepath.Dir(dir), runs.PrunedPrefix+filepath.Base(dir))
		for n := 2; exists(to); n++ { // of an earlier run of that name
			to = filepath.Join(filepath.Dir(dir), fmt.Sprintf("%s%s-%d", runs.PrunedPrefix, filepath.Base(dir), n))
		}
		if err := os.Rename(dir, to); err != nil {
			return err
		}
		Step("folder renamed")
		dir = to
	}
	err := os.Rename(filepath.Join(dir, history.FileName), filepath.Join(dir, prunedJournal))
	Step("journal renamed")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Step is called between any two steps of a prune: tests kill the process
// there.
var Step = func(name string) {}

// empty deletes all that is in a run's folder but its journal, which the next
// prune needs if this one is killed before it has deleted what the run alone
// refers to.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == prunedJournal {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		Step("content deleted")
	}
	return nil
}
