package engine

import (
	"math"
	"time"
)

// Work is what one step computes.
//
// A request that computes n tokens after k already computed ones adds
//
//	n > 1 (a prefill or a chunk of one): n to PrefillTokens, (k+n)^2 - k^2 to PrefillSquared
//	n = 1 (a decode):                    nothing to either
//	always:                              k to ContextTokens, 1 to Sequences
//
// Causal attention of positions k+1 to k+n looks at ((k+n)^2 - k^2)/2 pairs,
// so a prompt of L tokens adds L^2 in all, however it is cut into chunks.
// ContextTokens counts the tokens whose KV is read from memory. Splitting at
// n = 1 is what attention kernels do too: single queries are bound by memory.
type Work struct {
	PrefillTokens  int
	PrefillSquared float64
	ContextTokens  int
	Sequences      int
}

// add counts n tokens of one request that has k computed ones.
func (w *Work) add(k, n int) {
	if n > 1 {
		w.PrefillTokens += n
		w.PrefillSquared += float64(n) * float64(2*k+n)
	}
	w.ContextTokens += k
	w.Sequences++
}

// StepTime is the latency model of one step, linear in its work (the form of
// DistServe's simulator, Zhong et al., OSDI 2024, appendix, with prefill and
// decode in one step):
//
//	Base + PrefillToken*prefill tokens + ContextToken*context tokens
//	     + Sequence*sequences + PrefillSquared*sum of squared prefill lengths
//
// All coefficients are in seconds.
type StepTime struct {
	Base           float64
	PrefillToken   float64
	ContextToken   float64
	Sequence       float64
	PrefillSquared float64
}

// Of is how long a step with that work takes.
func (t StepTime) Of(w Work) time.Duration {
	s := t.Base +
		t.PrefillToken*float64(w.PrefillTokens) +
		t.ContextToken*float64(w.ContextTokens) +
		t.Sequence*float64(w.Sequences) +
		t.PrefillSquared*w.PrefillSquared
	return seconds(s)
}

// seconds turns a number of seconds into a Duration, to the nearest
// nanosecond. Absurd ones become 73 years, short enough to be added to an
// instant.
func seconds(s float64) time.Duration {
	const longest = 1 << 61
	return time.Duration(min(math.Round(s*1e9), longest))
}
