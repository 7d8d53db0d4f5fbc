// Package load measures one point: it sends prepared requests at prepared
// instants and records what came back, one row for each request that was sent.
//
// It is an open loop: when a request is due does not depend on any answer.
// Steps: check the configuration and render every body (body.go), hand plan
// and recorder to a Transport (transport.go), which sends (pacer.go, http.go)
// and feeds what it reads to an answer (answer.go: server-sent events in
// sse.go, their content in chunk.go); the recorder (recorder.go) keeps the
// rows, says of a refused request what to change in the spec (advice.go), and
// tells observers; facts of the point as a whole (facts.go) and what a person
// should know of its tokens (notes.go) come last.
//
// Neighbours: workload makes the prompts and arrivals the schedule, below
// sample holds the rows. Load knows neither SLOs nor where rows are kept.
package load

import (
	"context"
	"crypto/sha256"
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
	API       string            // Completions or Chat
	Prompts   []workload.Prompt // request i asks Prompts[i]
	Arrivals  []time.Duration   // and is due then, from the start of the point; never decreasing
	Timeout   time.Duration     // of one request, from its sending to the end of its answer
	IgnoreEOS bool              // generate MaxTokens, whatever the model says
	Body      map[string]any    // added to the body of every request; null for max_tokens or stream_options leaves it out
	IDPrefix  string            // requests get ids from it (RequestID); should be unique among the points of a deployment

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
	if len(c.Prompts) != len(c.Arrivals) {
		return fmt.Errorf("load: %d prompts, but %d arrivals; each request needs one of both", len(c.Prompts), len(c.Arrivals))
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
	for i := range c.Prompts {
		if c.API == Chat && c.Prompts[i].IDs != nil {
			return fmt.Errorf("load: prompt %d is made of token ids, which the chat API cannot take; use api: completions, or a dataset of text", i)
		}
		if c.Prompts[i].MaxTokens < 1 {
			return fmt.Errorf("load: prompt %d asks for %d tokens; it must be at least 1", i, c.Prompts[i].MaxTokens)
		}
	}
	for _, key := range reserved {
		if _, ok := c.Body[key]; ok && !c.leavesOut(key) {
			return fmt.Errorf("load: body sets %q, which vbp sets itself (%s); leave it out of body (null for %s keeps it out of the request)",
				key, strings.Join(reserved, ", "), strings.Join(optional, " and "))
		}
	}
	return nil
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

// Run measures the point and returns its rows in the order in which the
// schedule wanted them sent. Only requests that were sent are rows. Of the
// table's Meta it fills Start, Length, Facts, and in Extra "client" (the
// transport's protocol) and what Notes has in words; the rest is the caller's.
//
// Observe, if it is not nil, is told of every request as it is sent, has its
// first token, and is done, by one goroutine that never holds up the
// measurement; Run returns after it has seen all.
//
// Answers that fail are rows, not errors. The error is about the point: a
// configuration that Validate refuses (no table then), or an end before its
// time.
//
// If that end is ctx's, the error wraps ctx's and its cause. What was in
// flight is cut off and not a row, since its fate is not the server's doing:
// the table holds the requests that had ended.
//
// If it is Abort's, the error wraps an *Aborted with what AbortErr said. The
// server's end is the server's doing: what was in flight is a failure of it,
// with the outcome that the client would have seen by itself a moment later,
// and the first line of AbortErr in its error: connect_error where no status
// had come, truncated where the stream had no finish_reason yet, stream_error
// between that and the end of the stream. The table holds every request that
// was sent, also those that another process of the deployment, which is still
// alive, was answering.
func Run(ctx context.Context, c Config, t Transport, observe func(Event)) (*sample.Table, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	plan, err := c.plan()
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
	rec := newRecorder(&c, observe)
	before, known := cpuTime()
	plan.Start = time.Now()
	stats, err := t.Run(run, plan, rec)
	wall := time.Since(plan.Start)
	after, _ := cpuTime()
	cancel(nil)
	watcher.Wait()
	rec.close()

	table := rec.table()
	m := Machine{Wall: wall, Cores: runtime.GOMAXPROCS(0), CPU: math.NaN(), Reads: stats.Reads, Resent: stats.Resent}
	if known {
		m.CPU = (after - before).Seconds()
	}
	table.Meta.Start = plan.Start.UnixNano()
	table.Meta.Length = wall.Seconds()
	if err == nil {
		// To the last answer; what a transport tidies up afterwards is not
		// part of the point.
		table.Meta.Length = float64(rec.last) / 1e9
	}
	table.Meta.Facts = Facts(table, m)
	table.Meta.Facts["planned"] = float64(len(c.Arrivals))
	table.Meta.Extra = map[string]string{"client": t.Protocol()}
	rec.describe(&table.Meta)
	if err == nil {
		return table, nil
	}
	if aborted := abortOf(run); aborted != nil {
		return table, fmt.Errorf("load: the server ended when %d of %d requests had been sent: %w", table.Len(), len(c.Prompts), aborted)
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		err = fmt.Errorf("%w (%w)", ctx.Err(), cause)
	}
	return table, fmt.Errorf("load: stopped when %d of %d requests had ended: %w", table.Len(), len(c.Prompts), err)
}

func (c *Config) abortError() error {
	if c.AbortErr != nil {
		if err := c.AbortErr(); err != nil {
			return err
		}
	}
	return errors.New("the server ended")
}

// abortOf is what ended a run, or one request of it, if that was the server's
// end; else nil.
func abortOf(ctx context.Context) (aborted *Aborted) {
	errors.As(context.Cause(ctx), &aborted)
	return aborted
}

func (c *Config) requestID(i int) string { return RequestID(c.IDPrefix, i) }

// RequestID is what request i of a point is called in its row and in the
// header X-Request-Id: a UUID, since some servers (those on starlette-context,
// such as llama-cpp-python) refuse with 400 what is none. Its last eight
// digits are i in hexadecimal, the others follow from the prefix.
func RequestID(prefix string, i int) string {
	h := sha256.Sum256([]byte(prefix))
	h[6] = h[6]&0x0f | 0x40 // version 4
	h[8] = h[8]&0x3f | 0x80 // variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x%08x", h[:4], h[4:6], h[6:8], h[8:10], h[10:12], uint32(i))
}

// plan renders all requests. Bodies are made before the run, so that nothing
// but sending happens when a request is due.
func (c *Config) plan() (Plan, error) {
	address, err := c.endpoint()
	if err != nil {
		return Plan{}, err
	}
	bodies, err := c.bodies()
	if err != nil {
		return Plan{}, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	for k, v := range c.Headers {
		header.Set(k, v)
	}
	return Plan{
		URL: address, Header: header, Timeout: c.Timeout, At: c.Arrivals,
		Request: func(i int) Request {
			return Request{ID: c.requestID(i), Body: bodies[i], MaxTokens: c.Prompts[i].MaxTokens}
		},
	}, nil
}
