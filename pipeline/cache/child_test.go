package cache

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// The test binary is its own child process: VBP_CACHE_CHILD names a role,
// VBP_CACHE_ARGS its arguments.
func TestMain(m *testing.M) {
	role, ok := os.LookupEnv("VBP_CACHE_CHILD")
	if !ok {
		os.Exit(m.Run())
	}
	args := strings.Split(os.Getenv("VBP_CACHE_ARGS"), "|")
	if err := childRoles[role](args); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var childRoles = map[string]func(args []string) error{
	"lock":    childLock,
	"share":   childShare,
	"step":    childStep,
	"race":    childRace,
	"append":  childAppend,
	"hold":    childHold,
	"keeper":  childKeeper,
	"turns":   childTurns,
	"limited": childLimited,
}

type child struct {
	*exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// startChild starts a process that ends when the test does.
func startChild(t testing.TB, role string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "VBP_CACHE_CHILD="+role, "VBP_CACHE_ARGS="+strings.Join(args, "|"),
		"GORACE=atexit_sleep_ms=0") // else each child ends a second late under the race detector
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &child{cmd, in, bufio.NewReader(out)}
}

func (c *child) line(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	return strings.TrimSpace(line)
}

// tempDir is a folder in memory where the machine has one: these tests are
// about kills of processes, which a slow disk makes only slower.
func tempDir(t testing.TB) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "vbp-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fill(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// publish makes one artefact.
func publish(s *Store, m Manifest, files map[string]string) (*Artefact, error) {
	d, err := s.Draft()
	if err != nil {
		return nil, err
	}
	if err := fill(d.Dir, files); err != nil {
		return nil, err
	}
	return d.Publish(m)
}

func mustPublish(t testing.TB, s *Store, m Manifest, files map[string]string) *Artefact {
	t.Helper()
	a, err := publish(s, m, files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inShard is a key of the shard "ab".
func inShard(name string) Key { return "ab" + key(name)[2:] }

// heads is what a listing tells of every artefact, by its folder's name.
func heads(t testing.TB, s *Store) map[string]Head {
	t.Helper()
	l, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Head)
	for a := range l.All() {
		if a.Damage != nil {
			t.Errorf("%s: %v", a.Dir, a.Damage)
		}
		out[filepath.Base(a.Dir)] = a.Head
	}
	if len(out) != l.Len() {
		t.Errorf("%d artefacts, Len says %d", len(out), l.Len())
	}
	return out
}

// written is the same by the manifests alone: what a listing must tell,
// whatever became of the indexes.
func written(t testing.TB, s *Store) map[string]Head {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.Root(), "objects", "*", "*", manifestName))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Head)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m Manifest
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		h := Head{Key: m.Key, Attempt: m.Attempt, Slot: m.Slot, Digest: m.Digest, Created: m.Created.UTC(), Seconds: m.Seconds, Note: m.Note}
		for _, f := range m.Files {
			h.Bytes += f.Size
		}
		out[filepath.Base(filepath.Dir(path))] = h
	}
	return out
}

// sound is that a store lists what is written, all of it whole, and that
// nothing else lies around.
func sound(t testing.TB, s *Store) {
	t.Helper()
	if got, want := heads(t, s), written(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("listed %v\nwritten %v", got, want)
	}
	err := s.Verify(t.Context(), func(a *Artefact, err error) {
		if err != nil {
			t.Errorf("%s: %v", a.Dir, err)
		}
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Error(err)
	}
	for _, sub := range []string{"tmp", trashDir, filepath.Join("locks", "keys")} {
		if left := entries(t, s.Root(), sub); len(left) > 0 {
			t.Errorf("left in %s: %v", sub, left)
		}
	}
}

// entries lists a folder of the store.
func entries(t testing.TB, root, sub string) []string {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(root, sub))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(found))
	for i, e := range found {
		names[i] = e.Name()
	}
	return names
}

// key is 64 hex digits that begin with a name.
func key(name string) Key { return Key(hexSum([]byte(name))) }

func kill() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }
