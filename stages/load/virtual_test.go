package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// These tests run the whole of load in a bubble of synctest, over pipes
// instead of sockets, against a server that sleeps between tokens: time is
// virtual there, so that what is measured must be exact.

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	dialed int
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		p.dialed++
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// virtual calls test in a bubble, with a transport that reaches handler.
func virtual(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, h *HTTP, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server := &http.Server{Handler: handler}
		ended := make(chan struct{})
		go func() {
			server.Serve(p)
			close(ended)
		}()
		test(t, &HTTP{dial: p.dial, waiter: func(ctx context.Context) waiter { return newSleeper(ctx, 0) }}, p)
		server.Close()
		<-ended
	})
}

// point is n requests, one every 100 ms, the first at once.
func point(n int) Config {
	c := Config{Target: Target{URL: "http://localhost:1", Model: "m"}, API: Completions, Timeout: 10 * time.Second, IDPrefix: "p"}
	var prompts workload.List
	for i := range n {
		prompts = append(prompts, workload.Prompt{Text: fmt.Sprint("prompt ", i), MaxTokens: 5})
		c.Arrivals = append(c.Arrivals, time.Duration(i)*100*time.Millisecond)
	}
	c.Prompts = prompts
	return c
}

// send writes events and flushes them.
func send(w http.ResponseWriter, events ...string) {
	io.WriteString(w, stream(events...))
	w.(http.Flusher).Flush()
}

func TestMeasuresExactly(t *testing.T) {
	const first, gap = 70 * time.Millisecond, 4 * time.Millisecond
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Vbp-Fallback", "0")
		time.Sleep(first)
		send(w, text("a"))
		for range 3 { // two tokens in each of these events: 7 in all
			time.Sleep(gap)
			send(w, text("b c"))
		}
		time.Sleep(gap)
		send(w, stop)
		time.Sleep(gap)
		send(w, `{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}`)
		send(w, done)
	}, func(t *testing.T, h *HTTP, p *pipes) {
		var events []Event
		before := time.Now()
		table, err := Run(t.Context(), point(3), h, func(e Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		for i := range table.Len() {
			o := table.Row(i)
			start := int64(i) * 100e6
			if o.ID != RequestID("p", i) || o.Outcome != sample.OK || o.Scheduled != start || o.Sent != start {
				t.Errorf("row %d: %+v", i, o)
			}
			if o.FirstToken != start+70e6 || o.LastToken != start+82e6 || o.Events != 4 || !slices.Equal(o.Gaps, []int32{4000, 4000, 4000}) {
				t.Errorf("row %d: %+v", i, o)
			}
			// TPOT is 3 gaps of 4 ms over 7 - 1 tokens; the end is the
			// finish, one gap after the last token.
			if near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }; !near(o.TTFT, 0.07) || !near(o.TPOT, 0.002) || !near(o.E2E, 0.086) {
				t.Errorf("row %d: TTFT %v, TPOT %v, E2E %v", i, o.TTFT, o.TPOT, o.E2E)
			}
			if o.PromptTokens != 11 || o.OutputTokens != 7 || o.Status != 200 || o.Fallback != 0 || o.Finish != "stop" {
				t.Errorf("row %d: %+v", i, o)
			}
		}
		m := table.Meta
		if m.Start != before.UnixNano() || m.Length != 0.29 || m.Extra["client"] != Protocol || m.Extra["output_tokens"] != "" {
			t.Errorf("meta: %+v", m)
		}
		if f := m.Facts; f["sent"] != 3 || f["schedule_kept"] != 1 || f["send_lag_max_ms"] != 0 || f["achieved_qps"] != 10 || f["failed"] != 0 {
			t.Errorf("facts: %v", f)
		}
		// Each answer ended before the next request: one connection serves all.
		if p.dialed != 1 {
			t.Errorf("%d connections for 3 requests in sequence", p.dialed)
		}
		var told []string
		for _, e := range events {
			told = append(told, fmt.Sprint(e.Index, " ", e.Kind, " ", e.At))
			if e.Kind == Done && (e.Outcome.ID != table.ID[e.Index] || e.Outcome.TTFT != table.TTFT[e.Index]) {
				t.Errorf("event %+v is not row %+v", e.Outcome, table.Row(e.Index))
			}
		}
		want := []string{
			"0 sent 0s", "0 first 70ms", "0 done 90ms", "1 sent 100ms", "1 first 170ms", "1 done 190ms",
			"2 sent 200ms", "2 first 270ms", "2 done 290ms",
		}
		if !slices.Equal(told, want) {
			t.Errorf("events %q, want %q", told, want)
		}
	})
}

func TestTokensAreCountedWhereUsageIsMissing(t *testing.T) {
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		send(w, text("a"), text("b"), text("c"))
		time.Sleep(10 * time.Millisecond)
		send(w, text("d"), stop)
	}, func(t *testing.T, h *HTTP, _ *pipes) {
		table, err := Run(t.Context(), point(2), h, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o := table.Row(0); o.OutputTokens != 4 || math.Abs(o.TPOT-0.01/3) > 1e-12 {
			t.Errorf("%d tokens, TPOT %v", o.OutputTokens, o.TPOT)
		}
		if got := table.Meta.Extra["output_tokens"]; got != "counted from events for 2 requests" {
			t.Errorf("it says %q", got)
		}
		if got := table.Meta.Facts["events_per_read"]; got != 2 {
			t.Errorf("%v events a read, want 4 in 2", got)
		}
	})
}

func TestTimeouts(t *testing.T) {
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "prompt 0"): // never answers
		case strings.Contains(string(body), "prompt 1"): // stops in the middle
			send(w, text("a"))
		case strings.Contains(string(body), "prompt 2"): // refuses, and hangs
			w.WriteHeader(503)
			send(w, "busy")
		}
		<-r.Context().Done()
	}, func(t *testing.T, h *HTTP, _ *pipes) {
		c := point(3)
		c.Timeout = time.Second
		table, err := Run(t.Context(), c, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{sample.Timeout, sample.Timeout, sample.HTTPError}; !slices.Equal(table.Outcome, want) {
			t.Errorf("outcomes %q, want %q: %q", table.Outcome, want, table.Error)
		}
		if table.Status[0] != sample.Absent || table.FirstToken[0] != sample.Absent || table.FirstToken[1] != 100e6 || !math.IsNaN(table.E2E[1]) || table.Status[2] != 503 {
			t.Errorf("%+v", table)
		}
		if !strings.Contains(table.Error[1], "within 1s; 1 events with tokens had come") {
			t.Errorf("it says %q", table.Error[1])
		}
		if table.Meta.Length != 1.2 {
			t.Errorf("the point took %v s, want 1.2", table.Meta.Length)
		}
	})
}

// slow answers after a quarter of a second.
func slow(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	select {
	case <-time.After(250 * time.Millisecond):
		send(w, text("a"), stop, done)
	case <-r.Context().Done():
	}
}

func TestCancel(t *testing.T) {
	virtual(t, slow, func(t *testing.T, h *HTTP, _ *pipes) {
		cause := errors.New("somebody pressed a key")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(420*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		var last Event
		table, err := Run(ctx, point(100), h, func(e Event) { last = e })
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "2 of 100") {
			t.Errorf("error %v", err)
		}
		// Sent at 0, 100, .. 400 ms; those of 0 and 100 have ended.
		if table.Len() != 2 || table.Failed() != 0 || table.Meta.Facts["sent"] != 2 {
			t.Errorf("%d rows, %d failed", table.Len(), table.Failed())
		}
		if took := time.Since(start); took != 420*time.Millisecond {
			t.Errorf("it took %v to end", took)
		}
		if last.Kind != Sent || last.Index != 4 {
			t.Errorf("last event: %+v", last)
		}
	})
}

// A server that ends takes what it was answering with it: each such request is
// a row, with the outcome of what was still missing of its answer.
func TestAbort(t *testing.T) {
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "prompt 0"): // whole
			send(w, text("a"), stop, done)
			return
		case strings.Contains(string(body), "prompt 1"): // begun
			send(w, text("a"), text("b"))
		case strings.Contains(string(body), "prompt 2"): // all but the end
			send(w, text("a"), stop)
		case strings.Contains(string(body), "prompt 3"): // refused
			w.WriteHeader(503)
			send(w, "busy")
		}
		<-r.Context().Done()
	}, func(t *testing.T, h *HTTP, _ *pipes) {
		died := errors.New("decode-1 died (exit status 3)\n  log: ends here")
		abort := make(chan struct{})
		time.AfterFunc(420*time.Millisecond, func() { close(abort) })
		c := point(100)
		c.Abort, c.AbortErr = abort, func() error { return died }
		seen := 0
		table, err := Run(t.Context(), c, h, func(e Event) {
			if e.Kind == Done {
				seen++
			}
		})
		var aborted *Aborted
		if !errors.As(err, &aborted) || !errors.Is(err, died) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "5 of 100") {
			t.Errorf("error %v", err)
		}
		if want := []string{sample.OK, sample.Truncated, sample.StreamError, sample.HTTPError, sample.ConnectError}; !slices.Equal(table.Outcome, want) {
			t.Errorf("outcomes %q, want %q", table.Outcome, want)
		}
		for i, want := range []string{
			"",
			"the connection broke after 2 events with tokens, before a finish_reason: the server ended: decode-1 died (exit status 3)",
			"the connection broke after the finish_reason, before the end of the stream: the server ended: decode-1 died (exit status 3)",
			"status 503: data: busy",
			"the server ended before it answered: decode-1 died (exit status 3)",
		} {
			if got := table.Error[i]; got != want {
				t.Errorf("row %d says %q, want %q", i, got, want)
			}
		}
		if f := table.Meta.Facts; f["sent"] != 5 || f["planned"] != 100 || f["failed"] != 4 || table.Meta.Length != 0.42 || seen != 5 {
			t.Errorf("facts %v, %v s, %d told as done", f, table.Meta.Length, seen)
		}
	})
}

// An end that comes when all has been answered, or never, changes nothing; one
// that came before leaves nothing.
func TestAbortAtTheEdges(t *testing.T) {
	virtual(t, slow, func(t *testing.T, h *HTTP, _ *pipes) {
		c := point(2)
		c.Abort = make(chan struct{})
		if table, err := Run(t.Context(), c, h, nil); err != nil || table.Len() != 2 || table.Meta.Facts["planned"] != 2 {
			t.Errorf("%d rows, error %v", table.Len(), err)
		}
		gone := make(chan struct{})
		close(gone)
		c.Abort = gone
		var aborted *Aborted
		if table, err := Run(t.Context(), c, h, nil); !errors.As(err, &aborted) || table.Failed() != table.Len() || !strings.Contains(err.Error(), "the server ended") {
			t.Errorf("%d rows, error %v", table.Len(), err)
		}
		// Whoever ends the point first is why.
		ctx, cancel := context.WithCancel(t.Context())
		abort := make(chan struct{})
		time.AfterFunc(120*time.Millisecond, cancel)
		time.AfterFunc(130*time.Millisecond, func() { close(abort) })
		c.Abort = abort
		if table, err := Run(ctx, c, h, nil); !errors.Is(err, context.Canceled) || table.Len() != 0 {
			t.Errorf("%d rows, error %v", table.Len(), err)
		}
		// Sent, and all in flight.
		late := make(chan struct{})
		time.AfterFunc(200*time.Millisecond, func() { close(late) })
		c.Abort = late
		if table, err := Run(t.Context(), c, h, nil); !errors.As(err, &aborted) || table.Len() != 2 || table.Failed() != 2 {
			t.Errorf("%d rows, error %v", table.Len(), err)
		}
	})
}

func TestASlowObserverDelaysNothing(t *testing.T) {
	virtual(t, slow, func(t *testing.T, h *HTTP, _ *pipes) {
		seen, inside := 0, false
		table, err := Run(t.Context(), point(5), h, func(Event) {
			if inside {
				t.Error("two calls at once")
			}
			inside = true
			time.Sleep(time.Second)
			inside = false
			seen++
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen != 15 || table.Meta.Facts["send_lag_max_ms"] != 0 || table.Meta.Length != 0.65 {
			t.Errorf("%d events seen, point of %v s, facts %v", seen, table.Meta.Length, table.Meta.Facts)
		}
	})
}

// A server that never ends its stream after [DONE] costs a connection, and
// neither the point nor its length.
func TestStreamLeftOpenAfterDone(t *testing.T) {
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		send(w, text("a"), stop, done)
		<-r.Context().Done()
	}, func(t *testing.T, h *HTTP, _ *pipes) {
		table, err := Run(t.Context(), point(2), h, nil)
		if err != nil || table.Failed() != 0 || table.Meta.Length != 0.1 {
			t.Errorf("error %v, %q, %v s", err, table.Error, table.Meta.Length)
		}
	})
}

func TestCancelAfterTheLastSend(t *testing.T) {
	virtual(t, slow, func(t *testing.T, h *HTTP, _ *pipes) {
		ctx, cancel := context.WithTimeout(t.Context(), 270*time.Millisecond)
		defer cancel()
		table, err := Run(ctx, point(2), h, nil) // sent at 0 and 100 ms, answered at 250 and 350 ms
		if !errors.Is(err, context.DeadlineExceeded) || table.Len() != 1 || table.Outcome[0] != sample.OK {
			t.Errorf("%d rows, error %v", table.Len(), err)
		}
	})
}

func TestConnectingIsLagAndNotTTFT(t *testing.T) {
	virtual(t, slow, func(t *testing.T, h *HTTP, p *pipes) {
		h.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(30 * time.Millisecond)
			return p.dial(ctx, network, address)
		}
		table, err := Run(t.Context(), point(1), h, nil)
		if err != nil || table.Sent[0] != 30e6 || table.TTFT[0] != 0.25 || table.Meta.Facts["send_lag_max_ms"] != 30 {
			t.Errorf("error %v, %+v", err, table)
		}
	})
}

// What a server takes before it drops a request on a kept connection is the
// server's time, and not lag: the request had been sent.
func TestResentRequestWasSentWhenItFirstWas(t *testing.T) {
	var arrived []string // one at a time
	virtual(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived = append(arrived, r.Header.Get("X-Request-Id"))
		if strings.Contains(string(body), "prompt 1") && len(arrived) == 2 {
			time.Sleep(2 * time.Second)
			panic(http.ErrAbortHandler) // closes the connection, without an answer
		}
		time.Sleep(50 * time.Millisecond)
		send(w, text("a"), stop, done)
	}, func(t *testing.T, h *HTTP, p *pipes) {
		var sent []time.Duration
		table, err := Run(t.Context(), point(2), h, func(e Event) {
			if e.Kind == Sent {
				sent = append(sent, e.At)
			}
		})
		if err != nil || table.Failed() != 0 {
			t.Fatalf("error %v, %q", err, table.Error)
		}
		if want := []string{RequestID("p", 0), RequestID("p", 1), RequestID("p", 1)}; !slices.Equal(arrived, want) || p.dialed != 2 {
			t.Errorf("%q arrived over %d connections", arrived, p.dialed)
		}
		if o := table.Row(1); o.Sent != 100e6 || math.Abs(o.TTFT-2.05) > 1e-12 || math.Abs(o.E2E-2.05) > 1e-12 {
			t.Errorf("sent at %d, TTFT %v, E2E %v", o.Sent, o.TTFT, o.E2E)
		}
		if f := table.Meta.Facts; f["resent"] != 1 || f["send_lag_max_ms"] != 0 || f["schedule_kept"] != 1 || f["achieved_qps"] != 10 || f["sent"] != 2 {
			t.Errorf("facts %v", f)
		}
		if !slices.Equal(sent, []time.Duration{0, 100 * time.Millisecond}) {
			t.Errorf("told as sent at %v", sent)
		}
	})
}
