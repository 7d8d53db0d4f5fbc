package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Head is what a listing tells of an artefact without a look at its files.
type Head struct {
	Key     Key
	Attempt string
	Slot    string
	Digest  string
	Created time.Time // in UTC
	Seconds float64
	Note    json.RawMessage // not to be changed: artefacts share memory
	Bytes   int64           // of its files together
}

// Artefact is a published folder.
type Artefact struct {
	Head
	Dir string

	// Damage says that the manifest cannot be read; of Head, only Key and
	// Attempt are known then.
	Damage error

	// Seen is what the function made of the artefact that ListSeen was given.
	Seen any

	dropped  bool // Note was, by ListSeen
	manifest atomic.Pointer[Manifest]
}

// ErrDamaged is the root of every error about an artefact that is not what
// its manifest says.
var ErrDamaged = errors.New("its stored result is damaged")

// Lost reports whether an error says that what was stored is no longer there as
// it was, so that it must be made again. Another error says that it could not be
// read, by a disk or a permission: nobody knows then what is there.
func Lost(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrGone) }

func cannotRead(err error) error {
	if errors.Is(err, fs.ErrNotExist) { // since it was listed
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return failure("a stored result cannot be read", err)
}

// ErrGone says that an artefact is no longer in the store.
var ErrGone = errors.New("its stored result is gone")

// Manifest is the whole description, read from the disk and checked, and kept
// after the first time. Errors are ErrGone, ErrDamaged or of the disk.
func (a *Artefact) Manifest() (*Manifest, error) {
	m, err := a.look()
	if err == nil {
		a.manifest.Store(m)
	}
	return m, err
}

// ReadNote is Note, read again from the disk if it was dropped.
func (a *Artefact) ReadNote() (json.RawMessage, error) {
	if !a.dropped {
		return a.Note, nil
	}
	m, err := a.look()
	if err != nil {
		return nil, err
	}
	return m.Note, nil
}

// look is Manifest without keeping it: a plan looks at 100,000 artefacts.
func (a *Artefact) look() (*Manifest, error) {
	if a.Damage != nil {
		return nil, a.Damage
	}
	if m := a.manifest.Load(); m != nil {
		return m, nil
	}
	m, err := lookInto(a.Dir, a.Key, a.Attempt)
	if err != nil {
		return nil, err
	}
	if m.Digest != a.Digest {
		return nil, fmt.Errorf("%w: another process put a new one in its place", ErrGone)
	}
	return m, nil
}

// lookInto reads the manifest in dir, which must be that of key and attempt.
func lookInto(dir string, key Key, attempt string) (*Manifest, error) {
	m, err := readManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, manifestName)
	case err != nil && !Lost(err):
		return nil, cannotRead(err)
	case err != nil:
		return nil, err
	case m.Key != key || m.Attempt != attempt:
		return nil, fmt.Errorf("%w: %s belongs to another result", ErrDamaged, filepath.Join(dir, manifestName))
	}
	return m, nil
}

// CheckSizes compares the files' sizes with the manifest: enough to notice
// what a crash or a full disk truncated, at the cost of a stat per file.
func (a *Artefact) CheckSizes() error {
	m, err := a.look()
	if err != nil {
		return err
	}
	return m.checkSizes(a.Dir)
}

func (m *Manifest) checkSizes(dir string) error {
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %s is missing", ErrDamaged, f.Name)
		case err != nil:
			return cannotRead(err)
		case info.Size() != f.Size:
			return fmt.Errorf("%w: %s has %d bytes, not %d", ErrDamaged, f.Name, info.Size(), f.Size)
		}
	}
	return nil
}

// Verify reads every file and compares its checksum.
func (a *Artefact) Verify() error {
	m, err := a.look()
	if err != nil {
		return err
	}
	if err := m.checkSizes(a.Dir); err != nil {
		return err
	}
	for _, f := range m.Files {
		sum, _, err := hashFile(filepath.Join(a.Dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return cannotRead(err)
		}
		if sum != f.SHA256 {
			return fmt.Errorf("%w: %s has another checksum than when it was written", ErrDamaged, f.Name)
		}
	}
	return nil
}
