package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LockKey lets one process, or part of one, make what a key names at a time,
// and waits for its turn. waiting is told once for whom. The lock ends with
// the process; its file goes when it is released.
func (s *Store) LockKey(ctx context.Context, k Key, what string, waiting func(Holder)) (*Lock, error) {
	if !k.valid() {
		return nil, fmt.Errorf("%s: %q is not a key", what, k)
	}
	l, err := WaitLock(ctx, filepath.Join(s.root, "locks", "keys", string(k)+".lock"), what, waiting)
	if l != nil {
		l.remove = true
	}
	return l, err
}

// Hold keeps the artefacts under keys, those to come too, from being pruned
// until the store is closed or the process ends. It does not say that there
// are any: what was pruned before Hold returned is gone.
func (s *Store) Hold(keys ...Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines strings.Builder
	lines.WriteByte('\n') // behind what a full disk may have torn
	for _, k := range keys {
		if !k.valid() {
			return fmt.Errorf("cannot hold %q: it is not a key", k)
		}
		if !s.held[k] {
			lines.WriteString(string(k) + "\n")
		}
	}
	if lines.Len() == 1 {
		return nil
	}
	if err := s.own(); err != nil {
		return err
	}
	prune, err := s.beside()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.tmp+".keys", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(lines.String())
		err = errors.Join(err, f.Close())
	}
	Step("keys noted")
	if err = errors.Join(err, prune.Release()); err != nil {
		return failure("cannot note which results are in use", err)
	}
	if s.held == nil {
		s.held = make(map[Key]bool, len(keys))
	}
	for _, k := range keys {
		s.held[k] = true
	}
	return nil
}

// holds is what living processes hold, read as far as it was written.
type holds struct {
	keys map[Key]bool
	read map[string]int64 // file -> bytes of it
}

// update reads what was added. What a process held that has ended since is
// still in keys.
func (h *holds) update(root string) error {
	lists, err := filepath.Glob(filepath.Join(escapeGlob(root), "tmp", "*.keys"))
	if err != nil {
		return err
	}
	for _, path := range lists {
		lives, err := locked(strings.TrimSuffix(path, ".keys") + ".lock")
		if err != nil {
			return err
		}
		if !lives {
			continue
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given back
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.NewSectionReader(f, h.read[path], 1<<40))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		h.read[path] += int64(len(data))
		for line := range strings.Lines(string(data)) {
			if k := Key(strings.TrimSuffix(line, "\n")); k.valid() {
				h.keys[k] = true
			}
		}
	}
	return nil
}
