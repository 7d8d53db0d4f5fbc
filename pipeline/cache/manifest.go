// Package cache keeps artefacts: folders of files under a key, published
// atomically and checked when read. It knows keys, files and checksums; it
// does not know what made them.
//
// Layout below the root of a Store:
//
//	objects/ab/<key>@<attempt>/manifest.json   the artefact's files beside it
//	objects/ab/index                           what a plan asks of each of them (may be deleted)
//	slots/ab/<hash of slot>                    what a slot held last (for reasons)
//	tmp/<owner>/                               drafts of one process
//	tmp/<owner>.keys                           keys that it uses
//	tmp/<owner>.lock                           locked while that process lives
//	trash/                                     what is being deleted
//	locks/<name>.lock                          kernel locks
//	locks/names/<name>.lock                    of whoever uses the store, under names of their own
//	locks/keys/<key>.lock                      there while a process makes the key
//
// A draft is filled, its files are synced, checksummed and made read-only, the
// manifest is written, and the folder is renamed to its place: whoever sees an
// artefact sees a whole one, whenever the process was killed.
package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// Key names the value that an artefact was made from: 64 hex digits.
type Key string

// keyLen is how many hex digits a key has.
const keyLen = 2 * sha256.Size

// valid reports whether k can name an artefact.
func (k Key) valid() bool { return len(k) == keyLen && isHex(k) }

func isHex[T ~string | ~[]byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Manifest describes an artefact. It is written last and read first.
type Manifest struct {
	Key     Key             `json:"key"`
	Attempt string          `json:"attempt"` // sorts in order of time; "0" where only one can exist
	Slot    string          `json:"slot"`    // what this is a version of, in words
	Input   json.RawMessage `json:"input"`   // the value behind the key, for comparison
	Note    json.RawMessage `json:"note,omitempty"`
	Created time.Time       `json:"created"`
	Seconds float64         `json:"seconds"` // how long the work took
	Files   []File          `json:"files"`   // in order of name
	Digest  string          `json:"digest"`  // hash over names and contents of Files
}

// File is one file of an artefact.
type File struct {
	Name   string `json:"name"` // slash-separated, relative
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const manifestName = "manifest.json"

// head is what a listing tells of the artefact.
func (m *Manifest) head() Head {
	h := Head{
		Key: m.Key, Attempt: m.Attempt, Slot: m.Slot, Digest: m.Digest,
		Created: m.Created.UTC(), Seconds: m.Seconds, Note: m.Note,
	}
	for _, f := range m.Files {
		h.Bytes += f.Size
	}
	return h
}

// A manifest ends with a checksum of all its bytes before sumField, as the
// last field: what was observed of a measurement must not change unnoticed
// either, and hashing bytes is cheaper than encoding them again.
const (
	sumField = `,"sum":"`
	sumEnd   = "\"}\n"
)

func (m *Manifest) encode() ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	data = data[:len(data)-1] // the closing brace
	return append(append(append(data, sumField...), hexSum(data)...), sumEnd...), nil
}

func readManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	body := len(data) - len(sumField) - hex.EncodedLen(sha256.Size) - len(sumEnd)
	if body < 0 || !bytes.Equal(data[body:], []byte(sumField+hexSum(data[:body])+sumEnd)) {
		return nil, fmt.Errorf("%w: %s is not what was written", ErrDamaged, path)
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	}
	return m, nil
}

// listFiles describes every regular file below dir, in order of name, and
// lists dir and the folders below it.
func listFiles(dir string) (files []File, folders []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			folders = append(folders, path)
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a folder; only those can be kept", rel)
		}
		if rel == manifestName {
			return fmt.Errorf("%s is the store's own name; call the file something else", rel)
		}
		sum, size, err := hashFile(path)
		if err != nil {
			return err
		}
		files = append(files, File{Name: filepath.ToSlash(rel), Size: size, SHA256: sum})
		return nil
	})
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	return files, folders, err
}

// digest is one hash over names and contents.
func digest(files []File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d %s\n", f.Name, f.Size, f.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}
