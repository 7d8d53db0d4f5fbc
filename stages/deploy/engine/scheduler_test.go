package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAddRefuses(t *testing.T) {
	c := small()
	c.Blocks = 2 // 8 tokens
	s := NewScheduler(c)
	for _, r := range []*Request{
		{PromptTokens: 0, Output: 1},
		{PromptTokens: 1, Output: 0},
		{PromptTokens: 8, Output: 1},
		{PromptTokens: 1, Output: int(^uint(0) >> 1)},
	} {
		if s.Add(0, r) == nil {
			t.Errorf("accepted %d prompt tokens and %d to generate", r.PromptTokens, r.Output)
		}
	}
	fits := &Request{PromptTokens: 7, Output: 1, Owner: "A"}
	add(t, s, 0, fits)
	if s.Add(0, fits) == nil {
		t.Error("accepted the same request twice")
	}
}

// owned counts each block's owners and checks the pool against them.
func owned(s *Scheduler) error {
	refs := make([]int32, len(s.pool.refs))
	for _, list := range [][]*Request{s.running, s.fetching, s.holding} {
		for _, r := range list {
			for _, b := range r.blocks {
				refs[b]++
			}
		}
	}
	for i := range s.waiting.n {
		if r := s.waiting.ring[(s.waiting.head+i)%len(s.waiting.ring)]; len(r.blocks) > 0 {
			return fmt.Errorf("a waiting request owns %d blocks", len(r.blocks))
		}
	}
	if !slices.Equal(refs, s.pool.refs) {
		return fmt.Errorf("owners by block %v, counted %v", refs, s.pool.refs)
	}
	free, end := 0, int32(len(refs))
	for b := s.pool.next[end]; b != end; b = s.pool.next[b] {
		if refs[b] != 0 {
			return fmt.Errorf("block %d is free and has %d owners", b, refs[b])
		}
		free++
	}
	unowned := 0
	for _, n := range refs {
		if n == 0 {
			unowned++
		}
	}
	if free != unowned || free != s.pool.free {
		return fmt.Errorf("%d blocks in the free list, %d without owner, %d counted", free, unowned, s.pool.free)
	}
	for h, b := range s.pool.byHash {
		if s.pool.hashes[b] != h {
			return fmt.Errorf("block %d is found under a content that it does not have", b)
		}
	}
	return nil
}

// Whatever arrives, is fetched, held, released or cancelled, no block is lost
// or owned by the wrong one, and every request comes to its end.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{
			Blocks:           rapid.IntRange(1, 24).Draw(t, "blocks"),
			BlockSize:        rapid.IntRange(1, 5).Draw(t, "block size"),
			MaxBatchedTokens: rapid.IntRange(1, 40).Draw(t, "budget"),
			MaxSeqs:          rapid.IntRange(1, 6).Draw(t, "sequences"),
			PrefixCaching:    rapid.Bool().Draw(t, "prefix caching"),
			StepTime:         StepTime{Base: .001, PrefillToken: .0001},
			Overhead:         time.Duration(rapid.IntRange(0, 3).Draw(t, "overhead")) * ms,
			KVBytesPerToken:  100,
			TransferLatency:  time.Duration(rapid.IntRange(0, 20).Draw(t, "latency")) * ms,
			TransferBytesPer: 1e5,
			Lease:            time.Duration(rapid.IntRange(0, 60).Draw(t, "lease")) * ms,
		}
		s := NewScheduler(c)
		capacity := c.Blocks * c.BlockSize
		var requests []*Request
		cancelled := map[*Request]bool{}
		tokens := map[*Request]int{}
		var now time.Duration

		check := func() {
			if err := owned(s); err != nil {
				t.Fatal(err)
			}
			if n := s.step.Tokens(); s.open && (n < 1 || n > c.MaxBatchedTokens) {
				t.Fatalf("a step of %d tokens with a budget of %d", n, c.MaxBatchedTokens)
			}
			if n := len(s.running); n > c.MaxSeqs {
				t.Fatalf("%d requests in a batch of at most %d", n, c.MaxSeqs)
			}
		}
		advance := func() (more bool) {
			step, _, ok := s.Next(now)
			check()
			if !ok {
				at, timed := s.Wake(now)
				now = max(now, at)
				return timed
			}
			if rapid.IntRange(0, 9).Draw(t, "cancel in mid-step") == 0 {
				r := requests[rapid.IntRange(0, len(requests)-1).Draw(t, "which")]
				cancelled[r] = cancelled[r] || !r.Ended()
				s.Cancel(r)
			}
			now = step.End
			for _, e := range s.Finish() {
				if cancelled[e.Request] {
					t.Fatal("a cancelled request gave a token")
				}
				tokens[e.Request]++
				if e.Done != (tokens[e.Request] == e.Request.Output) || tokens[e.Request] != e.Request.Generated {
					t.Fatalf("token %d of %d, done %v", tokens[e.Request], e.Request.Output, e.Done)
				}
			}
			check()
			return true
		}

		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			switch rapid.IntRange(0, 5).Draw(t, "operation") {
			case 0, 1, 2:
				r := &Request{
					Prompt:   ids(1, uint32(rapid.IntRange(1, max(1, capacity-1)).Draw(t, "prompt"))),
					Output:   rapid.IntRange(1, 12).Draw(t, "output"),
					RemoteKV: rapid.IntRange(0, 2).Draw(t, "remote") == 0,
					Hold:     rapid.IntRange(0, 2).Draw(t, "hold") == 0,
					External: max(0, rapid.IntRange(-20, 40).Draw(t, "shared")),
				}
				if rapid.Bool().Draw(t, "different") {
					r.Prompt[0] = 1000 + uint32(len(requests))
				}
				if s.Add(now, r) == nil {
					requests = append(requests, r)
				}
			case 3:
				if len(requests) > 0 {
					s.Release(requests[rapid.IntRange(0, len(requests)-1).Draw(t, "which")])
				}
			default:
				if len(requests) > 0 {
					advance()
				}
			}
			check()
		}
		for i := 0; len(requests) > 0 && advance(); i++ {
			if i > 100000 {
				t.Fatal("it goes on for ever")
			}
		}
		for i, r := range requests {
			if r.state != ended || (!cancelled[r] && tokens[r] != r.Output) {
				t.Fatalf("request %d is in state %d with %d of %d tokens", i, r.state, tokens[r], r.Output)
			}
		}
		if st := s.Stats(); st.FreeBlocks != st.Blocks || st.Waiting+st.Running+st.Fetching+st.Holding != 0 {
			t.Fatalf("at the end: %+v", st)
		}
	})
}

// BenchmarkScheduler runs a steady load in virtual time: 64 requests in the
// batch, prompts of 512 tokens, answers of 128.
func BenchmarkScheduler(b *testing.B) {
	s := NewScheduler(Config{
		Blocks: 8192, BlockSize: 16, MaxBatchedTokens: 2048, MaxSeqs: 64, PrefixCaching: true,
		StepTime: StepTime{Base: .007, PrefillToken: 25e-6},
	})
	prompt := ids(1, 512)
	var now time.Duration
	var n uint32
	b.ReportAllocs()
	for b.Loop() {
		for s.Stats().Running+s.Stats().Waiting < 64 {
			n++
			p := slices.Clone(prompt)
			p[0] = n
			if err := s.Add(now, &Request{Prompt: p, Output: 128, Seed: uint64(n)}); err != nil {
				b.Fatal(err)
			}
		}
		step, _, _ := s.Next(now)
		s.Finish()
		now = step.End
	}
	b.ReportMetric(float64(s.Stats().GeneratedTokens)/b.Elapsed().Seconds(), "tokens/s")
}
