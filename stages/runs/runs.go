// Package runs says what a results folder is, and what the folder of a run in
// it. Applies and imports write these folders; list, show and why read them;
// package upkeep removes them. What a run means, its points and its scores, is
// not known here.
//
//	RESULTS/.store            artefacts of all runs, and locks (pipeline/cache)
//	RESULTS/NAME/STAMP        a run of the experiment NAME: its journal
//	                          (pipeline/history), spec, samples, figures
//	RESULTS/NAME/.import-...  an import that is not finished
//	RESULTS/NAME/.pruned-...  a run that is being deleted
//
// Of lists the runs of one experiment, Below those of a whole folder. The
// journal tells how a run ended (StateOf) and whether it was measured here
// (Imported). Nothing in this package writes.
package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline/history"
)

// StoreDir holds the artefacts of every run below a results folder.
const StoreDir = ".store"

// SpecFile is the resolved spec's name in a run's folder.
const SpecFile = "spec.yaml"

// ImportPrefix begins the name of a folder in which an import makes its run,
// PrunedPrefix that of a run's folder that is being deleted.
const (
	ImportPrefix = ".import-"
	PrunedPrefix = ".pruned-"
)

// Stamp is how a run's folder carries its time, as a layout of package time.
const Stamp = "20060102_150405"

// StampOf reads the local time in a folder's name: STAMP, STAMP_2 or
// MODE_STAMP; false if there is none.
func StampOf(name string) (time.Time, bool) {
	for i := 0; i+len(Stamp) <= len(name); i++ {
		if t, err := time.ParseInLocation(Stamp, name[i:i+len(Stamp)], time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// FileName makes a label, such as an experiment's name, fit for a folder's
// name; different labels have different names.
func FileName(label string) string {
	label = strings.TrimPrefix(label, "mode=")
	var b strings.Builder
	for i, c := range []byte(label) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '=', c == '.' && i > 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte(',')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Lock is the path of the lock, in the store at root, that an apply takes of
// the experiment whose runs are in folder: apart from the store's own locks,
// for an experiment may have any name.
func Lock(root, folder string) string {
	return filepath.Join(root, "locks", "names", folder+".lock")
}

// Of lists the runs in the folder of one experiment: the folders in base that
// have a journal, oldest first. What cannot be read has none.
func Of(base string) []string {
	journals, _ := filepath.Glob(filepath.Join(EscapeGlob(base), "*", history.FileName))
	var dirs []string
	for _, j := range journals {
		if dir := filepath.Dir(j); !strings.HasPrefix(filepath.Base(dir), ".") { // half-made, or half gone
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// maxDepth is how deep below a results folder runs are looked for: two levels
// are vbp's own, two more those of people who sort runs into folders.
const maxDepth = 4

// Below lists the folders below results that have a journal, in order of path,
// wherever people have moved them to. It fails if it cannot look everywhere:
// whoever deletes what no run refers to must know all of them.
func Below(results string) ([]string, error) {
	var found []string
	err := findBelow(results, maxDepth, &found)
	slices.Sort(found)
	return found, err
}

func findBelow(dir string, depth int, found *[]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		return fmt.Errorf("cannot look for runs: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Name() == StoreDir || strings.HasPrefix(e.Name(), PrunedPrefix) || strings.HasPrefix(e.Name(), ImportPrefix) || !IsFolder(path, e) {
			continue
		}
		switch _, err := os.Stat(filepath.Join(path, history.FileName)); {
		case err == nil:
			*found = append(*found, path)
		case depth > 1:
			if err := findBelow(path, depth-1, found); err != nil {
				return err
			}
		}
	}
	return nil
}
