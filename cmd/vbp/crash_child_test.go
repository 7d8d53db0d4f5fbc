package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// Variables by which a test tells a vbp apply what is to become of it. The
// servers that it starts have them too, and take no notice of the first two.
const (
	crashStep  = "VBP_CRASH_STEP"  // it dies at the step of this number, of the store's and the journal's
	crashNote  = "VBP_CRASH_NOTE"  // the file into which it writes which step that was
	crashLimit = "VBP_CRASH_LIMIT" // no file may be longer than so many bytes
)

func init() {
	if filepath.Base(os.Args[0]) != "vbp" || len(os.Args) < 2 || os.Args[1] != "apply" {
		return
	}
	if limit, err := strconv.ParseUint(os.Getenv(crashLimit), 10, 64); err == nil {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}
	left, err := strconv.Atoi(os.Getenv(crashStep))
	if err != nil {
		return
	}
	var mu sync.Mutex // whoever comes after the last step gets no further
	step := func(name string) {
		mu.Lock()
		if left--; left == 0 {
			_ = os.WriteFile(os.Getenv(crashNote), []byte(name), 0o644)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		mu.Unlock()
	}
	cache.Step = func(name string) { step("store: " + name) }
	history.Step = func(name string) { step("journal: " + name) }
}

// crashSite is a folder in which a spec is applied by a vbp of its own, so
// that the processes of one test are told from those of others, and with locks
// of its own, so that it waits for nobody.
type crashSite struct {
	dir     string
	program string
	env     []string
}

// crashFolder is a folder in memory where the machine has one: a kill is no
// different there, and a slow disk makes a test only slower.
func crashFolder(t *testing.T) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "vbp-test-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// newCrashSite writes a spec into dir.
func newCrashSite(t *testing.T, dir, spec string) *crashSite {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here to see processes in")
	}
	s := &crashSite{dir: dir, program: vbpProgram(t)}
	locks := filepath.Join(filepath.Dir(s.program), "tmp") // not on a disk that a test fills
	s.env = append(os.Environ(), "TMPDIR="+locks, crashNote+"="+s.note(),
		"GORACE=atexit_sleep_ms=0") // else each command ends a second late under the race detector
	err := errors.Join(os.Mkdir(locks, 0o755), os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(spec), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.gone(t) })
	return s
}

// copied is another site with the same results.
func (s *crashSite) copied(t *testing.T) *crashSite {
	t.Helper()
	spec, err := os.ReadFile(filepath.Join(s.dir, "spec.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCrashSite(t, crashFolder(t), string(spec))
	// With the links among its files, which os.CopyFS does not keep.
	if out, err := exec.Command("cp", "-a", s.in(), c.in()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

func (s *crashSite) note() string { return filepath.Join(filepath.Dir(s.program), "note") }

// step is where the last apply that was told to die did.
func (s *crashSite) step(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.note())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// in is a place of the results folder.
func (s *crashSite) in(parts ...string) string {
	return filepath.Join(append([]string{s.dir, "results"}, parts...)...)
}

func (s *crashSite) store() *cache.Store { return cache.At(s.in(".store")) }

// command is vbp, called in the site's folder.
func (s *crashSite) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), s.program, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// vbp runs a command to its end; code is -1 if it was killed.
func (s *crashSite) vbp(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runTold(t, s.command(t, args...))
}

// told runs an apply that is told something by a variable.
func (s *crashSite) told(t *testing.T, variable string, value int, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := s.command(t, append([]string{"apply"}, args...)...)
	cmd.Env = append(cmd.Env, variable+"="+strconv.Itoa(value))
	return runTold(t, cmd)
}

func runTold(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 30 * time.Second // for a server that lives on and holds them
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// gone waits until no process of the site lives: no server and no guardian.
func (s *crashSite) gone(t *testing.T) {
	t.Helper()
	until(t, "no process of "+s.dir+" lives", func() bool { return len(processes(s.program)) == 0 })
}

// points lists the attempts at load points that the store holds, by their
// nodes.
func (s *crashSite) points(t *testing.T) map[string][]*cache.Artefact {
	t.Helper()
	l, err := s.store().List()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]*cache.Artefact)
	for a := range l.All() {
		_, node, ok := strings.Cut(a.Slot, ": ")
		if ok && strings.HasPrefix(node, "load ") {
			out[node] = append(out[node], a)
		}
	}
	return out
}

// journals are the records of all runs, by their folders.
func (s *crashSite) journals(t *testing.T) map[string][]history.Record {
	t.Helper()
	files, err := filepath.Glob(s.in("*", "*", history.FileName))
	if err != nil {
		t.Fatal(err)
	}
	runs := make(map[string][]history.Record)
	for _, file := range files {
		records, _, err := history.Read(file)
		if err != nil {
			t.Error(err)
		}
		runs[filepath.Dir(file)] = records
	}
	return runs
}

// sound is that every result is what was written, and that nothing is left of
// what was not finished.
func (s *crashSite) sound(t *testing.T) {
	t.Helper()
	stdout, stderr, code := s.vbp(t, "cache", "verify")
	if code != exitDone || !strings.Contains(stdout, "every one is what was written") {
		t.Errorf("cache verify: exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, sub := range []string{"tmp", "trash", filepath.Join("locks", "keys"), "servers"} {
		entries, err := os.ReadDir(s.in(".store", sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			if e.Name() != "reap.lock" {
				t.Errorf("left in %s: %s", sub, e.Name())
			}
		}
	}
}
