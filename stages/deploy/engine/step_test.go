package engine

import (
	"reflect"
	"testing"
	"time"
)

const ms = time.Millisecond

// ids is a prompt of the token ids from, from+1, ..., to.
func ids(from, to uint32) []uint32 {
	var p []uint32
	for id := from; id <= to; id++ {
		p = append(p, id)
	}
	return p
}

// small is a scheduler's configuration that can be followed by hand: a step
// takes 10 ms and 1 ms for each prefill token.
func small() Config {
	return Config{
		Blocks: 100, BlockSize: 4, MaxBatchedTokens: 8, MaxSeqs: 8,
		StepTime: StepTime{Base: .010, PrefillToken: .001},
	}
}

// told is a step as a table states it: its work and whose tokens came out
// ("A", and "A!" for the last one).
type told struct {
	end    time.Duration
	work   Work
	tokens []string
}

// trace runs a scheduler until it has nothing to do and nothing to wait for.
func trace(s *Scheduler, now time.Duration) []told {
	var all []told
	for {
		step, _, ok := s.Next(now)
		if !ok {
			at, more := s.Wake(now)
			if !more {
				return all
			}
			now = at
			continue
		}
		t := told{end: step.End, work: step.Work}
		for _, e := range s.Finish() {
			name := e.Request.Owner.(string)
			if e.Done {
				name += "!"
			}
			t.tokens = append(t.tokens, name)
		}
		all = append(all, t)
		now = step.End
	}
}

func add(t *testing.T, s *Scheduler, now time.Duration, requests ...*Request) {
	t.Helper()
	for _, r := range requests {
		if err := s.Add(now, r); err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, got, want []told) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("step %d is missing: %+v", i, want[i])
		case i >= len(want):
			t.Errorf("step %d is too many: %+v", i, got[i])
		case !reflect.DeepEqual(got[i], want[i]):
			t.Errorf("step %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestChunkedPrefill(t *testing.T) {
	s := NewScheduler(small())
	add(t, s, 0,
		&Request{Owner: "A", PromptTokens: 5, Output: 2},
		&Request{Owner: "B", PromptTokens: 10, Output: 1},
		&Request{Owner: "C", PromptTokens: 1, Output: 1})
	compare(t, trace(s, 0), []told{
		// A whole, and of B what the budget of 8 leaves: 3.
		{18 * ms, Work{PrefillTokens: 8, PrefillSquared: 5*5 + 3*3, Sequences: 2}, []string{"A"}},
		// A decodes over 5; B's other 7 use up the budget, so C waits.
		{35 * ms, Work{PrefillTokens: 7, PrefillSquared: 10*10 - 3*3, ContextTokens: 5 + 3, Sequences: 2}, []string{"A!", "B!"}},
		{45 * ms, Work{Sequences: 1}, []string{"C!"}},
	})
}

func TestRequestsWaitForSequencesAndOverhead(t *testing.T) {
	c := small()
	c.MaxSeqs, c.Overhead = 1, 7*ms
	s := NewScheduler(c)
	a := &Request{Owner: "A", PromptTokens: 2, Output: 2}
	b := &Request{Owner: "B", PromptTokens: 2, Output: 1}
	add(t, s, 0, a)
	add(t, s, 1*ms, b)
	compare(t, trace(s, 0), []told{
		{19 * ms, Work{PrefillTokens: 2, PrefillSquared: 4, Sequences: 1}, []string{"A"}}, // from 7
		{29 * ms, Work{ContextTokens: 2, Sequences: 1}, []string{"A!"}},
		{41 * ms, Work{PrefillTokens: 2, PrefillSquared: 4, Sequences: 1}, []string{"B!"}},
	})
	if a.Scheduled != 7*ms || a.First != 19*ms || a.Last != 29*ms || b.Scheduled != 29*ms {
		t.Errorf("A from %v, first %v, last %v; B from %v", a.Scheduled, a.First, a.Last, b.Scheduled)
	}
}

func TestPrefixHit(t *testing.T) {
	c := small()
	c.PrefixCaching, c.MaxBatchedTokens = true, 100
	s := NewScheduler(c)
	add(t, s, 0, &Request{Owner: "A", Prompt: ids(1, 8), Output: 1})
	compare(t, trace(s, 0), []told{{18 * ms, Work{PrefillTokens: 8, PrefillSquared: 64, Sequences: 1}, []string{"A!"}}})

	same := &Request{Owner: "B", Prompt: ids(1, 8), Output: 1}
	longer := &Request{Owner: "C", Prompt: ids(1, 12), Output: 1}
	other := &Request{Owner: "D", Prompt: append([]uint32{99}, ids(2, 8)...), Output: 1}
	add(t, s, 0, same, longer, other)
	compare(t, trace(s, 0), []told{{
		// B: both blocks are known, but the last token is computed, and with it its block: 4 over 4.
		// C: two blocks known: 4 over 8. D differs in its first token: nothing known.
		26 * ms,
		Work{PrefillTokens: 4 + 4 + 8, PrefillSquared: (64 - 16) + (144 - 64) + 64, ContextTokens: 4 + 8, Sequences: 3},
		[]string{"B!", "C!", "D!"},
	}})
	if same.Cached != 4 || longer.Cached != 8 || other.Cached != 0 {
		t.Errorf("cached %d, %d, %d tokens; want 4, 8, 0", same.Cached, longer.Cached, other.Cached)
	}
	if st := s.Stats(); st.PrefixQueries != 8+8+12+8 || st.PrefixHits != 12 {
		t.Errorf("%d of %d tokens hit; want 12 of 36", st.PrefixHits, st.PrefixQueries)
	}

	if !s.ResetPrefixCache() {
		t.Fatal("an idle prefix cache could not be reset")
	}
	again := &Request{Owner: "E", Prompt: ids(1, 8), Output: 1}
	add(t, s, 0, again)
	trace(s, 0)
	if again.Cached != 0 {
		t.Errorf("%d tokens were cached after a reset", again.Cached)
	}
}

func TestLeastRecentlyUsedBlocksGoFirst(t *testing.T) {
	c := small()
	c.PrefixCaching, c.Blocks, c.MaxBatchedTokens = true, 4, 100
	s := NewScheduler(c)
	one := func(from, to uint32) *Request {
		r := &Request{Owner: "x", Prompt: ids(from, to), Output: 1}
		add(t, s, 0, r)
		trace(s, 0)
		return r
	}
	one(1, 8)     // two blocks
	one(101, 108) // the other two
	one(1, 8)     // uses the first two again
	one(201, 204) // must take the blocks of 101..108, its tail first
	if r := one(1, 8); r.Cached != 4 {
		t.Errorf("%d tokens of the recently used prompt were cached, want 4", r.Cached)
	}
	if r := one(101, 108); r.Cached != 0 {
		// Its first block went when 1..8 computed its last block anew.
		t.Errorf("%d tokens of the prompt used long ago were cached, want 0", r.Cached)
	}
}

func TestPreemption(t *testing.T) {
	c := small()
	c.Blocks, c.BlockSize, c.MaxBatchedTokens = 4, 2, 100
	s := NewScheduler(c)
	a := &Request{Owner: "A", PromptTokens: 3, Output: 5}
	b := &Request{Owner: "B", PromptTokens: 3, Output: 3}
	late := &Request{Owner: "C", PromptTokens: 1, Output: 1}
	add(t, s, 0, a, b, late)
	one := func(context int) Work { return Work{ContextTokens: context, Sequences: 1} }
	compare(t, trace(s, 0), []told{
		// All four blocks are taken by A and B; C, which needs one, waits.
		{16 * ms, Work{PrefillTokens: 6, PrefillSquared: 18, Sequences: 2}, []string{"A", "B"}},
		{26 * ms, Work{ContextTokens: 6, Sequences: 2}, []string{"A", "B"}},
		// A's fifth token needs a third block: B, the tail, goes. C could
		// have the free block, but nothing is admitted in such a step.
		{36 * ms, one(4), []string{"A"}},
		// B stands before C and needs three blocks, so C waits too.
		{46 * ms, one(5), []string{"A"}},
		{56 * ms, one(6), []string{"A!"}},
		// B starts over with prompt and two generated tokens; C follows.
		{71 * ms, Work{PrefillTokens: 5, PrefillSquared: 25, Sequences: 2}, []string{"B!", "C!"}},
	})
	if b.Preemptions != 1 || a.Preemptions != 0 || s.Stats().Preemptions != 1 {
		t.Errorf("preempted: A %d, B %d", a.Preemptions, b.Preemptions)
	}
	if b.First != 16*ms || b.Last != 71*ms || b.Generated != 3 {
		t.Errorf("B: first %v, last %v, %d tokens", b.First, b.Last, b.Generated)
	}
}
