package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// aside is a folder in which files are made ready beside the place where they
// are to appear together.
type aside struct {
	out   string
	tmp   string
	made  bool // out was made for this
	paths []string
	files int
}

func newAside(out string) (*aside, error) {
	_, err := os.Stat(out)
	w := &aside{out: out, made: errors.Is(err, fs.ErrNotExist)}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the folder for the export: %w; --out names another", err)
	}
	if w.tmp, err = os.MkdirTemp(out, ".vbp-export-"); err != nil {
		return nil, fmt.Errorf("cannot write into the folder for the export: %w; --out names another", err)
	}
	return w, nil
}

// write makes the file that is to be at path below out.
func (w *aside) write(path string, put func(path string) error) error {
	top := path
	if dir := filepath.Dir(path); dir != "." {
		top = dir
	}
	if !slices.Contains(w.paths, top) {
		if _, err := os.Lstat(filepath.Join(w.out, top)); err == nil {
			return &fs.PathError{Op: "export", Path: filepath.Join(w.out, top), Err: fs.ErrExist}
		}
		w.paths = append(w.paths, top)
	}
	at := filepath.Join(w.tmp, path)
	if _, err := os.Lstat(at); err == nil {
		return fmt.Errorf("two points would be the file %s: they have the same series, rate, repeat and time", path)
	}
	w.files++
	return put(at)
}

// publish lets all appear, and none if one cannot.
func (w *aside) publish() (made []string, err error) {
	defer func() {
		if err != nil {
			for _, path := range made {
				err = errors.Join(err, os.RemoveAll(path))
				_ = os.Remove(filepath.Dir(path)) // which fails if there is more in it
			}
			made = nil
		}
	}()
	for _, path := range w.paths {
		to := filepath.Join(w.out, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return made, err
		}
		if err := moveNew(filepath.Join(w.tmp, path), to); err != nil {
			return made, err
		}
		made = append(made, to)
	}
	return made, nil
}

// moveNew moves a file or a folder to a place where nothing is: making the
// place claims it, and a rename over an empty folder or a file is one step.
func moveNew(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Mkdir(to, 0o755)
	} else {
		var f *os.File
		if f, err = os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return err
	}
	return replaceEmpty(from, to)
}

// replaceEmpty moves a file or folder over an empty one, in one step; os.Rename
// refuses folders that are there.
func replaceEmpty(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return errors.Join(&os.LinkError{Op: "rename", Old: from, New: to, Err: err}, os.Remove(to))
	}
	return nil
}

// drop removes what did not appear.
func (w *aside) drop() {
	_ = os.RemoveAll(w.tmp)
	if w.made {
		_ = os.Remove(w.out) // which fails if something appeared in it
	}
}
