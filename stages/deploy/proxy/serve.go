package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// grace is how long open answers may go on once Serve is told to stop. It is
// short: whoever stops a deployment has finished or given up its load, and
// kills what does not end.
const grace = 2 * time.Second

// Serve runs a proxy on ln, or on o's host and port if ln is nil, until ctx
// ends, and closes ln. Then it lets open answers go on for two seconds, breaks
// them off, and returns nil when the last is gone. It writes to out: where it
// listens, each request that failed and why, and the counts at the end.
func Serve(ctx context.Context, o Options, ln net.Listener, out io.Writer) error {
	p, err := New(o)
	if err != nil {
		if ln != nil {
			ln.Close()
		}
		return err
	}
	defer p.Close()
	p.log = log.New(out, "", log.LstdFlags|log.Lmicroseconds)
	if ln == nil {
		addr := p.opts.address()
		if ln, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("proxy cannot listen on %s: %w; give another --port, or 0 for any free one", addr, err)
		}
	}
	p.log.Printf("proxy listens on http://%s, connector %s, %s", ln.Addr(), p.opts.Connector, p.describe())

	// Handlers hold the gate while they run, so that closing it waits for all
	// of them. Their contexts end with abort, whatever their clients do.
	var gate sync.RWMutex
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !gate.TryRLock() {
				writeError(w, http.StatusServiceUnavailable, "vbp proxy is stopping")
				return
			}
			defer gate.RUnlock()
			p.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 30 * time.Second, // a client that sends half a header and stays
		ErrorLog:          p.log,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	select {
	case err = <-served: // the listener broke
	case <-ctx.Done():
		limit, cancel := context.WithTimeout(base, grace)
		defer cancel()
		if srv.Shutdown(limit) != nil {
			p.log.Printf("proxy breaks off what is still open after %v", grace)
		}
		err = <-served
	}
	abort()
	srv.Close()
	gate.Lock()
	c := p.Counts()
	p.log.Printf("proxy ends: %d requests, %d fell back to local prefill, %d prefill errors, %d decode errors, %d cancelled, %d rejected",
		c.Requests, c.Fallbacks, c.PrefillErrors, c.DecodeErrors, c.Cancelled, c.Rejected)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("proxy on %s: %w", ln.Addr(), err)
}

// describe names the instances: "prefill-0 http://127.0.0.1:8100, ...".
func (p *Proxy) describe() string {
	var parts []string
	for _, in := range p.instances() {
		parts = append(parts, fmt.Sprintf("%s %s", in.name, in.url))
	}
	return strings.Join(parts, ", ")
}
