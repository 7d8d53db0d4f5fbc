package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Draft is an artefact being made. Whoever asks for one publishes or discards
// it.
type Draft struct {
	Dir   string
	store *Store
}

// onlyAttempt names the attempt of what can be made only one way.
const onlyAttempt = "0"

// Step is called between any two steps of publishing, locking and pruning, by
// several goroutines at a time: tests kill the process there, or do what
// another might.
var Step = func(name string) {}

// Publish makes the draft an artefact under m.Key. Files and Digest of m are
// filled in. Without m.Attempt the content stands for the key: if the key is
// there already, whole, that artefact is returned and the draft discarded, and
// one that is damaged is replaced. With m.Attempt nothing is ever replaced: if
// the name is taken, the artefact gets the next free one. The key is held from
// then on.
func (d *Draft) Publish(m Manifest) (*Artefact, error) { return d.publish(m, false) }

// PublishOver is Publish for what was made again on purpose: without
// m.Attempt, what is there under the key is replaced though it is whole,
// unless it has the same content.
func (d *Draft) PublishOver(m Manifest) (*Artefact, error) { return d.publish(m, true) }

func (d *Draft) publish(m Manifest, over bool) (*Artefact, error) {
	if !m.Key.valid() {
		return nil, fmt.Errorf("cannot publish under the key %q", m.Key)
	}
	if m.Attempt == "" {
		m.Attempt = onlyAttempt
	}
	if !validAttempt(m.Attempt) {
		return nil, fmt.Errorf("cannot publish the attempt %q", m.Attempt)
	}
	if len(m.Note) > 0 {
		// As it will stand in the manifest: what is listed is the same, read
		// there or in the index.
		note, err := json.Marshal(m.Note)
		if err != nil {
			return nil, fmt.Errorf("cannot publish the note: %w", err)
		}
		m.Note = note
	}
	if err := d.sync(&m); err != nil {
		return nil, err
	}
	// Else it could be pruned while its maker still needs it.
	if err := d.store.Hold(m.Key); err != nil {
		return nil, err
	}
	info, err := os.Stat(d.Dir)
	if err != nil {
		return nil, failure("cannot publish", err)
	}
	Step("held")
	a, placed, err := d.placeAny(m, over)
	if err != nil {
		return nil, err
	}
	Step("renamed")
	shard := filepath.Dir(a.Dir)
	if placed {
		_ = addToIndex(shard, appendRecord(nil, &a.Head, inodeOf(info))) // else its manifest is read
	}
	Step("indexed")
	if err := syncPath(shard); err != nil {
		return nil, failure("cannot publish", err)
	}
	Step("published")
	// The result is kept. A slot that cannot be written costs only the reason
	// that a later plan gives, which then compares with an older result.
	_ = d.store.Use(m.Slot, a)
	Step("slot set")
	return a, nil
}

// sync lists the draft's files in m, syncs them and makes them read-only.
func (d *Draft) sync(m *Manifest) error {
	files, folders, err := listFiles(d.Dir)
	if err != nil {
		return fmt.Errorf("cannot read back what was made: %w", err)
	}
	m.Files, m.Digest = files, digest(files)
	Step("listed")
	for _, f := range files {
		path := filepath.Join(d.Dir, filepath.FromSlash(f.Name))
		err := syncPath(path)
		if err == nil {
			// Run folders link to these files; a slip of an editor there must
			// not change what was measured.
			err = os.Chmod(path, 0o444)
		}
		if err != nil {
			return failure("cannot keep "+f.Name, err)
		}
	}
	Step("files synced")
	for _, dir := range folders[1:] {
		if err := syncPath(dir); err != nil {
			return failure("cannot publish", err)
		}
	}
	return nil
}

// placeAny puts the draft where it belongs, or returns what is there already:
// then placed is false.
func (d *Draft) placeAny(m Manifest, over bool) (a *Artefact, placed bool, err error) {
	target, err := d.place(m)
	base := m.Attempt
	for n := 2; m.Attempt != onlyAttempt && occupied(err); n++ {
		m.Attempt = base + "." + strconv.Itoa(n)
		target, err = d.place(m)
	}
	if occupied(err) {
		return d.replace(m, target, over)
	}
	if err != nil {
		return nil, false, err
	}
	return &Artefact{Head: m.head(), Dir: target}, true, nil
}

// replace puts the draft in the place of what is damaged, or of what is over.
func (d *Draft) replace(m Manifest, target string, over bool) (a *Artefact, placed bool, err error) {
	// One at a time decides whether what lies there is whole: else a process
	// could take away what another has just put in the place of a damaged one.
	l, err := enter(filepath.Join(d.store.root, "locks", "replace.lock"), "replace a result")
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, l.Release()) }()
	for {
		old, err := d.store.read(m.Key, m.Attempt)
		if err == nil && old.Verify() == nil && (!over || old.Digest == m.Digest) {
			_ = d.Discard() // else Close does it
			return old, false, nil
		}
		// No record of what lies there outlives it.
		if err := os.Remove(filepath.Join(filepath.Dir(target), indexName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, failure("cannot replace a result", err)
		}
		Step("index removed")
		if swap(d.Dir, target) == nil {
			Step("swapped")
			_ = d.Discard() // of the old one; else Close does it
			return &Artefact{Head: m.head(), Dir: target}, true, nil
		}
		if err := d.store.Remove(&Artefact{Dir: target}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, failure("cannot replace a result", err)
		}
		Step("old removed")
		target, err := d.place(m)
		if err == nil {
			return &Artefact{Head: m.head(), Dir: target}, true, nil
		}
		if !occupied(err) {
			return nil, false, err
		}
	}
}

// swap is exchange, which a test replaces by that of systems without one.
var swap = exchange

// place writes the manifest and renames the draft to where m says, if nothing
// is there.
func (d *Draft) place(m Manifest) (target string, err error) {
	data, err := m.encode()
	if err != nil {
		return "", err
	}
	if err := WriteFile(filepath.Join(d.Dir, manifestName), data); err != nil {
		return "", err
	}
	Step("manifest written")
	if err := syncPath(d.Dir); err != nil {
		return "", failure("cannot publish", err)
	}
	target = d.store.artefactDir(m.Key, m.Attempt)
	for {
		if err := makeShard(filepath.Dir(target)); err != nil {
			return "", failure("cannot publish", err)
		}
		Step("shard made")
		err := os.Rename(d.Dir, target)
		if err == nil {
			return target, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			if _, here := os.Stat(d.Dir); here == nil {
				continue // another process removed the empty shard
			}
		}
		return target, failure("cannot publish", err)
	}
}

func makeShard(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncPath(filepath.Dir(dir))
}

// occupied reports whether a rename failed because its target is there.
func occupied(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}

// Discard deletes the draft.
func (d *Draft) Discard() error { return os.RemoveAll(d.Dir) }

// NewAttempt names an attempt begun at t so that names sort in order of time.
func NewAttempt(t time.Time) string {
	return t.UTC().Format("20060102T150405.000000000")
}

// WriteFile publishes one file by write, sync, rename.
func WriteFile(path string, data []byte) error {
	return writeFile(filepath.Dir(path), path, data, true)
}

// writeFile makes the file in tmp first. It leaves out the sync for what may
// be lost in a power cut.
func writeFile(tmp, path string, data []byte, durable bool) error {
	f, err := os.CreateTemp(tmp, "."+filepath.Base(path)+"-")
	if err != nil {
		return failure("cannot write "+path, err)
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	Step("file written")
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return failure("cannot write "+path, err)
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
