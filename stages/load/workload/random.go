package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Token ids are drawn from [firstID, firstID+idSpan). Every model that is
// served today has a vocabulary of at least 32,000, and the first thousand ids
// hold its special and control tokens.
const (
	firstID = 1000
	idSpan  = 29000
)

// maxLength is far above any model's context, and low enough that a slip of
// the keyboard does not fill the memory.
const maxLength = 10_000_000

// openRandom makes prompts of random token ids. Input lengths are uniform in
// [floor(L(1-r)), ceil(L(1+r))], at least 1, output lengths likewise, as in
// vLLM's random dataset.
func openRandom(d Dataset) (*Source, error) {
	switch {
	case d.InputTokens < 1 || d.InputTokens > maxLength:
		return nil, fmt.Errorf("random dataset: input tokens are %d; they must be between 1 and %d", d.InputTokens, maxLength)
	case d.OutputTokens < 1 || d.OutputTokens > maxLength:
		return nil, fmt.Errorf("random dataset: output tokens are %d; they must be between 1 and %d", d.OutputTokens, maxLength)
	case !(d.RangeRatio >= 0 && d.RangeRatio < 1):
		return nil, fmt.Errorf("random dataset: range ratio is %v; it must be at least 0 and below 1", d.RangeRatio)
	}
	return &Source{
		digest: digest(Random, 1, firstID, idSpan, d.InputTokens, d.OutputTokens, d.RangeRatio),
		draw: func(n int, r *rand.Rand) ([]Prompt, []string) {
			out := make([]Prompt, n)
			start := r.IntN(idSpan * idSpan)
			for i := range out {
				ids := make([]int32, length(r, d.InputTokens, d.RangeRatio))
				for j := range ids {
					ids[j] = firstID + r.Int32N(idSpan)
				}
				// A prefix cache shares whole blocks from the front. The
				// first two ids count the prompts, so that no two prompts
				// of a point share even their first block, however short.
				unique := (start + i) % (idSpan * idSpan)
				ids[0] = firstID + int32(unique%idSpan)
				if len(ids) > 1 {
					ids[1] = firstID + int32(unique/idSpan)
				}
				out[i] = Prompt{IDs: ids, MaxTokens: length(r, d.OutputTokens, d.RangeRatio), PromptTokens: len(ids)}
			}
			return out, nil
		},
	}, nil
}

// length draws a length around mean.
func length(r *rand.Rand, mean int, ratio float64) int {
	low, high := bounds(mean, ratio)
	return low + r.IntN(high-low+1)
}

// bounds are floor(L(1-r)), but at least 1, and ceil(L(1+r)). What binary
// fractions add to a product that is whole in decimals (100 x 1.1 is
// 110.00000000000001) is taken off first.
func bounds(mean int, ratio float64) (low, high int) {
	const slack = 1e-7
	l := float64(mean)
	return max(1, int(math.Floor(l*(1-ratio)+slack))), max(1, int(math.Ceil(l*(1+ratio)-slack)))
}
