package workload

import (
	"math/bits"
	"testing"
)

// Ids and lengths are uniform: chi-squared over 29 bins of 1000 ids, and over
// the 21 lengths; the bounds are the quantiles of 0.0001 and 0.9999 (SciPy).
func TestIDsAndLengthsAreUniform(t *testing.T) {
	set := list(mustDraw(t, mustOpen(t, Dataset{Kind: Random, InputTokens: 100, OutputTokens: 20, RangeRatio: 0.5}), 4000, 1, 0))
	var ids [29]int
	var lengths [21]int
	for _, p := range set {
		for _, id := range p.IDs[2:] {
			ids[(id-1000)/1000]++
		}
		lengths[p.MaxTokens-10]++
	}
	for _, c := range []struct {
		of        string
		bins      []int
		low, high float64
	}{{"ids", ids[:], 8.24, 63.17}, {"lengths", lengths[:], 4.39, 52.39}} {
		total := 0
		for _, n := range c.bins {
			total += n
		}
		chi, expected := 0.0, float64(total)/float64(len(c.bins))
		for _, n := range c.bins {
			chi += (float64(n) - expected) * (float64(n) - expected) / expected
		}
		if chi < c.low || chi > c.high {
			t.Errorf("%s: chi-squared is %.1f, want %.1f to %.1f: %v", c.of, chi, c.low, c.high, c.bins)
		}
	}
}

// Streams with neighbouring numbers, seeds and repeats have nothing to do with
// each other: of their first numbers no two are equal, and the share of equal
// bits is one half.
func TestStreamsAreIndependent(t *testing.T) {
	seen := map[uint64]bool{}
	var last uint64
	equal, n := 0, 0
	for seed := range int64(3) {
		for repeat := range 3 {
			s := newStreams("test", seed, repeat)
			for i := range uint64(2000) {
				r := s.of(i)
				x := r.Uint64()
				if seen[x] {
					t.Fatalf("stream %d of seed %d, repeat %d begins like another one", i, seed, repeat)
				}
				seen[x] = true
				equal += 64 - bits.OnesCount64(x^last)
				last = x
				n += 64
			}
		}
	}
	// 18000 x 64 coins: a standard deviation is .00047.
	if share := float64(equal) / float64(n); share < .498 || share > .502 {
		t.Errorf("%.4f of the bits equal those of the neighbour", share)
	}
}

func BenchmarkRandomPrompt1000(b *testing.B) {
	s, err := Open(Dataset{Kind: Random, InputTokens: 1000, OutputTokens: 1})
	if err != nil {
		b.Fatal(err)
	}
	set, err := s.Draw(b.Context(), 1_000_000, 0, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set.Prompt(i % 1_000_000)
	}
}
