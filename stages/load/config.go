package load

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"vbp/stages/load/workload"
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
	// Duration is how long the point lasts: under MaxConcurrency, what still
	// waits then is never sent. 0: all is.
	Duration time.Duration
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
		if err := CheckHeader(name, value); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	_, err := c.renderer()
	return err
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
	until := time.Duration(0)
	if c.MaxConcurrency > 0 {
		until = c.Duration
	}
	return Plan{
		URL: address, Header: header, Timeout: c.Timeout, At: c.Arrivals, Limit: c.MaxConcurrency, Until: until, MaxTokens: c.Prompts.MaxTokens,
		Request: func(i int) Request {
			p := prompts.Prompt(i)
			return Request{ID: ids.of(i), Body: bodies.render(&p), MaxTokens: p.MaxTokens}
		},
	}, nil
}
