package cache

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// LinkTo makes the artefact's files appear below dir: as hard links where
// the file system can, else as copies. A file that is there already is
// replaced in one step.
func (a *Artefact) LinkTo(dir string) error {
	m, err := a.look()
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		name := filepath.FromSlash(f.Name)
		target := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return failure("cannot put "+f.Name+" in its place", err)
		}
		if err := LinkFile(filepath.Join(a.Dir, name), target); err != nil {
			return err
		}
	}
	return nil
}

// LinkFile makes the file at from appear at to as well, replacing what is
// there.
func LinkFile(from, to string) error {
	if err := linkFile(from, to); err != nil {
		return failure("cannot put "+filepath.Base(to)+" in its place", err)
	}
	return nil
}

func linkFile(from, to string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(to), ".link-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	next := filepath.Join(tmp, "file")
	if os.Link(from, next) != nil {
		if err := copyFile(from, next); err != nil {
			return err
		}
	}
	return os.Rename(next, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
