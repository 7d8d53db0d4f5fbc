package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Verify reads all artefacts, on all cores, and calls each with every one, in
// order, and with what is wrong with it or nil. What lies in objects and is no
// artefact comes last, as one that has only a Dir. The error is one of the
// whole: the store cannot be listed, or ctx has ended.
func (s *Store) Verify(ctx context.Context, each func(a *Artefact, err error)) error {
	l, err := s.List()
	if err != nil {
		return err
	}
	type checked struct {
		a   *Artefact
		err error
	}
	workers := runtime.GOMAXPROCS(0)
	for batch := range slices.Chunk(slices.Collect(l.All()), 16*workers) {
		out := make([]checked, len(batch))
		var next atomic.Int32
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(batch) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
					out[i].a, out[i].err = s.verify(batch[i])
				}
			})
		}
		wg.Wait()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the check was interrupted: %w", err)
		}
		for _, c := range out {
			if c.a != nil {
				each(c.a, c.err)
			}
		}
	}
	strangers, err := s.strangers()
	for _, dir := range strangers {
		err := fmt.Errorf("%s is no result of this store; nothing uses it", dir)
		each(&Artefact{Dir: dir, Damage: err}, err)
	}
	return err
}

// verify checks one artefact as it is now; nil, if it has been removed since
// it was listed.
func (s *Store) verify(a *Artefact) (*Artefact, error) {
	err := a.Verify()
	if !errors.Is(err, ErrGone) {
		return a, err
	}
	now, err := s.read(a.Key, a.Attempt) // perhaps another in its place
	switch {
	case errors.Is(err, ErrGone):
		return nil, nil
	case err != nil:
		return a, err
	}
	return now, now.Verify()
}

// strangers lists what lies in objects and does not belong there.
func (s *Store) strangers() ([]string, error) {
	var found []string
	objects := filepath.Join(s.root, "objects")
	entries, err := os.ReadDir(objects)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot look into the store: %w", err)
	}
	for _, shard := range entries {
		dir := filepath.Join(objects, shard.Name())
		if !shard.IsDir() || len(shard.Name()) != 2 || !isHex(shard.Name()) {
			found = append(found, dir)
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot look into the store: %w", err)
		}
		for _, e := range entries {
			if e.Name() != indexName && (!e.IsDir() || !isArtefact(e.Name(), shard.Name())) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	return found, nil
}
