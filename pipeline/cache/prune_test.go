package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestPruneTidies(t *testing.T) {
	s := open(t, tempDir(t))
	var all []*Artefact
	for i := range 4 {
		all = append(all, mustPublish(t, s, Manifest{Key: inShard(fmt.Sprint(i)), Slot: fmt.Sprint("slot ", i)}, map[string]string{"f": "x"}))
	}
	lone := mustPublish(t, s, Manifest{Key: key("lone"), Slot: "slot 4"}, map[string]string{"f": "x"})
	if err := s.Use("shown elsewhere", all[0]); err != nil {
		t.Fatal(err)
	}
	removed, held, err := s.Prune(t.Context(), []*Artefact{all[0], lone})
	if err != nil || len(removed) != 0 || len(held) != 2 {
		t.Fatalf("what its maker may still need: removed %v, held %v, %v", removed, held, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	removed, held, err = s.Prune(t.Context(), []*Artefact{all[0], lone, all[0]}) // one of them twice
	if err != nil || len(removed) != 2 || len(held) != 0 {
		t.Fatalf("removed %v, held %v, %v", removed, held, err)
	}
	slots, err := s.Slots()
	want := map[string]bool{SlotName("slot 1"): true, SlotName("slot 2"): true, SlotName("slot 3"): true}
	if err != nil || !reflect.DeepEqual(slots, want) {
		t.Errorf("slots %v, %v", slots, err)
	}
	kept := 0
	for _, shard := range entries(t, s.Root(), "slots") {
		if len(entries(t, s.Root(), filepath.Join("slots", shard))) == 0 {
			t.Errorf("%s of the slots is empty", shard)
		}
		kept++
	}
	if kept == 0 {
		t.Error("no slots are left")
	}
	if got := entries(t, s.Root(), "objects"); !reflect.DeepEqual(got, []string{"ab"}) {
		t.Errorf("shards %v", got)
	}
	index := filepath.Join(s.Root(), "objects", "ab", indexName)
	if got := indexed(t, index, []string{all[1].Dir, all[2].Dir, all[3].Dir}); got != 3 {
		t.Errorf("%d of 3 in the index", got)
	}
	if data, err := os.ReadFile(index); err != nil || len(data) != 3*len(appendRecord(nil, &all[0].Head, 0)) {
		t.Errorf("the index has %d bytes, %v", len(data), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
}

func TestPruneThatIsInterrupted(t *testing.T) {
	s := open(t, tempDir(t))
	a := mustPublish(t, s, Manifest{Key: key("k")}, map[string]string{"f": "x"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	removed, _, err := s.Prune(ctx, []*Artefact{a})
	if !errors.Is(err, context.Canceled) || len(removed) != 0 || a.Verify() != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// A store under any sequence of what is done to it holds what a map of the
// same would.
func TestStoreAsAModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir := tempDir(t)
		defer os.RemoveAll(dir)
		s, err := Open(dir)
		must := func(err error) {
			r.Helper()
			if err != nil {
				r.Fatal(err)
			}
		}
		must(err)
		model := make(map[string]string) // folder's name -> content
		keyOf := func() Key { return inShard(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "key")) }
		find := func(k Key) []*Artefact {
			found, err := s.Find(k)
			must(err)
			return found
		}
		r.Repeat(map[string]func(*rapid.T){
			"publish": func(r *rapid.T) {
				k, text := keyOf(), rapid.StringN(0, 3, -1).Draw(r, "text")
				a, err := publish(s, Manifest{Key: k, Slot: "s"}, map[string]string{"f": text})
				must(err)
				name := filepath.Base(a.Dir)
				if _, there := model[name]; !there {
					model[name] = text
				}
			},
			"publish over": func(r *rapid.T) {
				k, text := keyOf(), rapid.StringN(0, 3, -1).Draw(r, "text")
				d, err := s.Draft()
				must(err)
				must(fill(d.Dir, map[string]string{"f": text}))
				a, err := d.PublishOver(Manifest{Key: k, Slot: "s"})
				must(err)
				model[filepath.Base(a.Dir)] = text
			},
			"measure": func(r *rapid.T) {
				k, text := keyOf(), rapid.StringN(0, 3, -1).Draw(r, "text")
				a, err := publish(s, Manifest{Key: k, Slot: "s", Attempt: rapid.SampledFrom([]string{"1", "2"}).Draw(r, "attempt")}, map[string]string{"f": text})
				must(err)
				if _, there := model[filepath.Base(a.Dir)]; there {
					r.Fatalf("%s was there already", a.Dir)
				}
				model[filepath.Base(a.Dir)] = text
			},
			"remove": func(r *rapid.T) {
				for _, a := range find(keyOf()) {
					must(s.Remove(a))
					delete(model, filepath.Base(a.Dir))
				}
			},
			"prune": func(r *rapid.T) {
				victims, give := find(keyOf()), rapid.Bool().Draw(r, "given back before")
				if give {
					must(s.Close())
				}
				removed, held, err := s.Prune(context.Background(), victims)
				must(err)
				if len(removed)+len(held) != len(victims) || give && len(held) > 0 {
					r.Fatalf("%d removed and %d held of %d", len(removed), len(held), len(victims))
				}
				for _, a := range removed {
					delete(model, filepath.Base(a.Dir))
				}
			},
			"lose the index": func(*rapid.T) { _ = os.Remove(filepath.Join(dir, "objects", "ab", indexName)) },
			"open again": func(*rapid.T) {
				must(s.Close())
				s, err = Open(dir)
				must(err)
			},
			"": func(r *rapid.T) {
				got := heads(t, s)
				if !reflect.DeepEqual(got, written(t, s)) || len(got) != len(model) {
					r.Fatalf("%d listed, want %v", len(got), model)
				}
				for name, text := range model {
					data, err := os.ReadFile(filepath.Join(dir, "objects", "ab", name, "f"))
					if err != nil || string(data) != text {
						r.Fatalf("%s holds %q, want %q: %v", name, data, text, err)
					}
				}
			},
		})
		must(s.Close())
	})
}
