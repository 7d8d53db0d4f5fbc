package engine

import (
	"testing"
)

func TestRemoteWait(t *testing.T) {
	c := small()
	c.KVBytesPerToken, c.TransferLatency, c.TransferBytesPer = 1000, 5*ms, 1e6
	s := NewScheduler(c)
	remote := &Request{Owner: "R", PromptTokens: 8, Output: 2, RemoteKV: true}
	add(t, s, 0, remote)
	if _, _, ok := s.Next(0); ok {
		t.Fatal("a request without its KV was scheduled")
	}
	if st := s.Stats(); st.FreeBlocks != 98 || st.Fetching != 1 || st.Waiting != 0 {
		t.Errorf("while fetching: %+v", st)
	}
	// 5 ms and 8000 bytes at 1 MB/s.
	if at, ok := s.Wake(0); !ok || at != 13*ms {
		t.Fatalf("woken at %v, %v; want 13ms", at, ok)
	}
	// Others are not held up by it.
	local := &Request{Owner: "L", PromptTokens: 3, Output: 2}
	add(t, s, 1*ms, local)
	step, _, _ := s.Next(1 * ms)
	if step.End != 14*ms || len(s.Finish()) != 1 {
		t.Fatalf("the local request's step ends at %v", step.End)
	}
	step, events, _ := s.Next(14 * ms)
	if len(events) != 1 || events[0].Kind != Transferred || events[0].At != 13*ms {
		t.Fatalf("events %+v", events)
	}
	// All but the last prompt token are there: one token over 7.
	if want := (Work{ContextTokens: 3 + 7, Sequences: 2}); step.Work != want {
		t.Errorf("work %+v, want %+v", step.Work, want)
	}
	if n := len(s.Finish()); n != 2 {
		t.Errorf("%d tokens, want one of each", n)
	}
	trace(s, step.End)
	if remote.Transferred != 8000 || remote.TransferFor != 13*ms || remote.Generated != 2 {
		t.Errorf("%d bytes in %v, %d tokens", remote.Transferred, remote.TransferFor, remote.Generated)
	}
}

// A request that was thrown out after its KV had come from elsewhere computes
// it itself.
func TestPreemptedRemoteIsLocal(t *testing.T) {
	c := small()
	c.Blocks, c.BlockSize = 4, 2
	s := NewScheduler(c)
	add(t, s, 0,
		&Request{Owner: "A", PromptTokens: 3, Output: 5},
		&Request{Owner: "R", PromptTokens: 3, Output: 3, RemoteKV: true})
	one := func(context int) Work { return Work{ContextTokens: context, Sequences: 1} }
	compare(t, trace(s, 0), []told{
		{13 * ms, Work{PrefillTokens: 3, PrefillSquared: 9, Sequences: 1}, []string{"A"}},
		{23 * ms, Work{ContextTokens: 3 + 2, Sequences: 2}, []string{"A", "R"}},
		{33 * ms, one(4), []string{"A"}}, // takes R's blocks
		{43 * ms, one(5), []string{"A"}},
		{53 * ms, one(6), []string{"A!"}},
		{67 * ms, Work{PrefillTokens: 4, PrefillSquared: 16, Sequences: 1}, []string{"R"}},
		{77 * ms, one(4), []string{"R!"}},
	})
	if st := s.Stats(); st.Transfers != 1 || st.Preemptions != 1 {
		t.Errorf("%d transfers, %d preemptions", st.Transfers, st.Preemptions)
	}
}

func TestHoldUntilReleaseOrLease(t *testing.T) {
	c := small()
	c.Lease = 30 * ms
	s := NewScheduler(c)
	read := &Request{Owner: "A", PromptTokens: 4, Output: 1, Hold: true}
	unread := &Request{Owner: "B", PromptTokens: 3, Output: 1, Hold: true}
	add(t, s, 0, read, unread)
	s.Next(0)
	s.Finish() // at 17 ms
	if st := s.Stats(); st.Holding != 2 || st.FreeBlocks != 98 || !read.Ended() {
		t.Errorf("after the end: %+v", st)
	}
	if s.ResetPrefixCache() {
		t.Error("the prefix cache was reset under held blocks")
	}
	if !s.Release(read) || s.Release(read) {
		t.Error("held blocks can be released once")
	}
	if at, ok := s.Wake(17 * ms); !ok || at != 47*ms {
		t.Errorf("woken at %v, want 47ms", at)
	}
	if _, events, ok := s.Next(47 * ms); ok || len(events) != 1 || events[0].Kind != Expired || events[0].Request != unread {
		t.Errorf("at the end of the lease: %+v", events)
	}
	if st := s.Stats(); st.ExpiredHolds != 1 || st.FreeBlocks != 100 || s.Release(unread) {
		t.Errorf("after the lease: %+v", st)
	}
}

// What a shared cache holds is copied in as part of the step, which is that
// much longer for all in it.
func TestSharedCacheLoad(t *testing.T) {
	c := small()
	c.KVBytesPerToken, c.TransferLatency, c.TransferBytesPer, c.PrefixCaching = 1000, 5*ms, 1e6, true
	s := NewScheduler(c)
	hit := &Request{Owner: "H", Prompt: ids(1, 12), Output: 2, External: 8}
	whole := &Request{Owner: "W", Prompt: ids(101, 108), Output: 1, External: 8}
	add(t, s, 0, hit, whole)
	compare(t, trace(s, 0), []told{
		// H: 8 of 12 tokens are loaded in 5 + 8 ms, 4 computed. W: all of the
		// 8 are there, but the last is computed in any case: 7 in 5 + 7 ms,
		// and one like a decode.
		{(10 + 4 + 13 + 12) * ms, Work{PrefillTokens: 4, PrefillSquared: 12*12 - 8*8, ContextTokens: 8 + 7, Sequences: 2}, []string{"H", "W!"}},
		{(39 + 10) * ms, Work{ContextTokens: 12, Sequences: 1}, []string{"H!"}},
	})
	if st := s.Stats(); st.ExternalQueries != 20 || st.ExternalHits != 15 || st.PrefixQueries != 20 || st.PrefixHits != 0 ||
		st.PromptTokens != 20 || st.PromptLoaded != 15 || st.PromptCached != 0 || st.FreeBlocks != 100 {
		t.Errorf("%+v", st)
	}
	// Now it is in the prefix cache here; only what that lacks comes from
	// outside, and is asked for there.
	add(t, s, 100*ms, &Request{Owner: "A", Prompt: ids(1, 12), Output: 1, External: 12})
	compare(t, trace(s, 100*ms), []told{
		{(100 + 10 + 5 + 3) * ms, Work{ContextTokens: 11, Sequences: 1}, []string{"A!"}},
	})
	if st := s.Stats(); st.ExternalQueries != 24 || st.ExternalHits != 18 || st.PrefixHits != 8 {
		t.Errorf("%+v", st)
	}
}
