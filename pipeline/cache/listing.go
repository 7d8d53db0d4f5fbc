package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// shards is how many parts a store has: as many as a key's first two digits.
const shards = 256

func shardName(i int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[i>>4], digits[i&15]})
}

// shardOf is the number of the shard whose name text begins with: two hex
// digits.
func shardOf[T ~string | ~[]byte](text T) int { return digit(text[0])<<4 | digit(text[1]) }

func digit(c byte) int {
	if c >= 'a' {
		return int(c-'a') + 10
	}
	return int(c - '0')
}

// Listing is what a store held when it was listed.
type Listing struct {
	shards [shards][]Artefact // in order of key and attempt
	n      int
}

// List lists all artefacts: it lists every shard and reads its index, on all
// cores. Only of what an index does not know the manifest is read.
func (s *Store) List() (*Listing, error) { return s.list(nil) }

// ListSeen is List for who wants of the notes, which are most of what a listing
// takes, only what see makes of them: it is called once by each of the
// goroutines that list, and what it returns for each artefact, whose Note is
// dropped then. See Artefact.Seen and ReadNote.
func (s *Store) ListSeen(see func() func(a *Artefact) any) (*Listing, error) { return s.list(see) }

func (s *Store) list(see func() func(a *Artefact) any) (*Listing, error) {
	l := &Listing{}
	err := s.eachShard("objects", func() func(int) error {
		r := newShardReader(s)
		var look func(a *Artefact) any
		if see != nil {
			look = see()
		}
		return func(i int) (err error) {
			l.shards[i], err = r.read(shardName(i))
			for j := range l.shards[i] {
				if a := &l.shards[i][j]; look != nil && a.Damage == nil {
					a.Seen, a.Note, a.dropped = look(a), nil, true
				}
			}
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range l.shards {
		l.n += len(l.shards[i])
	}
	return l, nil
}

// eachShard calls a function of each worker for every shard that is there
// below sub, on all cores.
func (s *Store) eachShard(sub string, worker func() func(i int) error) error {
	var present []int
	err := readDir(filepath.Join(s.root, sub), make([]byte, 16<<10), func(name []byte, _ uint64, folder bool) {
		if folder && len(name) == 2 && isHex(name) {
			present = append(present, shardOf(name))
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot look into the store: %w", err)
	}
	workers := min(runtime.GOMAXPROCS(0), len(present))
	errs := make([]error, workers)
	var next atomic.Int32
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			do := worker()
			for i := int(next.Add(1)) - 1; i < len(present) && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = do(present[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Find returns the artefacts under key, oldest attempt first. One whose
// manifest cannot be read is among them, with Damage set.
func (l *Listing) Find(k Key) []*Artefact {
	if len(k) != keyLen || !isHex(k[:2]) {
		return nil
	}
	shard := l.shards[shardOf(k)]
	from, _ := sort.Find(len(shard), func(i int) int { return strings.Compare(string(k), string(shard[i].Key)) })
	to := from
	for to < len(shard) && shard[to].Key == k {
		to++
	}
	if from == to {
		return nil
	}
	found := make([]*Artefact, 0, to-from)
	for i := from; i < to; i++ {
		found = append(found, &shard[i])
	}
	return found
}

// Len is how many artefacts there are.
func (l *Listing) Len() int { return l.n }

// All goes through all artefacts in order of key and attempt.
func (l *Listing) All() iter.Seq[*Artefact] {
	return func(yield func(*Artefact) bool) {
		for _, shard := range &l.shards {
			for i := range shard {
				if !yield(&shard[i]) {
					return
				}
			}
		}
	}
}

// Find looks for the artefacts under key as they are now, reading their
// manifests: oldest attempt first. One whose manifest cannot be read is among
// them, with Damage set.
func (s *Store) Find(k Key) ([]*Artefact, error) {
	if !k.valid() {
		return nil, fmt.Errorf("cannot look into the store: %q is not a key", k)
	}
	return newShardReader(s).find(k)
}

// read returns one artefact; errors are ErrGone, ErrDamaged or of the disk.
func (s *Store) read(key Key, attempt string) (*Artefact, error) {
	dir := s.artefactDir(key, attempt)
	m, err := lookInto(dir, key, attempt)
	if err != nil {
		return nil, err
	}
	a := &Artefact{Head: m.head(), Dir: dir}
	a.manifest.Store(m)
	return a, nil
}

func (s *Store) artefactDir(k Key, attempt string) string {
	return filepath.Join(s.root, "objects", string(k[:2]), string(k)+"@"+attempt)
}
