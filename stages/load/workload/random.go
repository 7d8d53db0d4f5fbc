package workload

import (
	"context"
	"fmt"
	"math"
)

// maxLength is far above any model's context, and low enough that a slip of
// the keyboard does not fill the memory.
const maxLength = 10_000_000

// exact is what is said of prompts that are token ids.
const exact = "exact: prompts are token ids"

// openRandom makes prompts of random token ids. Input lengths are uniform in
// [floor(L(1-r)), ceil(L(1+r))], at least 1, output lengths likewise, and a
// prefix that all prompts share comes in front of that, as in vLLM's random
// dataset (vllm/benchmarks/datasets: RandomDataset, --random-prefix-len).
func openRandom(d Dataset) (*Source, error) {
	switch {
	case d.InputTokens < 1 || d.InputTokens > maxLength:
		return nil, fmt.Errorf("random dataset: input tokens are %d; they must be between 1 and %d", d.InputTokens, maxLength)
	case d.OutputTokens < 1 || d.OutputTokens > maxLength:
		return nil, fmt.Errorf("random dataset: output tokens are %d; they must be between 1 and %d", d.OutputTokens, maxLength)
	case d.PrefixTokens < 0 || d.PrefixTokens > maxLength:
		return nil, fmt.Errorf("random dataset: prefix tokens are %d; they must be between 0 and %d", d.PrefixTokens, maxLength)
	case !(d.RangeRatio >= 0 && d.RangeRatio < 1):
		return nil, fmt.Errorf("random dataset: range ratio is %v; it must be at least 0 and below 1", d.RangeRatio)
	}
	r := randomPrompts{}
	r.inLow, r.inHigh = bounds(d.InputTokens, d.RangeRatio)
	r.outLow, r.outHigh = bounds(d.OutputTokens, d.RangeRatio)
	return &Source{
		digest: digest(Random, 2, firstID, idSpan, d.InputTokens, d.OutputTokens, d.RangeRatio, d.PrefixTokens),
		ids:    true,
		draw: func(_ context.Context, n int, seed int64, repeat int, _ Counter) (*Set, error) {
			r := r
			r.n, r.streams = n, newStreams("prompts", seed, repeat)
			shared := newStreams("prefix", seed, repeat).of(0)
			r.prefix = make([]int32, d.PrefixTokens)
			shared.fill(r.prefix)
			return &Set{Counting: exact, made: &r}, nil
		},
	}, nil
}

// randomPrompts are prompts of which nothing is kept: stream i makes the
// length of answer i, that of prompt i, and its ids.
type randomPrompts struct {
	n               int
	streams         streams
	prefix          []int32
	inLow, inHigh   int
	outLow, outHigh int
}

func (r *randomPrompts) Len() int       { return r.n }
func (r *randomPrompts) TokenIDs() bool { return true }

func (r *randomPrompts) MaxTokens(i int) int {
	s := r.streams.of(uint64(i))
	return s.length(r.outLow, r.outHigh)
}

func (r *randomPrompts) Prompt(i int) Prompt {
	s := r.streams.of(uint64(i))
	out := s.length(r.outLow, r.outHigh)
	ids := make([]int32, len(r.prefix)+s.length(r.inLow, r.inHigh))
	own := ids[copy(ids, r.prefix):]
	s.fill(own)
	r.streams.head(own, i)
	return Prompt{IDs: ids, MaxTokens: out, PromptTokens: len(ids)}
}

// bounds are floor(L(1-r)), but at least 1, and ceil(L(1+r)). What binary
// fractions add to a product that is whole in decimals (100 x 1.1 is
// 110.00000000000001) is taken off first.
func bounds(mean int, ratio float64) (low, high int) {
	const slack = 1e-7
	l := float64(mean)
	return max(1, int(math.Floor(l*(1-ratio)+slack))), max(1, int(math.Ceil(l*(1+ratio)-slack)))
}
