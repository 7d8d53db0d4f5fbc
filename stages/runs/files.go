package runs

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a file that was read.
type File struct {
	Path   string `json:"path"` // absolute
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Digest reads a file.
func Digest(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Absolute(path), hex.EncodeToString(h.Sum(nil)), n}, err
}

// Absolute is path as it is from anywhere; path itself if that cannot be told.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// IsFolder reports whether the entry e of a folder, at path, is a folder or a
// link to one: experiments and stores may be on other disks.
func IsFolder(path string, e os.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// EscapeGlob is path as a pattern of filepath.Glob that matches nothing else.
func EscapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
