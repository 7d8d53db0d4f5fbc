package cache

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// shardReader reads shards one after the other, in memory that it keeps.
type shardReader struct {
	s   *Store
	all bool // drop every dead record of an index, and a shard without artefacts

	dirents []byte
	names   []byte // of the folders, one behind the other
	entries []entry
	index   []byte
	name    []byte
}

// entry is one listed folder that has an artefact's name.
type entry struct {
	from, to     int // of its name, in names
	inode        uint64
	recFrom, rec int // the bytes of its record in the index; equal, if it has none
}

func (e *entry) noted() bool { return e.rec > e.recFrom }

func newShardReader(s *Store) *shardReader {
	return &shardReader{s: s, dirents: make([]byte, 64<<10)}
}

// read returns the artefacts of a shard ("ab"), in order of key and attempt;
// of what is not in its index the manifests are read. In a store that was
// opened for writing these are noted, and an index that holds more dead
// records than living ones, or anything else, is written anew.
func (r *shardReader) read(shard string) ([]Artefact, error) {
	dir := filepath.Join(r.s.root, "objects", shard)
	if err := r.list(dir, shard); err != nil {
		return nil, err
	}
	live, dead, broken := 0, 0, false
	if len(r.entries) > 0 || r.all {
		r.index = readIndex(dir, r.index)
		live, dead, broken = r.match()
	}
	found, fresh, err := r.artefacts(dir)
	if err != nil || !r.s.writes {
		return found, err
	}
	// None of this is worth an error: what is not noted is read again.
	switch {
	case r.all && len(r.entries) == 0:
		if os.Remove(filepath.Join(dir, indexName)) == nil {
			Step("index removed")
		}
		_ = os.Remove(dir) // unless something has come
	case broken || dead > live || r.all && dead > 0:
		_ = r.rewrite(dir, fresh)
		Step("index rewritten")
	default:
		_ = addToIndex(dir, fresh)
	}
	return found, nil
}

// list fills entries with the folders of a shard that have an artefact's name.
func (r *shardReader) list(dir, shard string) error {
	r.names, r.entries = r.names[:0], r.entries[:0]
	err := readDir(dir, r.dirents, func(name []byte, inode uint64, folder bool) {
		if folder && isArtefact(name, shard) {
			from := len(r.names)
			r.names = append(r.names, name...)
			r.entries = append(r.entries, entry{from: from, to: len(r.names), inode: inode})
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot look into the store: %w", err)
	}
	slices.SortFunc(r.entries, func(a, b entry) int {
		return bytes.Compare(r.names[a.from:a.to], r.names[b.from:b.to])
	})
	// A folder may be seen twice if it is swapped meanwhile.
	r.entries = slices.CompactFunc(r.entries, func(a, b entry) bool {
		return bytes.Equal(r.names[a.from:a.to], r.names[b.from:b.to])
	})
	return nil
}

// match finds the last record of every entry.
func (r *shardReader) match() (live, dead int, broken bool) {
	records := 0
	broken = scanIndex(r.index, func(from, to int, rec record) {
		records++
		r.name = append(append(hex.AppendEncode(r.name[:0], rec.key()), '@'), rec.attempt...)
		i, ok := slices.BinarySearchFunc(r.entries, r.name, func(e entry, name []byte) int {
			return bytes.Compare(r.names[e.from:e.to], name)
		})
		if !ok || r.entries[i].inode != rec.inode() {
			return
		}
		if !r.entries[i].noted() {
			live++
		}
		r.entries[i].recFrom, r.entries[i].rec = from, to
	})
	return live, records - live, broken
}

// record is what the index tells of e.
func (r *shardReader) record(e *entry) (record, bool) {
	if !e.noted() {
		return record{}, false
	}
	return splitBody(r.index[e.recFrom+recordHead : e.rec]) // checked before
}

// artefacts makes the artefacts of all entries. Texts and notes of those that
// the index knows share two pieces of memory; fresh holds the records of the
// others.
func (r *shardReader) artefacts(dir string) (found []Artefact, fresh []byte, err error) {
	texts, notes := 0, 0
	for i := range r.entries {
		e := &r.entries[i]
		texts += len(dir) + 1 + e.to - e.from
		if rec, ok := r.record(e); ok {
			texts += len(rec.slot) + len(rec.digest)
			notes += len(rec.note)
		}
	}
	var text strings.Builder
	text.Grow(texts)
	take := func(from int) string { return text.String()[from:] }
	note := make([]byte, 0, notes)
	found = make([]Artefact, 0, len(r.entries))
	for i := range r.entries {
		e := &r.entries[i]
		from := text.Len()
		text.WriteString(dir)
		text.WriteByte(filepath.Separator)
		text.Write(r.names[e.from:e.to])
		path := take(from)
		name := path[len(dir)+1:]
		key, attempt := Key(name[:keyLen]), name[keyLen+1:]
		rec, ok := r.record(e)
		if !ok {
			m, err := lookInto(path, key, attempt)
			if errors.Is(err, ErrGone) {
				continue // removed since the listing
			}
			found = append(found, Artefact{Head: Head{Key: key, Attempt: attempt}, Dir: path, Damage: err})
			if err == nil {
				a := &found[len(found)-1]
				a.Head = m.head()
				if r.s.writes {
					fresh = appendRecord(fresh, &a.Head, e.inode)
				}
			}
			continue
		}
		found = append(found, Artefact{Head: Head{Key: key, Attempt: attempt}, Dir: path})
		a := &found[len(found)-1]
		rec.fill(&a.Head)
		from = text.Len()
		text.Write(rec.slot)
		a.Slot = take(from)
		from = text.Len()
		text.Write(rec.digest)
		a.Digest = take(from)
		if n := len(note); len(rec.note) > 0 {
			note = append(note, rec.note...)
			a.Note = note[n:len(note):len(note)]
		}
	}
	return found, fresh, nil
}

// rewrite puts the records of what is listed, and fresh ones, in the place of
// an index. What another process appends meanwhile is lost, and so read.
func (r *shardReader) rewrite(dir string, fresh []byte) error {
	var data []byte
	for i := range r.entries {
		data = append(data, r.index[r.entries[i].recFrom:r.entries[i].rec]...)
	}
	data = append(data, fresh...)
	return r.s.replaceFile(filepath.Join(dir, indexName), data)
}

// isArtefact reports whether name is an artefact's that belongs into a shard.
func isArtefact[T ~string | ~[]byte](name T, shard string) bool {
	return len(name) > keyLen+1 && name[keyLen] == '@' && string(name[:2]) == shard &&
		isHex(name[:keyLen]) && validAttempt(name[keyLen+1:])
}

// validAttempt reports whether a can be part of a file's name and of a slot's
// line.
func validAttempt[T ~string | ~[]byte](a T) bool {
	for i := range len(a) {
		if c := a[i]; c <= ' ' || c == '/' || c == '@' {
			return false
		}
	}
	return len(a) > 0
}

// inodeOf is the number by which a folder is another than one that had its
// name before.
func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}

// find lists the artefacts under one key, reading their manifests.
func (r *shardReader) find(k Key) ([]*Artefact, error) {
	var attempts []string
	err := readDir(filepath.Join(r.s.root, "objects", string(k[:2])), r.dirents, func(name []byte, _ uint64, folder bool) {
		if folder && bytes.HasPrefix(name, []byte(k)) && isArtefact(name, string(k[:2])) {
			attempts = append(attempts, string(name[keyLen+1:]))
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot look into the store: %w", err)
	}
	slices.SortFunc(attempts, cmp.Compare[string])
	var found []*Artefact
	for _, attempt := range attempts {
		a, err := r.s.read(k, attempt)
		switch {
		case err == nil:
			found = append(found, a)
		case !errors.Is(err, ErrGone): // gone: removed since the listing
			found = append(found, &Artefact{Head: Head{Key: k, Attempt: attempt}, Dir: r.s.artefactDir(k, attempt), Damage: err})
		}
	}
	return found, nil
}
