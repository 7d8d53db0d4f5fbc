package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Store is a local folder of artefacts. Several processes may use one.
type Store struct {
	root   string
	writes bool // opened for more than looking

	mu    sync.Mutex
	owner *Lock // of our drafts and holds; nil until the first
	tmp   string
	held  map[Key]bool
}

// Open returns the store in dir, making it if it is not there, and removes
// what processes left that no longer live: drafts, locks of keys, and what
// they were deleting.
func Open(dir string) (*Store, error) {
	for _, sub := range []string{"objects", "slots", "tmp", trashDir, filepath.Join("locks", "keys"), filepath.Join("locks", "names")} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, failure("cannot make the store", err)
		}
	}
	s := &Store{root: dir, writes: true}
	s.sweep()
	return s, nil
}

// At returns the store in dir for looking only: it makes nothing, and a store
// that is not there is empty.
func At(dir string) *Store { return &Store{root: dir} }

// Close removes what is left of this process's drafts and gives back what it
// holds.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == nil {
		return nil
	}
	err := errors.Join(os.RemoveAll(s.tmp), os.RemoveAll(s.tmp+".keys"))
	if err == nil { // else a later start finds the rest by the lock's file
		err = os.Remove(s.tmp + ".lock")
	}
	err = errors.Join(err, s.owner.Release())
	s.owner, s.held = nil, nil
	return err
}

// Root is the folder of the store.
func (s *Store) Root() string { return s.root }

// sweep removes drafts whose owner's lock is free, free locks of keys, and all
// that is in the trash. Errors are left for the next start: what is left over costs space and
// nothing else.
func (s *Store) sweep() {
	locks, _ := filepath.Glob(filepath.Join(escapeGlob(s.root), "tmp", "*.lock"))
	for _, path := range locks {
		l, _, err := TryLock(path, "sweep")
		if err != nil || l == nil {
			continue
		}
		owner := strings.TrimSuffix(path, ".lock")
		_ = os.RemoveAll(owner)
		_ = os.Remove(owner + ".keys")
		_ = os.Remove(path)
		_ = l.Release()
	}
	left, _ := os.ReadDir(filepath.Join(s.root, trashDir))
	for _, e := range left { // perhaps at the same time as another process
		_ = os.RemoveAll(filepath.Join(s.root, trashDir, e.Name()))
	}
	locks, _ = filepath.Glob(filepath.Join(escapeGlob(s.root), "locks", "keys", "*.lock"))
	for _, path := range locks {
		if l, _, err := TryLock(path, "sweep"); err == nil && l != nil {
			l.remove = true
			_ = l.Release()
		}
	}
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

// trashDir holds what is being deleted. Moving something there needs no room
// on a disk that is full.
const trashDir = "trash"

// Remove deletes an artefact, first making it invisible.
func (s *Store) Remove(a *Artefact) error {
	gone, err := s.trash(a.Dir)
	if err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// trash moves a folder of artefacts out of sight.
func (s *Store) trash(dir string) (gone string, err error) {
	gone = filepath.Join(s.root, trashDir, filepath.Base(dir))
	for {
		err := os.Rename(dir, gone)
		if !occupied(err) {
			return gone, err
		}
		if err := os.RemoveAll(gone); err != nil { // an earlier one of that name
			return "", err
		}
	}
}

// Draft returns an empty folder to be filled and published.
func (s *Store) Draft() (*Draft, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.own(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.tmp, "draft-")
	if err != nil {
		return nil, failure("cannot begin a result", err)
	}
	return &Draft{Dir: dir, store: s}, nil
}

// own makes this store's folder in tmp, if it is not there yet. The lock comes
// first: there is never a folder that no sweep finds.
func (s *Store) own() error {
	for s.owner == nil {
		tmp := filepath.Join(s.root, "tmp", fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:10]))
		l, _, err := TryLock(tmp+".lock", "drafts")
		if err != nil {
			return failure("cannot begin a result", err)
		}
		if l == nil {
			continue // a sweep was faster; again, with another name
		}
		Step("owner locked")
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return errors.Join(failure("cannot begin a result", err), l.Release())
		}
		s.owner, s.tmp = l, tmp
	}
	return nil
}

// replaceFile puts data at path in one step. It is not synced: this is for
// what may be lost in a power cut. What a kill leaves lies among the drafts.
func (s *Store) replaceFile(path string, data []byte) error {
	s.mu.Lock()
	err := s.own()
	tmp := s.tmp
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return writeFile(tmp, path, data, false)
}
