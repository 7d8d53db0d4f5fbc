package cache

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// childHold takes a lock, says so, and holds it until its input ends.
func childHold(args []string) error {
	l, h, err := TryLock(args[0], "a test")
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("held by %s", h)
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return l.Release()
}

func TestLockOfAnotherProcess(t *testing.T) {
	for _, end := range []string{"released", "killed"} {
		t.Run(end, func(t *testing.T) {
			path := filepath.Join(tempDir(t), "a.lock")
			c := startChild(t, "hold", path)
			if got := c.line(t); got != "held" {
				t.Fatal(got)
			}
			l, h, err := TryLock(path, "me")
			if err != nil || l != nil {
				t.Fatalf("lock held by a child: got %v, %v", l, err)
			}
			if h.PID != c.Process.Pid || h.What != "a test" || !strings.Contains(h.String(), fmt.Sprint(h.PID)) {
				t.Errorf("holder %+v, want process %d", h, c.Process.Pid)
			}
			if end == "killed" {
				_ = c.Process.Kill()
			} else {
				_ = c.in.Close()
			}
			_ = c.Wait()
			l, h, err = TryLock(path, "me")
			if err != nil || l == nil {
				t.Fatalf("lock of a process that ended: %v, held by %s", err, h)
			}
			if err := l.Release(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Between our opening and locking of the file its holder deletes it: a lock
// on a file that nobody else finds would let two in.
func TestLockIsOnTheFileAtItsPath(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.lock")
	opened := 0
	step = func(name string) {
		if opened++; name == "lock opened" && opened == 1 {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(func() { step = func(string) {} })
	first, _, err := TryLock(path, "first")
	if err != nil || first == nil {
		t.Fatal(err)
	}
	if second, _, err := TryLock(path, "second"); err != nil || second != nil {
		t.Errorf("two holders of one path: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockErrors(t *testing.T) {
	_, _, err := TryLock(filepath.Join(t.TempDir(), "no", "such", "folder.lock"), "")
	if err == nil || !strings.Contains(err.Error(), "cannot open the lock") {
		t.Errorf("got %v", err)
	}
	if got := (Holder{}).String(); got != "another process" {
		t.Errorf("unknown holder is called %q", got)
	}
}
