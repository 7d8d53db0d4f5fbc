package engine

import (
	"fmt"
	"time"
)

// Config is everything that the scheduler's behaviour depends on.
type Config struct {
	Blocks           int  // KV blocks of the instance
	BlockSize        int  // tokens in a block
	MaxBatchedTokens int  // tokens computed in one step, at most
	MaxSeqs          int  // requests in the batch, at most
	MaxModelLen      int  // tokens of prompt and output together, at most
	PrefixCaching    bool // find blocks of equal content

	StepTime         StepTime
	Overhead         time.Duration // from arrival until a request may be scheduled: parsing, tokenising, hand-over
	KVBytesPerToken  float64
	TransferLatency  time.Duration // of fetching the KV of one request
	TransferBytesPer float64       // bytes/s of fetching; 0: no limit
	Lease            time.Duration // how long KV that waits to be fetched is held
	Connector        bool          // every prompt is looked up outside, too, as the counters tell
}

// Stats is the state of a scheduler and what it counted since it was made.
type Stats struct {
	Running, Waiting, Fetching, Holding int // requests
	FreeBlocks, Blocks                  int

	Steps            int64
	Preemptions      int64
	PromptTokens     int64 // of requests that gave a token
	PromptCached     int64 // of them, found in the prefix cache
	PromptLoaded     int64 // of them, found outside
	GeneratedTokens  int64
	PrefixQueries    int64 // prompt tokens looked up in the prefix cache, once a request
	PrefixHits       int64 // of them, found
	ExternalQueries  int64 // prompt tokens that were not found here and looked up outside: in another instance or a shared cache
	ExternalHits     int64 // of them, found
	Transfers        int64
	TransferredBytes int64
	ExpiredHolds     int64
}

// Step is one forward pass of the model.
type Step struct {
	Start, End time.Duration
	Work       Work
	Load       time.Duration // copying KV in from a shared cache, which the whole batch waits for
	Decodes    int           // requests that computed one token
}

// Tokens is the number of tokens computed.
func (s Step) Tokens() int { return s.Work.PrefillTokens + s.Decodes }

// Scheduler is a continuous-batching scheduler after vLLM's v1, as a pure
// state machine: it is told the time and says what happens next. It has no
// clock, starts no goroutine and is not safe for concurrent use. One step is
// open at a time:
//
//	Add(now, r)  a request arrives
//	Next(now)    opens the step that starts now, if there is anything to do
//	Finish()     closes it, at its End: the tokens it gave
//	Wake(now)    when Next had nothing: the next instant at which it may
//
// A step has no phases. Each request in the batch catches up from its
// computed tokens to all of its tokens, running requests first, in the order
// of their admission, then those whose KV has arrived from elsewhere, then
// waiting ones, first come first served, as far as the token budget and the
// blocks go; the last prompt admitted is cut to what is left of the budget. A
// running request that gets no block throws out the tail of the batch, which
// starts over at the head of the queue; in such a step nothing is admitted.
type Scheduler struct {
	cfg      Config
	pool     *blockPool
	waiting  queue
	nWaiting int
	running  []*Request
	fetching []*Request
	holding  []*Request // in the order of their leases' ends

	open   bool
	step   Step
	pieces []piece
	events []Event
	hits   []int32
	spare  [][]int32  // block lists of ended requests
	chains [][]uint64 // their hash chains
	stats  Stats
}

// piece is the part of a request in the open step.
type piece struct {
	r *Request
	n int
}

// NewScheduler returns a scheduler without requests. Numbers below 1 are
// taken as 1, so that every request that Add accepts comes to its end.
func NewScheduler(c Config) *Scheduler {
	c.Blocks, c.BlockSize = max(1, c.Blocks), max(1, c.BlockSize)
	c.MaxBatchedTokens, c.MaxSeqs = max(1, c.MaxBatchedTokens), max(1, c.MaxSeqs)
	if capacity := c.Blocks * c.BlockSize; c.MaxModelLen < 1 || c.MaxModelLen > capacity {
		c.MaxModelLen = capacity
	}
	return &Scheduler{cfg: c, pool: newBlockPool(c.Blocks)}
}

// fits tells why a request can never be served, if so.
func (c *Config) fits(prompt, output int) error {
	switch {
	case prompt < 1:
		return fmt.Errorf("the prompt is empty; send at least one token")
	case output < 1:
		return fmt.Errorf("%d output tokens are asked for; ask for at least one", output)
	case output > c.MaxModelLen || prompt > c.MaxModelLen-output:
		return fmt.Errorf("this model's maximum context length is %d tokens, but %d of the prompt and %d to generate were asked for; shorten one of them",
			c.MaxModelLen, prompt, output)
	}
	return nil
}

// Add queues a request that arrives now. It is an error if the request could
// never be served: no prompt, no output, or more tokens of both together
// than the model's length or the KV cache allows.
func (s *Scheduler) Add(now time.Duration, r *Request) error {
	if r.state != fresh {
		return fmt.Errorf("the request was added before; make a new one")
	}
	if r.Prompt != nil {
		r.PromptTokens = len(r.Prompt)
	}
	if err := s.cfg.fits(r.PromptTokens, r.Output); err != nil {
		return err
	}
	r.Arrival, r.ready = now, now+s.cfg.Overhead
	r.state = waiting
	s.waiting.pushBack(r)
	s.nWaiting++
	return nil
}

// Finish closes the open step at its end and returns its tokens. The slice
// is valid until the next call of Next or Finish.
func (s *Scheduler) Finish() []Event {
	s.events = s.events[:0]
	if !s.open {
		return nil
	}
	s.open = false
	now, over := s.step.End, false
	for _, p := range s.pieces {
		r := p.r
		if r.state != running { // cancelled in mid-step
			continue
		}
		if r.computed += p.n; r.computed < r.total() {
			continue // a chunk of a prompt
		}
		if r.Generated == 0 {
			r.First = now
			s.stats.PromptTokens += int64(r.PromptTokens)
			s.stats.PromptCached += int64(r.Cached)
			s.stats.PromptLoaded += int64(r.Loaded)
		}
		r.Generated++
		r.Last = now
		s.stats.GeneratedTokens++
		done := r.Generated == r.Output
		if done {
			over = true
			s.end(r, now)
		}
		s.events = append(s.events, Event{Request: r, Kind: Token, Done: done, At: now})
	}
	if over {
		s.running = keep(s.running, running)
	}
	clear(s.pieces) // the requests may be the last thing that refers to large prompts
	s.pieces = s.pieces[:0]
	return s.events
}

// end takes a request that gave all its tokens out of service. The caller
// drops it from the running list.
func (s *Scheduler) end(r *Request, now time.Duration) {
	if !r.Hold {
		s.release(r)
		r.state = ended
		return
	}
	r.state = holding
	r.deadline = now + s.cfg.Lease
	s.holding = append(s.holding, r)
}

// Release lets go of the blocks that a finished request holds for another
// instance. It tells whether they were still held.
func (s *Scheduler) Release(r *Request) bool {
	if r.state != holding {
		return false
	}
	s.release(r)
	r.state = ended
	s.holding = keep(s.holding, holding)
	return true
}

// Cancel ends a request wherever it is, and frees its blocks; a request that
// ended is left as it is. Blocks that a finished one holds are freed too.
func (s *Scheduler) Cancel(r *Request) {
	was := r.state
	if was == fresh || was == ended {
		return
	}
	s.release(r)
	r.state = ended
	switch was {
	case waiting: // the queue drops it when it gets there
		s.nWaiting--
	case running:
		s.running = keep(s.running, running)
	case fetching:
		s.fetching = keep(s.fetching, fetching)
	case holding:
		s.holding = keep(s.holding, holding)
	}
}

// keep drops from a list, in place, the requests that are in another state.
func keep(list []*Request, want state) []*Request {
	kept := list[:0]
	for _, r := range list {
		if r.state == want {
			kept = append(kept, r)
		}
	}
	clear(list[len(kept):])
	return kept
}

// ResetPrefixCache forgets the content of all blocks. It refuses, as vLLM
// does, while a request is running, fetching or holding.
func (s *Scheduler) ResetPrefixCache() bool { return s.pool.forget() }

// BlockIDs appends the blocks that a request owns.
func (s *Scheduler) BlockIDs(to []int32, r *Request) []int32 { return append(to, r.blocks...) }

// Config is what the scheduler works by, with impossible numbers mended.
func (s *Scheduler) Config() Config { return s.cfg }

// Stats tells the present state and the counts.
func (s *Scheduler) Stats() Stats {
	st := s.stats
	st.Running, st.Waiting = len(s.running), s.nWaiting
	st.Fetching, st.Holding = len(s.fetching), len(s.holding)
	st.FreeBlocks, st.Blocks = s.pool.free, len(s.pool.refs)
	return st
}
