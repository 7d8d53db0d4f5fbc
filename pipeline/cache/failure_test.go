package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk with room for n pages: all of what a publish writes, or a part of it.
// Whatever fails says what and what to do; nothing half-written is taken for
// whole; pruning works all the same, and so does the store when there is room.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	restore, err := mountSmall(disk)
	if err != nil {
		t.Skipf("no disk of one megabyte can be mounted here: %v", err)
	}
	t.Cleanup(restore)
	page := int64(os.Getpagesize())
	filler, text := filepath.Join(disk, "filler"), strings.Repeat("x", int(3*page))
	for free := range int64(7) {
		s := open(t, filepath.Join(disk, "store"))
		before := mustPublish(t, s, Manifest{Key: key("before"), Slot: "before"}, map[string]string{"f": "x"})
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filler, make([]byte, (int64(st.Bfree)-free)*page), 0o644); err != nil {
			t.Fatal(err)
		}
		m := Manifest{Key: key("k"), Slot: "slot"}
		_, err := publish(s, m, map[string]string{"f": text})
		t.Logf("%d pages free: %v", free, err)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d pages free: %v", free, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "open "+s.tmp) && !strings.HasPrefix(err.Error(), "write "+s.tmp) && // of the work itself
			(!strings.Contains(err.Error(), "cannot ") || strings.Count(err.Error(), "make room there (vbp prune removes old results)") != 1 || !strings.Contains(err.Error(), disk)) {
			t.Errorf("%d pages free: not clear: %v", free, err)
		}
		if got := heads(t, s); err == nil && len(got) != 2 || err != nil && len(got) != 1 {
			t.Errorf("%d pages free: %v, and %d are listed", free, err, len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		sound(t, open(t, s.Root()))
		if free == 0 {
			removed, _, err := s.Prune(t.Context(), []*Artefact{before})
			if err != nil || len(removed) != 1 {
				t.Errorf("a full disk cannot be pruned: %v", err)
			}
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, s, m, map[string]string{"f": text})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		sound(t, s)
		if err := os.RemoveAll(s.Root()); err != nil {
			t.Fatal(err)
		}
	}
}

// childLimited publishes where no file may be longer than so many bytes.
func childLimited(args []string) error {
	limit, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	d, err := s.Draft()
	if err != nil {
		return err
	}
	if err := fill(d.Dir, map[string]string{"f": "made before the limit"}); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	_, err = d.Publish(Manifest{Key: key("k"), Slot: "slot", Note: []byte(`"` + strings.Repeat("n", 700) + `"`)})
	if err == nil {
		fmt.Println("published")
	} else {
		fmt.Println(err)
	}
	return nil
}

// Every file that a publish writes torn at some byte.
func TestLimitOfFileSizes(t *testing.T) {
	for limit := 0; ; limit += 97 {
		dir := tempDir(t)
		c := startChild(t, "limited", dir, fmt.Sprint(limit))
		got := c.line(t)
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		sound(t, s)
		if _, there := heads(t, s)[string(key("k"))+"@0"]; there != (got == "published") {
			t.Errorf("at most %d bytes: %s, and it is there: %v", limit, got, there)
		}
		if got != "published" && (!strings.HasPrefix(got, "cannot ") || strings.Count(got, "raise the limit (ulimit -f)") != 1) {
			t.Errorf("at most %d bytes: not clear: %s", limit, got)
		}
		mustPublish(t, s, Manifest{Key: key("k"), Slot: "slot"}, map[string]string{"f": "x"})
		if t.Failed() || got == "published" && limit > 4000 {
			return
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"))
	a := mustPublish(t, s, Manifest{Key: key("k"), Slot: "slot"}, map[string]string{"f": "x"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	restore, err := makeReadOnly(dir)
	if err != nil {
		t.Skipf("no folder can be made read-only here: %v", err)
	}
	t.Cleanup(restore)
	if _, err := Open(filepath.Join(dir, "new")); err == nil || !strings.Contains(err.Error(), "cannot make the store: ") || !strings.Contains(err.Error(), "choose another one with --results") {
		t.Errorf("a new store: %v", err)
	}
	s = open(t, s.Root())
	for what, do := range map[string]func() error{
		"draft": func() error { _, err := s.Draft(); return err },
		"hold":  func() error { return s.Hold(key("k")) },
		"lock":  func() error { _, err := s.LockKey(t.Context(), key("k"), "measure", nil); return err },
		"prune": func() error { _, _, err := s.Prune(t.Context(), []*Artefact{a}); return err },
		"use":   func() error { return s.Use("slot", a) },
		"file":  func() error { return WriteFile(filepath.Join(dir, "f"), nil) },
	} {
		if err := do(); err == nil || !strings.HasPrefix(err.Error(), "cannot ") || !strings.Contains(err.Error(), dir) ||
			strings.Count(err.Error(), "make that folder writable, or choose another one with --results") != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	sound(t, s)
}

// chmodAll changes the folders below dir.
func chmodAll(dir string, mode os.FileMode) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, mode)
		}
		return err
	})
}

func TestHintIsSaidOnce(t *testing.T) {
	err := failure("cannot b", fmt.Errorf("because %w", failure("cannot a", syscall.ENOSPC)))
	if got := strings.Count(err.Error(), "make room"); got != 1 {
		t.Errorf("said %d times: %v", got, err)
	}
	if got := failure("cannot", errors.New("x")).Error(); got != "cannot: x" {
		t.Error(got)
	}
}
