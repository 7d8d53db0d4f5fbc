package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestVerifyTellsAll(t *testing.T) {
	s := open(t, tempDir(t))
	a := mustPublish(t, s, Manifest{Key: inShard("a"), Slot: "a"}, map[string]string{"f": "x"})
	b := mustPublish(t, s, Manifest{Key: inShard("b"), Slot: "b"}, map[string]string{"f": "x", "sub/g": "y"})
	d, err := s.Draft() // of a living process
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(d.Dir, map[string]string{"half": "h"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.Dir, "sub/g")); err != nil {
		t.Fatal(err)
	}
	objects := filepath.Join(s.Root(), "objects")
	strangers := []string{"ab/" + string(key("elsewhere")) + "@0/f", "ab/" + string(inShard("old")) + "/0/f", "ab/note.txt", "xyz/f", "file"}
	for _, name := range strangers {
		if err := fill(objects, map[string]string{name: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	told := make(map[string]string)
	var rest []*Artefact
	if err := s.Verify(t.Context(), func(a *Artefact, err error) {
		rel, _ := filepath.Rel(objects, a.Dir)
		told[rel] = ""
		if err != nil {
			told[rel] = err.Error()
			rest = append(rest, a)
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ab/" + filepath.Base(a.Dir): "", "ab/" + filepath.Base(b.Dir): "damaged: sub/g is missing",
		"ab/" + string(key("elsewhere")) + "@0": "no result of this store", "ab/" + string(inShard("old")): "no result of this store",
		"ab/note.txt": "no result of this store", "xyz": "no result of this store", "file": "no result of this store",
	}
	for name, says := range want {
		if got, ok := told[name]; !ok || !strings.Contains(got, says) || says == "" && got != "" {
			t.Errorf("%s: told %v %q, want %q", name, ok, got, says)
		}
	}
	if len(told) != len(want) {
		t.Errorf("told %v", told)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if removed, held, err := s.Prune(t.Context(), rest); err != nil || len(removed) != len(want)-1 || len(held) > 0 {
		t.Errorf("%d of %d removed, %v", len(removed), len(want)-1, err)
	}
	sound(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ctx, func(*Artefact, error) { t.Error("told after the end") }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// Any byte of any file of an artefact, changed or cut away, is noticed.
func TestVerifyNoticesAnyByte(t *testing.T) {
	s := open(t, tempDir(t))
	files := map[string]string{"samples": strings.Repeat("0123456789", 20), "sub/more": "more", "empty": ""}
	m := Manifest{Key: key("k"), Slot: "slot", Input: []byte(`{"qps":1}`), Note: []byte(`{"facts":{"schedule_kept":0.57}}`), Attempt: "1"}
	a := mustPublish(t, s, m, files)
	verify := func() (err error) {
		if whole := s.Verify(t.Context(), func(_ *Artefact, e error) { err = errors.Join(err, e) }); whole != nil {
			t.Fatal(whole)
		}
		return err
	}
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(a.Dir, rapid.SampledFrom([]string{"samples", "sub/more", manifestName}).Draw(r, "file"))
		before, err := os.ReadFile(path)
		if err != nil {
			r.Fatal(err)
		}
		after := append([]byte(nil), before...)
		at := rapid.IntRange(0, len(before)-1).Draw(r, "at")
		switch rapid.IntRange(0, 3).Draw(r, "harm") {
		case 0:
			after = after[:at]
		case 1:
			after[at] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		case 2:
			after = append(after, rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(r, "more")...)
		case 3:
			after = nil
		}
		write := func(data []byte) {
			_ = os.Remove(path)
			if data == nil {
				return
			}
			if err := os.WriteFile(path, data, 0o444); err != nil {
				r.Fatal(err)
			}
		}
		write(after)
		if err := verify(); !errors.Is(err, ErrDamaged) {
			r.Errorf("not noticed: %v", err)
		}
		write(before)
		if err := verify(); err != nil {
			r.Errorf("mended: %v", err)
		}
	})
}
