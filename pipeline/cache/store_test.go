package cache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFindReturnsAttemptsInOrder(t *testing.T) {
	s := open(t, tempDir(t))
	k := key("k")
	if found, err := s.Find(k); err != nil || len(found) != 0 {
		t.Fatalf("empty store: %v, %v", found, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, text := range []string{"second", "third", "first"} {
		m := Manifest{Key: k, Attempt: NewAttempt(at.Add([]time.Duration{1, 2, 0}[i])), Slot: "slot", Input: []byte(`{"a":1}`)}
		mustPublish(t, s, m, map[string]string{"text": text, "sub/more": "x"})
	}
	found, err := s.Find(k)
	if err != nil || len(found) != 3 {
		t.Fatalf("%d found, %v", len(found), err)
	}
	for i, want := range []string{"first", "second", "third"} {
		got, err := os.ReadFile(filepath.Join(found[i].Dir, "text"))
		if err != nil || string(got) != want {
			t.Errorf("attempt %d: %s, %v", i, got, err)
		}
		if err := found[i].Verify(); err != nil {
			t.Error(err)
		}
		if m, err := found[i].Manifest(); err != nil || len(m.Files) != 2 || m.Files[0].Name != "sub/more" {
			t.Errorf("manifest %v, %v", m, err)
		}
	}
	if last, err := s.Last("slot"); err != nil || last.Dir != found[0].Dir {
		t.Errorf("the slot's last is %v, %v; want the one published last", last, err)
	}
	if l, err := s.List(); err != nil || l.Len() != 3 || len(l.Find(k)) != 3 {
		t.Errorf("listing %v, %v", l, err)
	}
	if slots, err := s.Slots(); err != nil || len(slots) != 1 || !slots[SlotName("slot")] {
		t.Errorf("slots %v, %v", slots, err)
	}
	if err := s.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Last("slot"); !errors.Is(err, ErrGone) {
		t.Errorf("the slot's last was removed: %v", err)
	}
}

func TestLookingMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	s := At(dir)
	if l, err := s.List(); err != nil || l.Len() != 0 {
		t.Errorf("listing %v, %v", l, err)
	}
	if a, err := s.Last("slot"); err != nil || a != nil {
		t.Errorf("last %v, %v", a, err)
	}
	if found, err := s.Find(key("k")); err != nil || found != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made the folder: %v", err)
	}
	if _, err := s.Draft(); err == nil {
		t.Error("a draft in a store that is not there")
	}
}

// Each kind of damage is noticed by the check named, and the same content
// published again takes the damaged artefact's place.
func TestDamage(t *testing.T) {
	edit := func(name string, change func([]byte) []byte) func(*testing.T, *Artefact) {
		return func(t *testing.T, a *Artefact) {
			path := filepath.Join(a.Dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	cut := func(data []byte) []byte { return data[:len(data)/2] }
	for _, tc := range []struct {
		name  string
		harm  func(*testing.T, *Artefact)
		sizes bool // CheckSizes is enough
		says  string
	}{
		{"missing file", func(t *testing.T, a *Artefact) { _ = os.Remove(filepath.Join(a.Dir, "sub/b")) }, true, "sub/b is missing"},
		{"truncated file", edit("a", cut), true, "a has 8 bytes, not 16"},
		{"flipped bit", edit("a", flip), false, "a has another checksum"},
		{"missing manifest", func(t *testing.T, a *Artefact) { _ = os.Remove(filepath.Join(a.Dir, manifestName)) }, true, "manifest.json is missing"},
		{"truncated manifest", edit(manifestName, cut), true, "not what was written"},
		{"empty manifest", edit(manifestName, func([]byte) []byte { return nil }), true, "not what was written"},
		{"changed fact", edit(manifestName, func(b []byte) []byte { return bytes.Replace(b, []byte("0.57"), []byte("0.97"), 1) }), true, "not what was written"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, tempDir(t))
			m := Manifest{Key: key("k"), Slot: "slot", Input: []byte("1"), Note: []byte(`{"facts":{"schedule_kept":0.57}}`)}
			files := map[string]string{"a": "sixteen letters.", "sub/b": "b"}
			whole := mustPublish(t, s, m, files)
			tc.harm(t, whole)
			found, err := s.Find(m.Key)
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			sizes, all := found[0].CheckSizes(), found[0].Verify()
			if (sizes != nil) != tc.sizes || !errors.Is(all, ErrDamaged) || !strings.Contains(all.Error(), tc.says) {
				t.Errorf("sizes: %v; all: %v", sizes, all)
			}
			again := mustPublish(t, s, m, files)
			if again.Dir != whole.Dir || again.Verify() != nil || again.Digest != whole.Digest {
				t.Errorf("published again: %v, %v", again, again.Verify())
			}
		})
	}
}

func TestManifestOfAnotherResult(t *testing.T) {
	s := open(t, tempDir(t))
	a := mustPublish(t, s, Manifest{Key: key("a")}, nil)
	b := mustPublish(t, s, Manifest{Key: key("b")}, nil)
	if err := os.Rename(filepath.Join(a.Dir, manifestName), filepath.Join(b.Dir, manifestName)); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find(key("b"))
	if err != nil || len(found) != 1 || !errors.Is(found[0].Verify(), ErrDamaged) {
		t.Errorf("a manifest that was copied here is believed: %v, %v", found, err)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "cannot make the store") {
		t.Errorf("got %v", err)
	}
}
