package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// childHold holds a key, says so, and waits for the end of its input.
func childHold(args []string) error {
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	if err := s.Hold(Key(args[1])); err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return s.Close()
}

// What a process holds stays while it lives: until it gives it back, or is
// killed.
func TestPruneBesideAHolder(t *testing.T) {
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			maker := open(t, tempDir(t))
			for _, name := range []string{"a", "b"} {
				mustPublish(t, maker, Manifest{Key: key(name), Slot: name}, map[string]string{"f": name})
			}
			if err := maker.Close(); err != nil { // which gives back what it made
				t.Fatal(err)
			}
			s := open(t, maker.Root())
			prune := func() (removed, held []*Artefact) {
				l, err := s.List()
				if err != nil {
					t.Fatal(err)
				}
				var all []*Artefact
				for a := range l.All() {
					all = append(all, a)
				}
				removed, held, err = s.Prune(t.Context(), all)
				if err != nil {
					t.Fatal(err)
				}
				return removed, held
			}
			c := startChild(t, "hold", s.Root(), string(key("a")))
			if got := c.line(t); got != "held" {
				t.Fatal(got)
			}
			removed, held := prune()
			if len(removed) != 1 || removed[0].Key != key("b") || len(held) != 1 || held[0].Key != key("a") {
				t.Fatalf("removed %v, held %v", removed, held)
			}
			if a, err := s.Last("a"); err != nil || a.Verify() != nil {
				t.Errorf("what is held: %v, %v", a, err)
			}
			if a, err := s.Last("b"); err != nil || a != nil {
				t.Errorf("the slot of what was pruned: %v, %v", a, err)
			}
			if end == "killed" {
				_ = c.Process.Kill()
			} else {
				_ = c.in.Close()
			}
			_ = c.Wait()
			if removed, held = prune(); len(removed) != 1 || len(held) != 0 {
				t.Errorf("after it ended: removed %v, held %v", removed, held)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sound(t, open(t, s.Root())) // sweeps what the killed one left
		})
	}
}

func TestHoldRefusesWhatIsNoKey(t *testing.T) {
	s := open(t, tempDir(t))
	for _, k := range []Key{"", "ab", Key(strings.Repeat("z", 64)), Key(strings.Repeat("A", 64))} {
		if err := s.Hold(k); err == nil || !strings.Contains(err.Error(), "it is not a key") {
			t.Errorf("%q: %v", k, err)
		}
		if _, err := s.LockKey(t.Context(), k, "measure", nil); err == nil {
			t.Errorf("%q was locked", k)
		}
		if _, err := s.Find(k); err == nil {
			t.Errorf("%q was looked for", k)
		}
	}
	if err := s.Hold(); err != nil {
		t.Error(err)
	}
}

// A write that a full disk tore does not hide the keys of the next.
func TestHoldBehindATornLine(t *testing.T) {
	s := open(t, tempDir(t))
	if err := s.Hold(key("a")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.tmp+".keys", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\n" + string(key("b"))[:20]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	used := &holds{keys: make(map[Key]bool), read: make(map[string]int64)}
	if err := used.update(s.root); err != nil { // reads the torn line on its own
		t.Fatal(err)
	}
	if err := s.Hold(key("c")); err != nil {
		t.Fatal(err)
	}
	if err := used.update(s.root); err != nil {
		t.Fatal(err)
	}
	afresh := &holds{keys: make(map[Key]bool), read: make(map[string]int64)}
	if err := afresh.update(s.root); err != nil {
		t.Fatal(err)
	}
	for _, used := range []*holds{used, afresh} {
		if !used.keys[key("a")] || !used.keys[key("c")] || len(used.keys) != 2 {
			t.Errorf("held: %v", used.keys)
		}
	}
}

// childKeeper holds keys that others prune: each is gone before Hold returns,
// or stays.
func childKeeper(args []string) error {
	rounds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for i := range rounds {
		s, err := Open(args[0])
		if err != nil {
			return err
		}
		k := inShard(fmt.Sprint(i % 3))
		if err := s.Hold(k); err != nil {
			return err
		}
		found, err := s.Find(k)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			a, err := publish(s, Manifest{Key: k, Slot: "slot"}, map[string]string{"f": string(k)})
			if err != nil {
				return err
			}
			found = []*Artefact{a}
		}
		for range 20 {
			if err := found[0].Verify(); err != nil {
				return fmt.Errorf("round %d: %w", i, err)
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestHoldWhileOthersPrune(t *testing.T) {
	s := open(t, tempDir(t))
	var children []*child
	for range 3 {
		children = append(children, startChild(t, "keeper", s.Root(), "60"))
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	removed, held := 0, 0
	wg.Go(func() {
		for !over.Load() {
			l, err := s.List()
			if err != nil {
				t.Error(err)
				return
			}
			var all []*Artefact
			for a := range l.All() {
				all = append(all, a)
			}
			gone, kept, err := s.Prune(t.Context(), all)
			if err != nil {
				t.Error(err)
				return
			}
			removed, held = removed+len(gone), held+len(kept)
		}
	})
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	wg.Wait()
	t.Logf("%d removed, %d held", removed, held)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
}

// childTurns takes a key's turn again and again, alone each time.
func childTurns(args []string) error {
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	for range 30 {
		l, err := s.LockKey(context.Background(), key("k"), "measure", nil)
		if err != nil {
			return err
		}
		alone := filepath.Join(args[0], "alone")
		if err := os.Mkdir(alone, 0o755); err != nil {
			return fmt.Errorf("two have the key: %w", err)
		}
		if err := errors.Join(os.Remove(alone), l.Release()); err != nil {
			return err
		}
	}
	return s.Close()
}

func TestProcessesTakeTurns(t *testing.T) {
	s := open(t, tempDir(t))
	var children []*child
	for range 4 {
		children = append(children, startChild(t, "turns", s.Root()))
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if left := entries(t, s.Root(), filepath.Join("locks", "keys")); len(left) > 0 {
		t.Errorf("locks of keys are left: %v", left)
	}
}

// A killed process's key is free, and the next start removes its file.
func TestLockKeyOfAKilledProcess(t *testing.T) {
	s := open(t, tempDir(t))
	path := filepath.Join(s.Root(), "locks", "keys", string(key("k"))+".lock")
	c := startChild(t, "lock", path)
	if got := c.line(t); got != "held" {
		t.Fatal(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan Holder, 1)
	done := make(chan error)
	go func() {
		_, err := s.LockKey(ctx, key("k"), "measure qps=1", func(h Holder) { told <- h })
		done <- err
	}()
	if h := <-told; h.PID != c.Process.Pid {
		t.Errorf("waits for %s, not for %d", h, c.Process.Pid)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("measure qps=1: gave up waiting for process %d", c.Process.Pid)) {
		t.Errorf("%v", err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the killed one's file: %v", err)
	}
	open(t, s.Root())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the next start leaves the lock of a dead process: %v", err)
	}
	l, err := s.LockKey(t.Context(), key("k"), "measure", func(h Holder) { t.Errorf("waits for %s", h) })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}
