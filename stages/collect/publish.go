package collect

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// publish writes a file so that path holds the whole new content or what it
// held before, whenever the process or the machine dies: write beside it,
// sync, rename, sync the folder. Missing folders are made.
func publish(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("collect: making the folder of %s: %w", path, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close() // a second close does nothing
			os.Remove(f.Name())
			err = fmt.Errorf("collect: writing %s: %w", path, err)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	// CreateTemp makes files for their owner only; results are to be shared.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
