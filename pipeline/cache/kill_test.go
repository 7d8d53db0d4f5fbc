package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// deeds are what a process may be killed in: each is prepared in a whole
// store, done in a child that dies at one of its steps, and done again.
var deeds = map[string]struct {
	before func(s *Store) error
	do     func(s *Store) error
	keeps  []string // artefacts that must be there and whole after any kill
	noSwap bool     // on a system that cannot exchange folders
}{
	"publish": {
		do: func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot"}, "whole") },
	},
	"publish an attempt": {
		before: func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot", Attempt: "1"}, "first") },
		do:     func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot", Attempt: "1"}, "second") },
		keeps:  []string{string(key("k")) + "@1"},
	},
	"publish over a damaged one": {
		before: damaged,
		do:     func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot"}, "whole") },
	},
	"publish over a damaged one without a swap": {
		before: damaged,
		do:     func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot"}, "whole") },
		noSwap: true,
	},
	"publish over on purpose": {
		before: func(s *Store) error { return made(s, Manifest{Key: key("k"), Slot: "slot"}, "old") },
		do: func(s *Store) error {
			d, err := s.Draft()
			if err != nil {
				return err
			}
			if err := fill(d.Dir, map[string]string{"a": "new", "sub/b": "new"}); err != nil {
				return err
			}
			_, err = d.PublishOver(Manifest{Key: key("k"), Slot: "slot"})
			return err
		},
		keeps: []string{string(key("k")) + "@0"},
	},
	"prune": {
		before: func(s *Store) error {
			return errors.Join(
				made(s, Manifest{Key: inShard("a"), Slot: "a", Attempt: "1"}, "a"),
				made(s, Manifest{Key: inShard("a"), Slot: "a", Attempt: "2"}, "b"),
				made(s, Manifest{Key: inShard("b"), Slot: "b"}, "c"),
				made(s, Manifest{Key: key("other"), Slot: "c"}, "d"),
			)
		},
		do: func(s *Store) error {
			l, err := s.List()
			if err != nil {
				return err
			}
			var victims []*Artefact
			for a := range l.All() {
				if a.Key != inShard("b") {
					victims = append(victims, a)
				}
			}
			_, _, err = s.Prune(context.Background(), victims)
			return err
		},
		keeps: []string{string(inShard("b")) + "@0"},
	},
	"take a key's turn": {
		do: func(s *Store) error {
			l, err := s.LockKey(context.Background(), key("k"), "measure", nil)
			if err != nil {
				return err
			}
			return l.Release()
		},
	},
}

func made(s *Store, m Manifest, text string) error {
	_, err := publish(s, m, map[string]string{"a": text, "sub/b": text})
	return err
}

func damaged(s *Store) error {
	a, err := publish(s, Manifest{Key: key("k"), Slot: "slot"}, map[string]string{"a": "whole", "sub/b": "whole"})
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(a.Dir, "a"))
}

// childStep does a deed and dies at its nth step.
func childStep(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if deeds[args[1]].noSwap {
		swap = func(string, string) error { return errors.ErrUnsupported }
	}
	var steps atomic.Int64
	Step = func(string) { // of several goroutines
		if steps.Add(1) > int64(n) {
			kill()
		}
	}
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	if err := deeds[args[1]].do(s); err != nil {
		return err
	}
	return s.Close()
}

// A kill at any step leaves what was there, and nothing or a whole artefact
// more; the next start removes what else is left, and the same can be done
// again.
func TestKillAtEveryStep(t *testing.T) {
	for name, deed := range deeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n++ {
				dir := tempDir(t)
				s := open(t, dir)
				if deed.before != nil {
					if err := deed.before(s); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				err := startChild(t, "step", dir, name, fmt.Sprint(n)).Wait()
				if err != nil && !strings.Contains(err.Error(), "killed") {
					t.Fatal(err)
				}
				if s = open(t, dir); !strings.HasPrefix(name, "publish over a damaged") {
					sound(t, s)
				}
				for _, name := range deed.keeps {
					if _, ok := heads(t, s)[name]; !ok {
						t.Errorf("killed at step %d: %s is lost", n, name)
					}
				}
				if err := deed.do(s); err != nil {
					t.Errorf("again after a kill at step %d: %v", n, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				sound(t, At(dir))
				if t.Failed() {
					t.Fatalf("killed at step %d", n)
				}
				if err == nil {
					t.Logf("%d steps", n)
					break
				}
				if n > 500 {
					t.Fatal("it never comes to an end")
				}
			}
		})
	}
}

// What a listing writes may be killed as well.
func TestKillWhileAnIndexIsWritten(t *testing.T) {
	dir := tempDir(t)
	s := open(t, dir)
	for i := range 5 {
		mustPublish(t, s, Manifest{Key: inShard(fmt.Sprint(i)), Slot: "slot"}, map[string]string{"f": "x"})
	}
	index := filepath.Join(dir, "objects", "ab", indexName)
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	want := written(t, s)
	for cut := range len(whole) {
		if err := os.WriteFile(index, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if got := heads(t, At(dir)); !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d: %v", cut, got)
		}
	}
}
