//go:build unix && !linux

package cache

import (
	"errors"
	"os"
)

// readDir calls each for every entry of a folder, in no order. The name is
// only valid during the call.
func readDir(dir string, _ []byte, each func(name []byte, inode uint64, folder bool)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		each([]byte(e.Name()), inodeOf(info), e.IsDir())
	}
	return nil
}

// exchange swaps two folders in one step, which this system cannot.
func exchange(_, _ string) error { return errors.ErrUnsupported }
