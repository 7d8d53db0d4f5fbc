package engine

import "time"

// Request is one completion as the scheduler sees it. The caller fills the
// first group of fields, hands it to Scheduler.Add once, and from then on
// uses the pointer as its name. The second group is written by the scheduler.
// All instants are on the caller's clock, the one that Add and Next are told.
type Request struct {
	Prompt       []uint32 // token ids; nil: a prompt of PromptTokens tokens that shares nothing with others
	PromptTokens int      // set from Prompt if that is given
	Output       int      // tokens to generate, at least 1
	Seed         uint64   // identity of the generated tokens: equal prompt and seed mean equal text
	External     int      // tokens at the beginning of the prompt whose KV a shared cache holds
	RemoteKV     bool     // the prompt's KV is fetched from another instance (do_remote_prefill)
	Hold         bool     // keep the KV after the end, for another instance to fetch (do_remote_decode)
	Owner        any      // the caller's own; the scheduler does not look at it

	Arrival     time.Duration // when it was added
	Scheduled   time.Duration // start of the first step it was part of
	First       time.Duration // end of the step that gave its first token
	Last        time.Duration // end of the step that gave its latest token
	Generated   int           // tokens given so far
	Loaded      int           // prompt tokens found outside at first admission
	Cached      int           // prompt tokens found in the prefix cache at first admission
	Preemptions int           // times it was thrown out and had to start over
	Transferred int64         // bytes of KV fetched from another instance
	TransferFor time.Duration // how long that took

	state      state
	ready      time.Duration // arrival plus the frontend's time: may be scheduled from then on
	deadline   time.Duration // end of its transfer, or of its lease
	computed   int           // tokens whose KV is in its blocks
	registered int           // blocks made findable by content
	admitted   bool          // its prefix lookup has been counted
	started    bool          // Scheduled is set
	fetched    bool          // its remote KV has been asked for; a preempted one computes it itself
	blocks     []int32
	hashes     []uint64
}

// state is where a request is. Blocks are owned in running, fetching and
// holding only.
type state uint8

const (
	fresh    state = iota // not added
	waiting               // in the queue
	fetching              // blocks reserved, its remote KV on the way or just arrived
	running               // in the batch
	holding               // done, its blocks kept until read
	ended
)

// total is the number of tokens that must be computed before the next token
// comes out.
func (r *Request) total() int { return r.PromptTokens + r.Generated }

// Ended tells whether all tokens were given or the request was cancelled.
func (r *Request) Ended() bool { return r.state == ended || r.state == holding }

// hash is the content of the request's block i and of all before it: a chain
// over the token ids. The ids of generated tokens follow from the seed and
// the position, so the seed stands for them.
func (r *Request) hash(i, blockSize int) uint64 {
	for len(r.hashes) <= i {
		n := len(r.hashes)
		h := uint64(0x76627031) // any constant
		if n > 0 {
			h = r.hashes[n-1]
		}
		from, to := n*blockSize, (n+1)*blockSize
		for _, id := range r.Prompt[min(from, len(r.Prompt)):min(to, len(r.Prompt))] {
			h = mix(h, uint64(id))
		}
		if to > len(r.Prompt) {
			// Shifted out of the range of ids, so that no id looks like it.
			h = mix(h, r.Seed|1<<63)
		}
		r.hashes = append(r.hashes, h)
	}
	return r.hashes[i]
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	Token       EventKind = iota // one token came out; Done if it was the last
	Transferred                  // the remote KV is here and the other side may let go of it
	Expired                      // held KV was not read before its lease ended
)

// Event is something that happened to a request.
type Event struct {
	Request *Request
	Kind    EventKind
	Done    bool
	At      time.Duration
}
