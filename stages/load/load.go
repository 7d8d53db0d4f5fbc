// Package load measures one point: it sends prepared requests at prepared
// instants and records what came back, one row for each request that was sent.
//
// It is an open loop: when a request is due does not depend on any answer.
// Steps: check the configuration, hand plan and recorder to a Transport
// (transport.go; http.go is the one over net/http, the package loop below
// another), which has every body made when it is needed (body.go), sends when
// it is due (pacer.go) and feeds what it reads to an answer (package answer);
// the recorder (recorder.go) says of a refused request what to change in the
// spec (advice.go), keeps the rows in memory or in a file (row.go, spool.go),
// and tells observers; facts of the point as a whole (facts.go, tally.go,
// heartbeat.go) and what a person should know of its tokens (notes.go) come
// last. Measured (measured.go) is the result.
//
// Neighbours: workload makes the prompts and arrivals the schedule, below
// sample holds the rows. Load knows neither SLOs nor where rows end up.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// APIs that requests can use.
const (
	Completions = "completions" // POST /v1/completions
	Chat        = "chat"        // POST /v1/chat/completions
)

// Target is who is asked.
type Target struct {
	URL     string            // http://host:port; a trailing /v1 is understood
	Model   string            // as the server calls it
	Headers map[string]string // sent with every request
}

// Config is one point.
type Config struct {
	Target
	API       string           // Completions or Chat
	Prompts   workload.Prompts // request i asks prompt i, which is made when it is needed
	Arrivals  []time.Duration  // and is due then, from the start of the point; never decreasing
	Timeout   time.Duration    // of one request, from its sending to the end of its answer
	IgnoreEOS bool             // generate MaxTokens, whatever the model says
	Body      map[string]any   // added to the body of every request; null for max_tokens or stream_options leaves it out
	IDPrefix  string           // requests get ids from it (RequestID); should be unique among the points of a deployment

	// MaxConcurrency is how many requests may be in flight; those above wait
	// in their order, and their rows say how long. 0: no limit.
	MaxConcurrency int
	// Spool is the path of a file in which Measure keeps rows until Measured
	// is closed: some 100 bytes a request and 2 a token. "": in memory.
	Spool string
	// Redact takes secrets out of error texts, which may repeat what was
	// sent. nil: there are none.
	Redact func(string) string

	// Abort, when it is closed or sends, ends the point early because the
	// server has ended; AbortErr then says how. Both may be nil.
	Abort    <-chan struct{}
	AbortErr func() error
}

// Aborted is the cause of a point's end before its time by Config.Abort.
type Aborted struct{ Err error }

func (e *Aborted) Error() string { return e.Err.Error() }

func (e *Aborted) Unwrap() error { return e.Err }

// Validate tells what Run would refuse, without sending anything.
func (c *Config) Validate() error {
	if _, err := c.endpoint(); err != nil {
		return err
	}
	if n := c.requests(); n != len(c.Arrivals) {
		return fmt.Errorf("load: %d prompts, but %d arrivals; each request needs one of both", n, len(c.Arrivals))
	}
	if c.MaxConcurrency < 0 {
		return fmt.Errorf("load: %d requests may be in flight; it must be at least 1, or 0 for no limit", c.MaxConcurrency)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("load: the timeout of a request is %v; it must be above 0", c.Timeout)
	}
	last := time.Duration(0)
	for i, at := range c.Arrivals {
		if at < last {
			return fmt.Errorf("load: request %d is due at %v, before %v; arrivals must not be negative and never decrease", i, at, last)
		}
		last = at
	}
	if c.API == Chat && c.requests() > 0 && c.Prompts.TokenIDs() {
		return errors.New("load: the prompts are token ids, which the chat API cannot take; use api: completions, or a dataset of text")
	}
	for i := range c.requests() {
		if n := c.Prompts.MaxTokens(i); n < 1 {
			return fmt.Errorf("load: prompt %d asks for %d tokens; it must be at least 1", i, n)
		}
	}
	for _, key := range reserved {
		if _, ok := c.Body[key]; ok && !c.leavesOut(key) {
			return fmt.Errorf("load: body sets %q, which vbp sets itself (%s); leave it out of body (null for %s keeps it out of the request)",
				key, strings.Join(reserved, ", "), strings.Join(optional, " and "))
		}
	}
	for name, value := range c.Headers {
		if !oneLine(name, value) {
			return fmt.Errorf("load: header %q: its name and its value must each be one line, without control characters", name)
		}
	}
	_, err := c.renderer()
	return err
}

// oneLine reports whether a header field is one line of a request, and its name
// a name.
func oneLine(name, value string) bool {
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	return name != "" && !strings.ContainsAny(name, " \t:") && !strings.ContainsFunc(name, control) && !strings.ContainsFunc(value, control)
}

// requests is how many prompts there are.
func (c *Config) requests() int {
	if c.Prompts == nil {
		return 0
	}
	return c.Prompts.Len()
}

// endpoint is the full address of the API.
func (c *Config) endpoint() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", fmt.Errorf("load: address of the server: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("load: address of the server is %q; it must look like http://host:port", c.URL)
	}
	base := strings.TrimSuffix(strings.TrimRight(c.URL, "/"), "/v1")
	switch c.API {
	case Completions:
		return base + "/v1/completions", nil
	case Chat:
		return base + "/v1/chat/completions", nil
	}
	return "", fmt.Errorf("load: unknown API %q; it must be %s or %s", c.API, Completions, Chat)
}

// Run is Measure with all rows as a table, which is nil where Measured would be.
// Config.Spool has no use here.
func Run(ctx context.Context, c Config, t Transport, observe func(Event)) (*sample.Table, error) {
	c.Spool = ""
	m, err := Measure(ctx, c, t, observe)
	if m == nil {
		return nil, err
	}
	defer m.Close()
	table, bad := m.Table(0, m.Len())
	return table, errors.Join(err, bad)
}

// Measure measures the point and returns its rows in the order in which the
// schedule wanted them sent. Only requests that were sent are rows. Of Meta it
// fills Start, Length, Facts, and in Extra "client" (the transport's protocol)
// and what Notes has in words; the rest is the caller's. Whoever gets a
// Measured closes it.
//
// Observe, if it is not nil, is told of every request as it is sent, has its
// first token, and is done, by one goroutine that never holds up the
// measurement; Measure returns after it has seen all.
//
// Answers that fail are rows, not errors. The error is about the point: a
// configuration that Validate refuses or a spool that cannot be written (no
// Measured then), or an end before its time.
//
// If that end is ctx's, the error wraps ctx's and its cause. What was in
// flight is cut off and not a row, since its fate is not the server's doing:
// rows are the requests that had ended.
//
// If it is Abort's, the error wraps an *Aborted with what AbortErr said. The
// server's end is the server's doing: what was in flight is a failure of it,
// with the outcome that the client would have seen by itself a moment later,
// and the first line of AbortErr in its error: connect_error where no status
// had come, truncated where the stream had no finish_reason yet, stream_error
// between that and the end of the stream. Rows are all requests that were
// sent, also those that another process of the deployment, which is still
// alive, was answering.
func Measure(ctx context.Context, c Config, t Transport, observe func(Event)) (*Measured, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	plan, err := c.plan()
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows, err := newSpool(c.Spool, func(err error) { cancel(err) })
	if err != nil {
		return nil, err
	}
	var watcher sync.WaitGroup
	if c.Abort != nil {
		watcher.Go(func() {
			select {
			case <-c.Abort:
				cancel(&Aborted{c.abortError()})
			case <-run.Done():
			}
		})
	}
	rec := newRecorder(&c, rows, observe)
	heart := newHeartbeat()
	before, known := cpuTime()
	plan.Start = time.Now()
	stats, err := t.Run(run, plan, rec)
	wall := time.Since(plan.Start)
	after, _ := cpuTime()
	stall := heart.end()
	cancel(nil)
	watcher.Wait()
	if bad := rec.close(); bad != nil {
		return nil, errors.Join(bad, rows.close())
	}

	m := rec.measured()
	machine := Machine{Wall: wall, Cores: runtime.GOMAXPROCS(0), CPU: math.NaN(), Stall: stall, Stats: stats}
	if known {
		machine.CPU = (after - before).Seconds()
	}
	m.Meta.Start = plan.Start.UnixNano()
	m.Meta.Length = wall.Seconds()
	if err == nil {
		// To the last answer; what a transport tidies up afterwards is not
		// part of the point.
		m.Meta.Length = float64(rec.last) / 1e9
	}
	m.Meta.Facts = rec.tally.facts(machine)
	m.Meta.Facts["planned"] = float64(len(c.Arrivals))
	m.Meta.Extra = map[string]string{"client": t.Protocol()}
	rec.describe(&m.Meta)
	if len(stats.Notes) > 0 {
		m.Meta.Extra[extraTransport] = strings.Join(stats.Notes, "\n")
	}
	if err == nil {
		return m, nil
	}
	if aborted := AbortOf(run); aborted != nil {
		return m, fmt.Errorf("load: the server ended when %d of %d requests had been sent: %w", m.Len(), len(c.Arrivals), aborted)
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		err = fmt.Errorf("%w (%w)", ctx.Err(), cause)
	}
	return m, fmt.Errorf("load: stopped when %d of %d requests had ended: %w", m.Len(), len(c.Arrivals), err)
}

func (c *Config) abortError() error {
	if c.AbortErr != nil {
		if err := c.AbortErr(); err != nil {
			return err
		}
	}
	return errors.New("the server ended")
}

// AbortOf is what ended a run, or one request of it, if that was the server's
// end; else nil.
func AbortOf(ctx context.Context) (aborted *Aborted) {
	errors.As(context.Cause(ctx), &aborted)
	return aborted
}

// plan is what the transport is to do. Bodies are made when it asks for them,
// which it does before they are due.
func (c *Config) plan() (Plan, error) {
	address, err := c.endpoint()
	if err != nil {
		return Plan{}, err
	}
	bodies, err := c.renderer()
	if err != nil {
		return Plan{}, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	for k, v := range c.Headers {
		header.Set(k, v)
	}
	ids, prompts := newIDStem(c.IDPrefix), c.Prompts
	return Plan{
		URL: address, Header: header, Timeout: c.Timeout, At: c.Arrivals, Limit: c.MaxConcurrency,
		Request: func(i int) Request {
			p := prompts.Prompt(i)
			return Request{ID: ids.of(i), Body: bodies.render(&p), MaxTokens: p.MaxTokens}
		},
	}, nil
}
