package workload

import (
	"reflect"
	"sync"
	"testing"
)

// TestPrompts holds every kind to what Prompts promises.
func TestPrompts(t *testing.T) {
	sets := map[string]Prompts{
		"list":           List{{Text: "a", MaxTokens: 3}, {Text: "b", MaxTokens: 4}},
		"list of ids":    List{{IDs: []int32{1, 2}, MaxTokens: 3}},
		"an empty list":  List{},
		"an empty trace": mustDraw(t, mustOpen(t, Dataset{Kind: Trace, Path: "testdata/burstgpt.csv"}), 0, 1, 1),
	}
	for kind, d := range every(t) {
		set := mustDraw(t, mustOpen(t, d), 50, 3, 0)
		if set.Counting == "" {
			t.Errorf("%s does not say how lengths were counted", kind)
		}
		sets[kind] = set
		s := mustOpen(t, d)
		if s.TokenIDs() != set.TokenIDs() {
			t.Errorf("%s: its source and its set tell other things of token ids", kind)
		}
	}
	for kind, p := range sets {
		want := list(p)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range p.Len() {
					x := p.Prompt(i)
					if !reflect.DeepEqual(x, want[i]) {
						t.Errorf("%s: prompt %d is another one the next time", kind, i)
					}
					if x.MaxTokens < 1 || x.MaxTokens != p.MaxTokens(i) {
						t.Errorf("%s: prompt %d asks for %d tokens, MaxTokens says %d", kind, i, x.MaxTokens, p.MaxTokens(i))
					}
					if ids := x.IDs != nil; ids != p.TokenIDs() || ids == (x.Text != "") || ids && x.PromptTokens != len(x.IDs) && kind != "list of ids" {
						t.Errorf("%s: prompt %d is %+v, TokenIDs says %v", kind, i, x, p.TokenIDs())
					}
					clear(x.IDs) // it is ours
				}
			})
		}
		wg.Wait()
		if n := testing.AllocsPerRun(100, func() {
			for i := range p.Len() {
				p.MaxTokens(i)
			}
		}); n != 0 {
			t.Errorf("%s: MaxTokens allocates", kind)
		}
	}
}

func TestAMillionPromptsNeedNoMemory(t *testing.T) {
	s := mustOpen(t, Dataset{Kind: Random, InputTokens: 1000, OutputTokens: 100, PrefixTokens: 10})
	if n := testing.AllocsPerRun(3, func() { mustDraw(t, s, 1_000_000, 0, 0) }); n > 20 {
		t.Errorf("drawing takes %v allocations", n)
	}
	set := mustDraw(t, s, 1_000_000, 0, 0)
	if n := testing.AllocsPerRun(100, func() { set.Prompt(999_999) }); n > 1 {
		t.Errorf("a prompt takes %v allocations, and needs its ids only", n)
	}
}
