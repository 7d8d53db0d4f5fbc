package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// pruneLock orders what is pruned and what is held: whoever prunes has it
// alone, whoever holds shares it.
const pruneLock = "prune.lock"

// pruneBatch is how many artefacts are taken away before others get a turn: a
// few milliseconds.
const pruneBatch = 256

// Prune removes artefacts, and what Verify tells that is none, but for those
// under a key that a living process holds; then what nothing leads to any
// more: slots, what indexes say, folders that hold nothing. removed is what is
// gone, also after an error.
func (s *Store) Prune(ctx context.Context, victims []*Artefact) (removed, held []*Artefact, err error) {
	used := &holds{keys: make(map[Key]bool), read: make(map[string]int64)}
	for len(victims) > 0 {
		if err := interrupted(ctx); err != nil {
			return removed, held, err
		}
		batch := victims[:min(pruneBatch, len(victims))]
		victims = victims[len(batch):]
		gone, kept, err := s.pruneBatch(batch, used)
		removed, held = append(removed, gone...), append(held, kept...)
		if err != nil {
			return removed, held, err
		}
	}
	return removed, held, s.tidy(ctx)
}

// pruneBatch makes victims invisible while nobody can begin to hold them, and
// deletes them afterwards.
func (s *Store) pruneBatch(victims []*Artefact, used *holds) (removed, held []*Artefact, err error) {
	removed, held, gone, err := s.takeAway(victims, used)
	for _, dir := range gone {
		err = errors.Join(err, os.RemoveAll(dir))
		Step("victim deleted")
	}
	return removed, held, err
}

func (s *Store) takeAway(victims []*Artefact, used *holds) (removed, held []*Artefact, gone []string, err error) {
	l, err := s.alone()
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, l.Release()) }()
	if err := used.update(s.root); err != nil {
		return nil, nil, nil, fmt.Errorf("cannot tell which results are in use: %w", err)
	}
	Step("holds read")
	for _, a := range victims {
		if used.keys[a.Key] {
			held = append(held, a)
			continue
		}
		dir, err := s.trash(a.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was faster
		}
		if err != nil {
			return removed, held, gone, failure("cannot remove a result", err)
		}
		Step("victim taken")
		removed, gone = append(removed, a), append(gone, dir)
	}
	return removed, held, gone, nil
}

// tidy removes what nothing leads to.
func (s *Store) tidy(ctx context.Context) error {
	return errors.Join(
		s.eachShard("objects", func() func(int) error {
			r := newShardReader(s)
			r.all = true
			return func(i int) error {
				_, err := r.read(shardName(i))
				return errors.Join(err, interrupted(ctx))
			}
		}),
		s.eachShard("slots", func() func(int) error {
			return func(i int) error {
				return errors.Join(s.tidySlots(filepath.Join(s.root, "slots", shardName(i))), interrupted(ctx))
			}
		}),
	)
}

func interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pruning was interrupted: %w", err)
	}
	return nil
}

// tidySlots removes slots that point to nothing.
func (s *Store) tidySlots(shard string) (err error) {
	l, err := s.alone()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Release()) }()
	entries, err := os.ReadDir(shard)
	if err != nil {
		return nil // not ours, or another prune was faster
	}
	for _, e := range entries {
		path := filepath.Join(shard, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if k, attempt, ok := parseSlot(data); ok {
			if _, err := os.Stat(s.artefactDir(k, attempt)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure("cannot tidy the store", err)
		}
		Step("slot removed")
	}
	_ = os.Remove(shard) // unless something is left
	return nil
}
