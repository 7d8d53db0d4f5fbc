package workload

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRandomLengthsFillTheirRange(t *testing.T) {
	// floor(10 x 0.75) = 7, ceil(10 x 1.25) = 13; floor(100 x 0.9) = 90,
	// ceil(100 x 1.1) = 110.
	p := list(mustDraw(t, mustOpen(t, Dataset{Kind: Random, InputTokens: 10, OutputTokens: 10, RangeRatio: 0.25}), 500, 0, 0))
	in, out := map[int]bool{}, map[int]bool{}
	for _, x := range p {
		in[len(x.IDs)], out[x.MaxTokens] = true, true
		if x.PromptTokens != len(x.IDs) {
			t.Fatalf("%d ids, %d prompt tokens", len(x.IDs), x.PromptTokens)
		}
	}
	for n := 6; n <= 14; n++ {
		if want := n >= 7 && n <= 13; in[n] != want || out[n] != want {
			t.Errorf("length %d: prompts %v, answers %v, want %v", n, in[n], out[n], want)
		}
	}
	for _, c := range []struct {
		mean      int
		ratio     float64
		low, high int
	}{{100, 0.1, 90, 110}, {1, 0.9, 1, 2}, {128, 0, 128, 128}, {1000, 0.333, 667, 1333}} {
		if low, high := bounds(c.mean, c.ratio); low != c.low || high != c.high {
			t.Errorf("bounds(%d, %v) = %d, %d, want %d, %d", c.mean, c.ratio, low, high, c.low, c.high)
		}
	}
}

func TestRandomPromptsShareNoBlock(t *testing.T) {
	for _, length := range []int{1, 2, 40} {
		seen := map[[2]int32]bool{}
		for _, x := range list(mustDraw(t, mustOpen(t, Dataset{Kind: Random, InputTokens: length, OutputTokens: 1}), 3000, 5, 0)) {
			head := [2]int32{x.IDs[0]}
			if length > 1 {
				head[1] = x.IDs[1]
			}
			if seen[head] {
				t.Fatalf("length %d: two prompts begin with %v", length, head)
			}
			seen[head] = true
			for _, id := range x.IDs {
				if id < 1000 || id >= 30000 {
					t.Fatalf("id %d is outside the vocabulary that every model has", id)
				}
			}
		}
	}
}

func TestRandomSharedPrefix(t *testing.T) {
	d := Dataset{Kind: Random, InputTokens: 20, OutputTokens: 5, RangeRatio: 0.5, PrefixTokens: 33}
	s := mustOpen(t, d)
	var prefixes [][]int32
	for repeat := range 2 {
		set := list(mustDraw(t, s, 500, 7, repeat))
		prefix := set[0].IDs[:33]
		after, shortest, longest := map[[2]int32]bool{}, 1000, 0
		for i, p := range set {
			if !slices.Equal(p.IDs[:33], prefix) {
				t.Fatalf("repeat %d: prompt %d begins otherwise", repeat, i)
			}
			own := p.IDs[33:]
			after[[2]int32{own[0], own[1]}] = true
			shortest, longest = min(shortest, len(own)), max(longest, len(own))
		}
		// The prefix is in front of 20 x (1 -+ .5) tokens, as in vLLM.
		if shortest != 10 || longest != 30 {
			t.Errorf("repeat %d: after the prefix %d to %d tokens, want 10 to 30", repeat, shortest, longest)
		}
		if len(after) != len(set) {
			t.Errorf("repeat %d: more than the prefix is shared", repeat)
		}
		prefixes = append(prefixes, prefix)
	}
	if slices.Equal(prefixes[0], prefixes[1]) {
		t.Error("two repeats have the same prefix: the second would find it in the prefix cache from its first request on")
	}
	// Lengths and own tokens are those without a prefix.
	d.PrefixTokens = 0
	with, without := list(mustDraw(t, s, 20, 7, 0)), list(mustDraw(t, mustOpen(t, d), 20, 7, 0))
	for i := range with {
		if !slices.Equal(with[i].IDs[33:], without[i].IDs) || with[i].MaxTokens != without[i].MaxTokens {
			t.Fatalf("prompt %d is another one with a prefix", i)
		}
	}
}

func TestRandomRefuses(t *testing.T) {
	for _, c := range []struct {
		d    Dataset
		want string
	}{
		{Dataset{OutputTokens: 1}, "input tokens are 0"},
		{Dataset{InputTokens: 1, OutputTokens: -1}, "output tokens are -1"},
		{Dataset{InputTokens: 1, OutputTokens: 1, RangeRatio: 1}, "range ratio is 1"},
		{Dataset{InputTokens: 1, OutputTokens: 1, RangeRatio: math.NaN()}, "range ratio is NaN"},
		{Dataset{InputTokens: 1e9, OutputTokens: 1}, "input tokens are 1000000000"},
		{Dataset{InputTokens: 1, OutputTokens: 1, PrefixTokens: -1}, "prefix tokens are -1"},
	} {
		c.d.Kind = Random
		if _, err := Open(c.d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got error %v", c.d, err)
		}
	}
}
