package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vbp/stages/load/answer"
	"vbp/stages/sample"
)

// readBuffer is the size of one read of an answer. The events of some sixteen
// tokens fit; a larger one would only cost memory, which many streams
// multiply.
const readBuffer = 8 << 10

// errTimeout is the cause of a request's end when its time ran out.
var errTimeout = errors.New("timeout")

// HTTP is the Transport over net/http: a goroutine for every stream. It works
// on every system and with https.
type HTTP struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	waiter func(ctx context.Context) waiter
}

// NewHTTP returns a transport. It holds nothing between runs.
func NewHTTP() *HTTP {
	return &HTTP{dial: (&net.Dialer{Timeout: DialLimit}).DialContext, waiter: newWaiter}
}

// Protocol implements Transport.
func (h *HTTP) Protocol() string { return Protocol }

// Run implements Transport. Each run opens its own connections and closes
// them, so that no point inherits another's.
func (h *HTTP) Run(ctx context.Context, plan Plan, rec Recorder) (Stats, error) {
	// net/http lets a dial go on when its request has ended; over ends it
	// with the run.
	over, finish := context.WithCancel(ctx)
	defer finish()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // one connection a stream; HTTP/2 would queue all on one
	open := &conns{}
	client := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(over, cancel)()
			c, err := h.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return open.count(c), nil
		},
		Protocols:           protocols,
		DisableCompression:  true, // a compressor holds events back
		MaxIdleConnsPerHost: 1 << 20,
		IdleConnTimeout:     IdleLimit,
		ReadBufferSize:      readBuffer,
		WriteBufferSize:     16 << 10, // a request with a usual prompt leaves in one piece
	}
	defer client.CloseIdleConnections()
	r := &httpRun{plan: plan, rec: rec, client: client}
	r.slots = newSlots(plan.Limit, plan.Until, r.now)
	w := h.waiter(ctx)
	defer w.close()
	var streams sync.WaitGroup
	var next prepared
	r.start = plan.Begin()
	n := pace(ctx, w, r.start, plan.At,
		func(i int) { next = r.prepare(i) },
		func(i int) bool {
			p := next
			waited, ok := r.slots.take(ctx, int64(plan.At[i]))
			if !ok {
				return false
			}
			streams.Go(func() { r.stream(ctx, i, p, waited) })
			return true
		})
	streams.Wait()
	stats := Stats{
		Reads: r.reads.Load(), Resent: r.resent.Load(),
		Streams: r.slots.mostTaken(), Conns: open.mostOpen(), Starved: r.starved.Load(), Busy: math.NaN(),
	}
	if n < len(plan.At) && ctx.Err() == nil {
		stats.Dropped = len(plan.At) - n
		n = len(plan.At)
	}
	if n < len(plan.At) || r.cut.Load() > 0 {
		return stats, ctx.Err()
	}
	return stats, nil
}

// httpRun is one run of HTTP.
type httpRun struct {
	plan    Plan
	start   time.Time
	rec     Recorder
	client  *http.Transport
	slots   *slots
	reads   atomic.Int64
	resent  atomic.Int64 // times that a request was sent again
	starved atomic.Int64 // requests that this machine had no port or file for
	cut     atomic.Int64 // requests that were cut off with the run
}

// answers are reused, with their buffers.
var answers = sync.Pool{New: func() any { return &pooled{} }}

type pooled struct {
	answer.Answer
	buffer [readBuffer]byte
}

// now is the instant in nanoseconds from the start of the point.
func (r *httpRun) now() int64 { return int64(time.Since(r.start)) }

// prepared is a request that waits for its time.
type prepared struct {
	request   *http.Request
	maxTokens int
	err       error // why there is no request
}

func (r *httpRun) prepare(i int) prepared {
	q := r.plan.Request(i)
	req, err := http.NewRequest(http.MethodPost, r.plan.URL, bytes.NewReader(q.Body))
	if err != nil {
		return prepared{err: err}
	}
	req.Header = r.plan.Header.Clone()
	req.Header.Set("X-Request-Id", q.ID)
	// A connection that was kept may have been closed by the server just
	// now: llama.cpp's does so after every stream. net/http then sends the
	// request again, on another one, if it may: if it is idempotent, which
	// this header says to net/http, being empty, and to nobody else. It never
	// does so on a new connection or once an answer has begun. The request
	// counts as sent when it first was: a server may have held it for long
	// before it dropped it, and that time is the server's.
	if req.Header.Get("Idempotency-Key") == "" {
		req.Header["Idempotency-Key"] = nil
	}
	req.Host = req.Header.Get("Host") // "": that of the address
	return prepared{request: req, maxTokens: q.MaxTokens}
}

// stream sends one request, which has waited for a slot for some ns, and reads
// its answer to the end.
func (r *httpRun) stream(run context.Context, i int, p prepared, waited int64) {
	a := answers.Get().(*pooled)
	defer answers.Put(a)
	a.Start(r.now(), p.maxTokens)
	if r.plan.Limit > 0 {
		a.Out.SlotWait = float64(waited) / 1e9
	}
	ctx, release := context.WithTimeoutCause(run, r.plan.Timeout, errTimeout)
	defer release()
	told := 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if told++; told > 1 {
			r.resent.Add(1)
			return
		}
		// From here to the write is a hand-over to the connection's own
		// goroutine. Finding the connection came before: it is part of the
		// lag, not of the server's time to the first token.
		a.Out.Sent = r.now()
		r.rec.Sent(i, a.Out.Sent)
	}}
	var resp *http.Response
	err := p.err
	if err == nil {
		resp, err = r.client.RoundTrip(p.request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	}
	if told == 0 {
		r.rec.Sent(i, a.Out.Sent)
	}
	if err != nil {
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			r.starved.Add(1)
		}
		r.end(run, ctx, i, a, sample.ConnectError, err)
		return
	}
	defer resp.Body.Close()
	if !a.Head(resp.StatusCode, resp.Header.Get) {
		var body []byte
		var err error
		// What follows another protocol's 101 is no body, and net/http would
		// wait for it without a look at the context.
		if resp.StatusCode != http.StatusSwitchingProtocols {
			body, err = io.ReadAll(io.LimitReader(resp.Body, MostRefusal))
		}
		if err == nil || run.Err() == nil || AbortOf(run) != nil {
			a.Refuse(body) // with as much of its body as came
		}
		r.end(run, ctx, i, a, "", err)
		return
	}
	for more := true; more; {
		n, err := resp.Body.Read(a.buffer[:])
		at := r.now()
		if n > 0 {
			r.reads.Add(1)
			before := a.Out.FirstToken
			more = a.Feed(a.buffer[:n], at)
			if before != a.Out.FirstToken {
				r.rec.First(i, at)
			}
		}
		if err != nil && more {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if err == nil || ctx.Err() == nil {
				a.Closed(err, at)
			}
			r.end(run, ctx, i, a, "", err)
			return
		}
	}
	r.end(run, ctx, i, a, "", nil)
	// The connection can be used again once its answer is read to the end,
	// which follows [DONE] at once. Where it does not, the connection goes.
	if a.Out.Outcome == sample.OK {
		patience := time.AfterFunc(DrainLimit, release)
		defer patience.Stop()
		io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	}
}

// end records the outcome of request i. If the answer has not settled it, err
// ended it: because the time ran out, because the server's end cut it off,
// because somebody else cut the run off, which says nothing of the server and
// is not recorded, or as the given outcome. The run's context is asked whether
// it was cut off, and not the request's below it, which may learn of it later
// than the dial does.
func (r *httpRun) end(run, ctx context.Context, i int, a *pooled, outcome string, err error) {
	defer r.slots.give() // once it is recorded
	if !a.Settled() {
		aborted := AbortOf(run)
		switch {
		case errors.Is(context.Cause(ctx), errTimeout):
			a.TimedOut(r.plan.Timeout)
		case aborted != nil:
			r.cut.Add(1)
			a.ServerEnded(aborted, r.now())
		case run.Err() != nil:
			r.cut.Add(1)
			return
		case outcome != "":
			a.Fail(outcome, "%w", err)
		}
	}
	r.rec.Done(i, r.now(), &a.Out)
}
