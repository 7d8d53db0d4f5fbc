package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vbp/pipeline/history"
	"vbp/stages"
)

// unwritable lets nobody write below dir: by its permissions, or, for a user
// whom those do not stop, by a mount.
func unwritable(t *testing.T, dir string) (restore func()) {
	t.Helper()
	chmod := func(mode os.FileMode) error {
		return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(path, mode)
			}
			return err
		})
	}
	if os.Geteuid() != 0 {
		if err := chmod(0o555); err != nil {
			t.Fatal(err)
		}
		restore = func() { _ = chmod(0o755) }
	} else {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			t.Skipf("no folder can be made read-only here: %v", err)
		}
		restore = func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			restore()
			t.Skipf("no folder can be made read-only here: %v", err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// TestReadOnlyResults: what reads works, and what writes says what it cannot
// write and what to do.
func TestReadOnlyResults(t *testing.T) {
	skipIfShort(t)
	s := newCrashSite(t, crashFolder(t), crashSpec)
	stdout, stderr, code := s.vbp(t, "apply", "spec.yaml")
	if code != exitDone {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	run := resultsLine.FindStringSubmatch(stdout)[1]
	restore := unwritable(t, s.in())
	for _, args := range [][]string{
		{"plan", "spec.yaml"}, {"list"}, {"show", run}, {"why", run}, {"cache"}, {"cache", "verify"}, {"graph", "spec.yaml"},
	} {
		if stdout, stderr, code := s.vbp(t, args...); code != exitDone || stdout == "" {
			t.Errorf("vbp %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
		}
	}
	for _, args := range [][]string{
		{"apply", "spec.yaml"},
		{"apply", "spec.yaml", "--set", "sweep.qps=[200, 300]"},
		{"apply", "spec.yaml", "--results", "results/new"},
	} {
		_, stderr, code := s.vbp(t, args...)
		if code != exitNothing || !strings.Contains(stderr, "results/") || strings.Contains(stderr, "deploy") ||
			strings.Count(stderr, "make that folder writable, or choose another one with --results") != 1 {
			t.Errorf("vbp %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
		}
	}
	restore()
	if stdout, stderr, code := s.vbp(t, "apply", "spec.yaml"); code != exitDone || !strings.Contains(stdout, "Nothing to do") {
		t.Errorf("writable again: exit code %d\n%s", code, stderr)
	}
	s.sound(t)
}

// endures is that an apply that could not write all of what it should said so,
// and that what it left is sound.
func (s *crashSite) endures(t *testing.T, stderr string, code int, cause, advice string) {
	t.Helper()
	if code != exitNothing && code != exitPartial || !strings.Contains(stderr, cause) || !strings.Contains(stderr, "results/") {
		t.Errorf("exit code %d, and it should say what could not be written:\n%s", code, stderr)
	}
	if _, after, _ := strings.Cut(stderr, ": failed: "); strings.Contains(after, ": begins") {
		t.Errorf("it measures though nothing can be kept:\n%s", stderr)
	}
	// What a guardian cannot write is told by its words alone.
	if !strings.Contains(stderr, advice) && !strings.Contains(stderr, "write state: ") {
		t.Errorf("it does not say what to do:\n%s", stderr)
	}
	s.gone(t)
	s.sound(t)
	s.readable(t)
}

// readable is that every run can be read, though it did not end, and that no
// file of it is half of one.
func (s *crashSite) readable(t *testing.T) {
	t.Helper()
	journals, err := filepath.Glob(s.in("*", "*", history.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range journals {
		dir := filepath.Dir(j)
		if stdout, stderr, code := s.vbp(t, "show", dir); code != exitDone {
			t.Errorf("show: exit code %d\n%s%s", code, stdout, stderr)
		}
		if _, err := stages.ReadAnalysis(dir); err != nil && !os.IsNotExist(err) {
			t.Errorf("half an analysis: %v", err)
		}
	}
	if _, stderr, code := s.vbp(t, "list"); code != exitDone {
		t.Errorf("list: exit code %d\n%s", code, stderr)
	}
}

// mountSmall mounts a disk of four megabytes for as long as the test runs.
func mountSmall(t *testing.T, dir string) error {
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m")
	if err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	return err
}

// TestFullDisk applies where there is room for so many pages.
func TestFullDisk(t *testing.T) {
	skipIfShort(t)
	if err := mountSmall(t, t.TempDir()); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	page := os.Getpagesize()
	for _, pages := range []int{0, 1, 2, 3, 5, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56} {
		t.Run(fmt.Sprintf("%d pages", pages), func(t *testing.T) {
			t.Parallel()
			s := newCrashSite(t, crashFolder(t), crashSpec)
			if err := errors.Join(os.Mkdir(s.in(), 0o755), mountSmall(t, s.in())); err != nil {
				t.Fatal(err)
			}
			var st unix.Statfs_t
			if err := unix.Statfs(s.in(), &st); err != nil {
				t.Fatal(err)
			}
			filler := s.in("filler")
			if err := os.WriteFile(filler, make([]byte, (int(st.Bfree)-pages)*page), 0o644); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := s.vbp(t, "apply", "spec.yaml")
			if code == exitDone && pages > 20 {
				s.is(t, stdout)
				return
			}
			s.endures(t, stderr, code, "no space left on device", "make room there")
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			s.goesOn(t)
		})
	}
}

// TestLimitedFiles applies where no file may be longer than so many bytes,
// which tears every kind of file somewhere.
func TestLimitedFiles(t *testing.T) {
	skipIfShort(t)
	for _, limit := range []int{0, 100, 300, 600, 1000, 1500, 2500, 4000, 6000, 9000, 14000, 1 << 20} {
		t.Run(fmt.Sprintf("%d bytes", limit), func(t *testing.T) {
			t.Parallel()
			s := newCrashSite(t, crashFolder(t), crashSpec)
			stdout, stderr, code := s.told(t, crashLimit, limit, "spec.yaml")
			if code == exitDone && limit > 20000 {
				s.is(t, stdout)
				return
			}
			s.endures(t, stderr, code, "file too large", "raise the limit (ulimit -f)")
			s.goesOn(t)
		})
	}
}

// TestTornJournal cuts the journal of a killed run in its last line.
func TestTornJournal(t *testing.T) {
	skipIfShort(t)
	s := newCrashSite(t, crashFolder(t), crashSpec)
	if _, stderr, code := s.told(t, crashStep, 90, "spec.yaml"); code >= 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	files, err := filepath.Glob(s.in("*", "*", history.FileName))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
	last := lines[len(lines)-1]
	for _, keep := range []int{0, 1, len(last) / 2, len(last) - 1} {
		torn := strings.Join(lines[:len(lines)-1], "") + last[:keep]
		if err := os.WriteFile(files[0], []byte(torn), 0o644); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := s.vbp(t, "show", filepath.Dir(files[0]))
		if code != exitDone || !strings.Contains(stdout, "qps=200") {
			t.Errorf("show: exit code %d\n%s%s", code, stdout, stderr)
		}
		stdout, stderr, code = s.vbp(t, "list")
		if code != exitDone || !strings.Contains(stdout, "unfinished") {
			t.Errorf("list: exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	if _, stderr, code := s.vbp(t, "apply", "spec.yaml"); code != exitDone || strings.Contains(stderr, "6 sent") {
		t.Errorf("the next apply: exit code %d\n%s", code, stderr)
	}
	s.sound(t)
}
