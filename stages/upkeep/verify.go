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

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// StoreCheck is what a look at every stored result has shown.
type StoreCheck struct {
	Store   string   `json:"store"`
	Results int      `json:"results"` // that were read
	Bytes   int64    `json:"bytes"`   // of those that are what was written
	Damaged []Damage `json:"damaged"`
	// Unread are runs whose journals cannot be read: whether they show what is
	// damaged is not known.
	Unread []string `json:"unread"`
}

// Damage is a stored result that is not what was written, or something that
// lies among them and is none.
type Damage struct {
	Path  string   `json:"path"`
	Key   string   `json:"key,omitempty"`
	What  string   `json:"what"`            // what is wrong, and with which file
	Slot  string   `json:"slot,omitempty"`  // "NAME: NODE", where it can still be told
	Nodes []string `json:"nodes,omitempty"` // of the runs, that it is the result of
	Runs  []string `json:"runs"`            // that refer to it
	// Unreadable: a disk or a permission hides what is there; it may be whole.
	Unreadable bool `json:"unreadable,omitempty"`
}

// VerifyStore reads every result that a results folder stores, and compares
// checksums. each is told after every one how many of about how many are read;
// it may be nil. Nothing is written.
func VerifyStore(ctx context.Context, results string, each func(read, all int)) (*StoreCheck, error) {
	store, err := storeIn(results)
	if err != nil {
		return nil, err
	}
	listing, err := store.List()
	if err != nil {
		return nil, err
	}
	c := &StoreCheck{Store: store.Root(), Damaged: []Damage{}, Unread: []string{}}
	damaged := make(map[string]*cache.Artefact)
	err = store.Verify(ctx, func(a *cache.Artefact, err error) {
		if a.Key != "" {
			c.Results++
		}
		if err == nil {
			c.Bytes += a.Bytes
		} else {
			damaged[a.Dir] = a
			c.Damaged = append(c.Damaged, Damage{Path: a.Dir, Key: string(a.Key), What: whatIsWrong(a, err), Slot: a.Slot, Runs: []string{}, Unreadable: a.Key != "" && !cache.Lost(err)})
		}
		if each != nil {
			each(c.Results, max(c.Results, listing.Len()))
		}
	})
	if err != nil || len(c.Damaged) == 0 {
		return c, err
	}
	return c, c.findRuns(results, damaged)
}

// storeIn opens the store of a results folder for looking.
func storeIn(results string) (*cache.Store, error) {
	if _, err := os.Stat(results); err != nil {
		return nil, fmt.Errorf("no results folder: %w; --results names another", err)
	}
	root := filepath.Join(results, runs.StoreDir)
	if _, err := os.Stat(root); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s has no store (%s), so nothing was applied there; --results names another folder", results, runs.StoreDir)
		}
		return nil, err
	}
	return cache.At(root), nil
}

// whatIsWrong is an error of an artefact without what all such errors begin
// with, and without its folder, which is told beside it.
func whatIsWrong(a *cache.Artefact, err error) string {
	text := firstLine(strings.TrimPrefix(err.Error(), cache.ErrDamaged.Error()+": "))
	return strings.TrimPrefix(strings.ReplaceAll(text, a.Dir+string(filepath.Separator), ""), a.Dir+" ")
}

// findRuns says which runs refer to what is damaged.
func (c *StoreCheck) findRuns(results string, damaged map[string]*cache.Artefact) error {
	of := make(map[string]*Damage) // key@attempt -> damage
	for i := range c.Damaged {
		of[filepath.Base(c.Damaged[i].Path)] = &c.Damaged[i]
	}
	dirs, err := runs.Below(results)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		records, _, err := history.Read(filepath.Join(dir, history.FileName))
		if err != nil {
			c.Unread = append(c.Unread, dir)
		}
		for _, r := range records {
			d := of[r.Key+"@"+r.Attempt]
			if d == nil || r.Key == "" {
				continue
			}
			if !slices.Contains(d.Runs, dir) {
				d.Runs = append(d.Runs, dir)
			}
			if !slices.Contains(d.Nodes, r.Node) {
				d.Nodes = append(d.Nodes, r.Node)
			}
		}
	}
	return nil
}

// StoreUse is what a store holds, and what of it runs show.
type StoreUse struct {
	Store   string `json:"store"`
	Results int    `json:"results"`
	Bytes   int64  `json:"bytes"`  // on the disk, of the whole store
	Shared  int64  `json:"shared"` // of Bytes: files that are in folders of runs as well, and take their room once
	Runs    int    `json:"runs"`
	Unused  int    `json:"unused"`       // results that no run refers to
	Idle    int64  `json:"unused_bytes"` // that they take
	// Unread are runs whose journals cannot be read, so that Unused may be too
	// many.
	Unread []string `json:"unread"`
}

// UseOfStore says what the store of a results folder holds, without reading it.
func UseOfStore(ctx context.Context, results string) (*StoreUse, error) {
	store, err := storeIn(results)
	if err != nil {
		return nil, err
	}
	listing, err := store.List()
	if err != nil {
		return nil, err
	}
	dirs, err := runs.Below(results)
	if err != nil {
		return nil, err
	}
	u := &StoreUse{Store: store.Root(), Results: listing.Len(), Runs: len(dirs), Unread: []string{}}
	inRuns, used := make(map[inode]bool), make(map[*cache.Artefact]bool)
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := readStoredRun(results, dir, listing.Find)
		if r.broken != nil {
			u.Unread = append(u.Unread, dir)
		}
		for _, a := range r.shown {
			used[a] = true
		}
		p, err := measure(dir)
		if err != nil {
			return nil, err
		}
		for _, l := range p.shared {
			inRuns[l.file] = true
		}
	}
	p, err := measure(followed(store.Root()))
	if err != nil {
		return nil, err
	}
	u.Bytes = p.total()
	for file, bytes := range p.files() {
		if inRuns[file] {
			u.Shared += bytes
		}
	}
	idle := newDeletions()
	for a := range listing.All() {
		if used[a] {
			continue
		}
		p, err := measure(a.Dir)
		if err != nil {
			return nil, err
		}
		u.Unused++
		u.Idle += idle.take(p)
	}
	return u, nil
}
