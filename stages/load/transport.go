package load

import (
	"context"
	"net/http"
	"time"

	"vbp/stages/sample"
)

// Protocol names how the client measures, with a version that is raised when
// a change moves the numbers. It enters the keys of measured points.
const Protocol = "net/http 3"

// Transport sends the requests of a plan and reads their answers. It owns
// both, so that an event loop can implement it as well as goroutines can.
type Transport interface {
	// Protocol names the transport and the version of how it measures.
	Protocol() string
	// Run sends every request of the plan when it is due and returns when
	// the last answer has ended. It tells rec of each; a request that
	// fails is told as one that is done. The error says why not all
	// requests were sent and answered: ctx's, after cutting off what was in
	// flight, which is then not told as done, unless ctx's cause is an
	// *Aborted: then it is, as a failure.
	Run(ctx context.Context, plan Plan, rec Recorder) (Stats, error)
}

// Limits that all transports keep: connections and refusals that were treated
// otherwise would make the same server another one.
const (
	// IdleLimit is how long a connection is kept that nobody uses: servers
	// on uvicorn close theirs after 5 s, and one that is being closed while
	// a request is written to it fails the request, so we let go first.
	IdleLimit = 4 * time.Second
	// DialLimit is how long a connection may take to come about.
	DialLimit = 30 * time.Second
	// DrainLimit is how long the rest of a response is waited for once its
	// answer is known: with it the connection can be used again.
	DrainLimit = time.Second
	// MostRefusal is how much is read of the body of an error, in bytes.
	MostRefusal = 64 << 10
)

// Plan is what a transport is asked to do.
type Plan struct {
	URL     string
	Header  http.Header // of every request, each field as CheckHeader wants it; not to be changed
	Timeout time.Duration
	At      []time.Duration // when request i is due, from the start; never decreasing
	Limit   int             // most requests in flight at a time, those above wait in their order; 0: no limit
	Until   time.Duration   // those that still wait so long after the start are never sent; 0: all are

	// Begin starts the clock of the point and returns the instant from which
	// all others are counted. A transport calls it once, when nothing is left
	// to be done but to send.
	Begin func() time.Time
	// MaxTokens is that of request i, without rendering it.
	MaxTokens func(i int) int

	// Request returns request i. It is cheap and safe for concurrent use.
	// It is a function so that a point of a million requests need not hold
	// a million bodies.
	Request func(i int) Request
}

// Request is one request of a plan.
type Request struct {
	ID        string // sent as X-Request-Id
	Body      []byte // JSON; not to be changed
	MaxTokens int    // most tokens that its answer can have
}

// Recorder is told what happens, in nanoseconds from the plan's start. It is
// safe for concurrent use and does not block.
type Recorder interface {
	Sent(i int, at int64)                    // request i is about to be written, for the first time
	First(i int, at int64)                   // its first token came
	Done(i int, at int64, o *sample.Outcome) // all is known of it; o is the caller's again afterwards, with its Gaps
}

// Stats is what a transport knows of a run as a whole. What it does not know is
// NaN, or 0 where 0 cannot be.
type Stats struct {
	Reads   int64 // reads of answers that returned data
	Resent  int64 // times that a request was sent again, its connection having been closed before any answer
	Streams int   // most requests in flight at a time
	Conns   int   // most connections open at a time
	Dropped int   // requests that still waited at Plan.Until
	Starved int64 // requests that failed since this machine had no local port or no open file left for them

	// Busy is the share of the time in which the busiest event loop did not
	// wait for something to do, in [0, 1]: near 1 it could do no more. NaN
	// for a transport without one.
	Busy float64
	// ReadLag is how long bytes had been in this machine when they were
	// read, by the kernel's receive times, in ns; zero Count: not known.
	ReadLag Lags
	Notes   []string // what a person should know of how it went
}

// Lags are quantiles of a number of delays, in ns.
type Lags struct {
	Count         int64
	P50, P99, Max int64
}
