package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// childLock takes a lock, says so, and holds it until its input ends.
func childLock(args []string) error {
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
			c := startChild(t, "lock", path)
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
	Step = func(name string) {
		if opened++; name == "lock opened" && opened == 1 {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(func() { Step = func(string) {} })
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

// childShare shares a lock, says so, and keeps it until its input ends.
func childShare(args []string) error {
	l, h, err := TryShare(args[0], args[1])
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("held by %s", h)
	}
	fmt.Println("shared")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return l.Release()
}

func TestSharedLock(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.lock")
	one, two := startChild(t, "share", path, "one"), startChild(t, "share", path, "two")
	for _, c := range []*child{one, two} {
		if got := c.line(t); got != "shared" {
			t.Fatal(got)
		}
	}
	wants := func(what ...string) {
		t.Helper()
		l, h, err := TryLock(path, "alone")
		if err != nil || l != nil || !slices.Contains(what, h.What) {
			t.Fatalf("shared by %v: got %v, %+v, %v", what, l, h, err)
		}
	}
	wants("one", "two")
	_ = two.Process.Kill()
	_ = two.Wait()
	wants("one") // though the other may have come last
	if err := one.in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = one.Wait()
	l, _, err := TryLock(path, "alone")
	if err != nil || l == nil {
		t.Fatalf("nobody shares it: %v", err)
	}
	if shared, h, err := TryShare(path, "three"); err != nil || shared != nil || h.What != "alone" || h.PID != os.Getpid() {
		t.Errorf("held alone: %v, %+v, %v", shared, h, err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// Names of those that share a lock do not pile up for ever.
func TestNamesOfASharedLock(t *testing.T) {
	path := filepath.Join(tempDir(t), "a.lock")
	what := strings.Repeat("w", 2000)
	for range 100 {
		l, _, err := TryShare(path, what)
		if err != nil || l == nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*longestNames {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if _, h, err := TryLock(path, "alone"); err != nil || h.What != what {
		t.Errorf("%d letters, %v", len(h.What), err)
	}
}

func TestWaitLock(t *testing.T) {
	for _, end := range []string{"released", "killed"} {
		path := filepath.Join(tempDir(t), "a.lock")
		c := startChild(t, "lock", path)
		if got := c.line(t); got != "held" {
			t.Fatal(got)
		}
		told := make(chan Holder, 10)
		done := make(chan error)
		go func() {
			l, err := WaitLock(t.Context(), path, "me", func(h Holder) { told <- h })
			if err == nil {
				err = l.Release()
			}
			done <- err
		}()
		if h := <-told; h.PID != c.Process.Pid || h.What != "a test" {
			t.Errorf("waits for %+v", h)
		}
		if end == "killed" {
			_ = c.Process.Kill()
		} else {
			_ = c.in.Close()
		}
		_ = c.Wait()
		if err := <-done; err != nil || len(told) > 0 {
			t.Errorf("%s: %v; told %d times more", end, err, len(told))
		}
	}
}

// What is held for an instant only is not worth a word; what ended before is
// not begun.
func TestWaitLockBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(tempDir(t), "a.lock")
		held, _, err := TryLock(path, "a sweep")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(firstPause/2, func() { _ = held.Release() })
		l, err := WaitLock(t.Context(), path, "me", func(h Holder) { t.Errorf("told of %+v", h) })
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := WaitLock(ctx, path, "me", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
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
