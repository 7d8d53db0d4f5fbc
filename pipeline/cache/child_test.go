package cache

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	"hold":    childHold,
	"publish": childPublish,
	"race":    childRace,
}

type child struct {
	*exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// startChild starts a process that ends when the test does.
func startChild(t *testing.T, role string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "VBP_CACHE_CHILD="+role, "VBP_CACHE_ARGS="+strings.Join(args, "|"))
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

func (c *child) line(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	return strings.TrimSpace(line)
}

// tempDir is a folder in memory where the machine has one: these tests are
// about kills of processes, which a slow disk makes only slower.
func tempDir(t *testing.T) string {
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

func open(t *testing.T, dir string) *Store {
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

func mustPublish(t *testing.T, s *Store, m Manifest, files map[string]string) *Artefact {
	t.Helper()
	a, err := publish(s, m, files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// key is 64 hex digits that begin with a name.
func key(name string) Key { return Key(hexSum([]byte(name))) }

func kill() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }
