package cache

import (
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

// step is called between any two steps of publishing and locking: tests kill
// the process there, or do what another might.
var step = func(name string) {}

// Publish makes the draft an artefact under m.Key. Files and Digest of m are
// filled in. Without m.Attempt the content stands for the key: if the key is
// there already, whole, that artefact is returned and the draft discarded, and
// one that is damaged is replaced. With m.Attempt nothing is ever replaced: if
// the name is taken, the artefact gets the next free one.
func (d *Draft) Publish(m Manifest) (*Artefact, error) {
	if len(m.Key) < 2 {
		return nil, fmt.Errorf("cannot publish under the key %q", m.Key)
	}
	if m.Attempt == "" {
		m.Attempt = onlyAttempt
	}
	files, folders, err := listFiles(d.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read back what was made: %w", err)
	}
	m.Files, m.Digest = files, digest(files)
	step("listed")
	for _, f := range files {
		path := filepath.Join(d.Dir, filepath.FromSlash(f.Name))
		if err := syncPath(path); err != nil {
			return nil, err
		}
		// Run folders link to these files; a slip of an editor there must not
		// change what was measured.
		if err := os.Chmod(path, 0o444); err != nil {
			return nil, err
		}
	}
	step("files synced")
	for _, dir := range folders[1:] {
		if err := syncPath(dir); err != nil {
			return nil, err
		}
	}
	var a *Artefact
	if m.Attempt == onlyAttempt {
		a, err = d.placeOnly(m)
	} else {
		a, err = d.placeNext(m)
	}
	if err != nil {
		return nil, err
	}
	step("renamed")
	if err := syncPath(filepath.Dir(a.Dir)); err != nil {
		return nil, err
	}
	step("published")
	// The result is kept. A slot that cannot be written costs only the reason
	// that a later plan gives, which then compares with an older result.
	_ = d.store.setSlot(a.Manifest)
	step("slot set")
	return a, nil
}

// placeNext puts the draft under the first free name of m.Attempt, .2, .3 ...
func (d *Draft) placeNext(m Manifest) (*Artefact, error) {
	base := m.Attempt
	for n := 2; ; n++ {
		target, err := d.place(m)
		if err == nil {
			return &Artefact{Manifest: m, Dir: target}, nil
		}
		if !occupied(err) {
			return nil, err
		}
		m.Attempt = base + "." + strconv.Itoa(n)
	}
}

// placeOnly puts the draft where only one can be.
func (d *Draft) placeOnly(m Manifest) (*Artefact, error) {
	target, err := d.place(m)
	if err == nil {
		return &Artefact{Manifest: m, Dir: target}, nil
	}
	if !occupied(err) {
		return nil, err
	}
	// One at a time decides whether what lies there is whole: else a process
	// could take away what another has just put in the place of a damaged one.
	l, err := waitLock(filepath.Join(d.store.root, "locks", "replace.lock"), "replace a damaged result")
	if err != nil {
		return nil, err
	}
	defer l.Release()
	for {
		old, err := d.store.read(m.Key, m.Attempt)
		if err == nil && old.Verify() == nil {
			return old, d.Discard()
		}
		if err := d.store.Remove(&Artefact{Dir: target}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot replace a damaged result: %w", err)
		}
		step("damaged removed")
		target, err := d.place(m)
		if err == nil {
			return &Artefact{Manifest: m, Dir: target}, nil
		}
		if !occupied(err) {
			return nil, err
		}
	}
}

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
	step("manifest written")
	if err := syncPath(d.Dir); err != nil {
		return "", err
	}
	target = filepath.Join(d.store.keyDir(m.Key), m.Attempt)
	for {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return "", fmt.Errorf("cannot publish: %w", err)
		}
		step("key folder made")
		err := os.Rename(d.Dir, target)
		if err == nil {
			return target, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			if _, here := os.Stat(d.Dir); here == nil {
				continue // another process removed the empty folder of the key
			}
		}
		return target, fmt.Errorf("cannot publish: %w", err)
	}
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
func WriteFile(path string, data []byte) error { return writeFile(path, data, true) }

// writeFile leaves out the sync for what may be lost in a power cut.
func writeFile(path string, data []byte, durable bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("cannot write %s: %w", path, err)
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
