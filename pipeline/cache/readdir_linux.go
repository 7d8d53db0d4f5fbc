package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// readDir calls each for every entry of a folder, in no order. The name is
// only valid during the call. folder is also true where the file system does
// not tell. It costs neither a stat nor an allocation an entry, where package
// os costs both for the inode.
func readDir(dir string, buf []byte, each func(name []byte, inode uint64, folder bool)) error {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil {
			return &fs.PathError{Op: "read", Path: dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		// struct linux_dirent64: inode (8 bytes), offset (8), length of the
		// entry (2), type (1), name with a zero byte behind it.
		for rest := buf[:n]; len(rest) > 19; {
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			name, _, _ := bytes.Cut(rest[19:size], []byte{0})
			if string(name) != "." && string(name) != ".." {
				each(name, binary.NativeEndian.Uint64(rest), rest[18] == unix.DT_DIR || rest[18] == unix.DT_UNKNOWN)
			}
			rest = rest[size:]
		}
	}
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// exchange swaps two folders in one step.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
