package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// Store is a local folder of artefacts. Several processes may use one.
type Store struct {
	root string

	mu    sync.Mutex
	owner *Lock // of our drafts; nil until the first
	tmp   string
}

// Open returns the store in dir, making it if it is not there, and removes
// the drafts of processes that no longer live.
func Open(dir string) (*Store, error) {
	for _, sub := range []string{"objects", "slots", "tmp", "locks"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the store: %w", err)
		}
	}
	s := &Store{root: dir}
	s.sweep()
	return s, nil
}

// At returns the store in dir for looking only: it makes nothing, and a store
// that is not there is empty.
func At(dir string) *Store { return &Store{root: dir} }

// Close removes what is left of this process's drafts.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == nil {
		return nil
	}
	err := errors.Join(os.RemoveAll(s.tmp), os.Remove(s.tmp+".lock"), s.owner.Release())
	s.owner = nil
	return err
}

// Root is the folder of the store.
func (s *Store) Root() string { return s.root }

// sweep removes drafts whose owner's lock is free. Errors are left for the
// next start: a draft left over costs space and nothing else.
func (s *Store) sweep() {
	locks, _ := filepath.Glob(filepath.Join(s.root, "tmp", "*.lock"))
	for _, path := range locks {
		l, _, err := TryLock(path, "sweep")
		if err != nil || l == nil {
			continue
		}
		_ = os.RemoveAll(strings.TrimSuffix(path, ".lock"))
		_ = os.Remove(path)
		_ = l.Release()
	}
}

// Find returns the artefacts under key, oldest attempt first. One whose
// manifest cannot be read is among them, with Damage set.
func (s *Store) Find(key Key) ([]*Artefact, error) {
	dir := s.keyDir(key)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look into the store: %w", err)
	}
	var found []*Artefact
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		a, err := s.read(key, e.Name())
		switch {
		case err == nil:
			found = append(found, a)
		case !errors.Is(err, ErrGone): // gone: removed since the listing
			found = append(found, &Artefact{
				Manifest: Manifest{Key: key, Attempt: e.Name()},
				Dir:      filepath.Join(dir, e.Name()), Damage: err,
			})
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Attempt < found[j].Attempt })
	return found, nil
}

// read returns one artefact; errors are ErrGone, ErrDamaged or of the disk.
func (s *Store) read(key Key, attempt string) (*Artefact, error) {
	dir := filepath.Join(s.keyDir(key), attempt)
	a, err := readManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, manifestName)
	case err != nil:
		return nil, err
	case a.Key != key || a.Attempt != attempt:
		return nil, fmt.Errorf("%w: %s belongs to another result", ErrDamaged, filepath.Join(dir, manifestName))
	}
	return a, nil
}

// Keys lists every key that has at least one artefact, with one directory
// listing a shard.
func (s *Store) Keys() (map[Key]bool, error) {
	keys := make(map[Key]bool)
	err := s.shards("objects", func(name string) { keys[Key(name)] = true })
	return keys, err
}

// Slots lists the slots that hold something, as SlotName gives their names.
func (s *Store) Slots() (map[string]bool, error) {
	slots := make(map[string]bool)
	err := s.shards("slots", func(name string) { slots[name] = true })
	return slots, err
}

func (s *Store) shards(sub string, each func(name string)) error {
	shards, err := os.ReadDir(filepath.Join(s.root, sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look into the store: %w", err)
	}
	for _, shard := range shards {
		if !shard.IsDir() {
			continue // not ours; file managers leave such things
		}
		entries, err := os.ReadDir(filepath.Join(s.root, sub, shard.Name()))
		if err != nil {
			return fmt.Errorf("cannot look into the store: %w", err)
		}
		for _, e := range entries {
			each(e.Name())
		}
	}
	return nil
}

// SlotName is the name under which Slots lists a slot.
func SlotName(slot string) string { return hexSum([]byte(slot)) }

// Last returns the artefact that was published last in a slot; nil if none
// was, ErrGone if it has been removed since, ErrDamaged if it cannot be read.
func (s *Store) Last(slot string) (*Artefact, error) {
	data, err := os.ReadFile(s.slotFile(slot))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look into the store: %w", err)
	}
	key, attempt, ok := strings.Cut(strings.TrimSpace(string(data)), " ")
	if !ok || len(key) < 2 {
		return nil, nil // torn by a power cut; it only serves reasons
	}
	return s.read(Key(key), attempt)
}

func (s *Store) setSlot(m Manifest) error {
	if m.Slot == "" {
		return nil
	}
	path := s.slotFile(m.Slot)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeFile(path, []byte(string(m.Key)+" "+m.Attempt+"\n"), false)
}

// Use notes that a slot holds an artefact that was published in another, so
// that Last returns it.
func (s *Store) Use(slot string, a *Artefact) error {
	return s.setSlot(Manifest{Slot: slot, Key: a.Key, Attempt: a.Attempt})
}

// Remove deletes an artefact, first making it invisible.
func (s *Store) Remove(a *Artefact) error {
	d, err := s.Draft()
	if err != nil {
		return err
	}
	if err := os.Rename(a.Dir, filepath.Join(d.Dir, "gone")); err != nil {
		return errors.Join(err, d.Discard())
	}
	_ = os.Remove(filepath.Dir(a.Dir)) // only if no attempt is left
	return d.Discard()
}

// Draft returns an empty folder to be filled and published.
func (s *Store) Draft() (*Draft, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.owner == nil {
		// The lock comes first: there is never a folder that no sweep finds.
		tmp := filepath.Join(s.root, "tmp", fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:10]))
		l, _, err := TryLock(tmp+".lock", "drafts")
		if err != nil {
			return nil, fmt.Errorf("cannot begin a result: %w", err)
		}
		if l == nil {
			continue // a sweep was faster; again, with another name
		}
		step("owner locked")
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot begin a result: %w", err), l.Release())
		}
		s.owner, s.tmp = l, tmp
	}
	dir, err := os.MkdirTemp(s.tmp, "draft-")
	if err != nil {
		return nil, fmt.Errorf("cannot begin a result: %w", err)
	}
	return &Draft{Dir: dir, store: s}, nil
}

func (s *Store) keyDir(k Key) string {
	return filepath.Join(s.root, "objects", string(k[:2]), string(k))
}

func (s *Store) slotFile(slot string) string {
	name := SlotName(slot)
	return filepath.Join(s.root, "slots", name[:2], name)
}
