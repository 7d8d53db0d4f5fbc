// Package proxy joins prefill and decode instances of vLLM, or of the
// simulated engine, into one OpenAI-compatible server.
//
// Steps of one completion: give the request an id, send a one-token copy of
// it to a prefill instance, put the kv_transfer_params of that answer into the
// original request (connector nixl; lmcache needs none), send that to a decode
// instance, and pass what decode answers on as it arrives. Nothing is promised
// to the client before decode has answered with a first event that is no error,
// so that an error on either leg is a status and never a stream that breaks
// off; a stream that breaks at decode breaks at the client too.
//
// What a request went through is told in the response headers named by the
// constants below; package load keeps them. Neighbours: package local starts
// the instances and this proxy as processes, package engine plays either role.
package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Identity names the behaviour of the proxy that can change what is measured
// through it.
const Identity = "proxy/1"

// Response headers of a completion. A header that is absent is not known: an
// error before the decode leg names no decode instance.
const (
	HeaderPrefill     = "X-Vbp-Prefill"      // instance that prefilled: "prefill-0"
	HeaderDecode      = "X-Vbp-Decode"       // instance that decoded: "decode-1"
	HeaderPrefillTime = "X-Vbp-Prefill-Time" // seconds from sending the prefill leg to the end of its answer, a decimal
	HeaderFallback    = "X-Vbp-Fallback"     // nixl only: 1 if no transfer parameters came back and decode prefills by itself, else 0
	HeaderRequestID   = "X-Request-Id"       // the client's, or one made here
)

// maxBody bounds a request's body and a prefill answer, in bytes. A prompt of
// a million tokens is some 7 MB; whatever is larger than this is a mistake,
// and the body has to be held in memory until the decode leg is sent.
const maxBody = 64 << 20

// Proxy is the http.Handler. Make it with New; it is safe for concurrent use.
type Proxy struct {
	opts      Options
	prefill   *pool
	decode    *pool
	transport *http.Transport
	counts    counters
	routes    map[string]route
	log       *log.Logger

	warnFallback sync.Once
	buffers      sync.Pool // *[]byte that relays copy through

	maxBody int64
	now     func() time.Time
	newID   func() string
}

// route is one served path: the methods it takes and what handles them.
type route struct {
	methods []string
	handle  http.HandlerFunc
}

// New returns a proxy for the instances in o. It contacts none of them.
func New(o Options) (*Proxy, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	p := &Proxy{
		opts:    o,
		prefill: newPool("prefill", o.Prefill),
		decode:  newPool("decode", o.Decode),
		log:     log.New(io.Discard, "", 0),
		maxBody: maxBody,
		now:     time.Now,
		newID:   randomID,
		transport: &http.Transport{
			// Proxy stays nil: instances are spoken to directly, whatever
			// HTTP_PROXY says.
			DialContext:        (&net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 15 * time.Second}).DialContext,
			DisableCompression: true, // a compressed stream would arrive in lumps
			// One idle connection for each stream that could be open, so that
			// a burst does not dial again for every request.
			MaxIdleConns:        0,
			MaxIdleConnsPerHost: 8192,
			// vLLM's server closes a connection that was idle for 5 s. To close
			// it first avoids the race in which a request is sent just then and
			// lost; at low rates that would happen.
			IdleConnTimeout: 4 * time.Second,
			// Most prompts leave in one write.
			WriteBufferSize: 16 << 10,
		},
		buffers: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }},
	}
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	p.routes = map[string]route{
		"/v1/completions":      {post, p.complete},
		"/v1/chat/completions": {post, p.complete},
		"/v1/models":           {get, p.forward},
		"/version":             {get, p.forward},
		"/server_info":         {get, p.forward},
		"/tokenize":            {post, p.forward},
		"/detokenize":          {post, p.forward},
		"/health":              {get, p.health},
		"/metrics":             {get, p.metrics},
		"/reset_prefix_cache":  {post, p.resetPrefixCache},
	}
	return p, nil
}

// ServeHTTP answers one request. When an answer cannot be completed (the
// instance broke off in the middle, the client is gone) it panics with
// http.ErrAbortHandler, which is how a handler tells net/http to break the
// client's connection as well.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt, ok := p.routes[r.URL.Path]
	if !ok {
		writeError(w, http.StatusNotFound, fmt.Sprintf("vbp proxy serves no %s; it serves %s",
			r.URL.Path, strings.Join(slices.Sorted(maps.Keys(p.routes)), ", ")))
		return
	}
	if !slices.Contains(rt.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(rt.methods, ", "))
		writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s takes %s, not %s",
			r.URL.Path, strings.Join(rt.methods, " or "), r.Method))
		return
	}
	rt.handle(w, r)
}

// Close drops the idle connections to the instances.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// Counts is what the proxy has done so far; /metrics tells the same.
type Counts struct {
	Requests      int64            // completions asked for
	Fallbacks     int64            // of them: no transfer parameters came back (nixl)
	PrefillErrors int64            // of them: the prefill leg failed
	DecodeErrors  int64            // of them: the decode leg failed, in mid-stream included
	Cancelled     int64            // of them: the client went before the answer was whole
	Rejected      int64            // of them: refused here for their body (400, 413, 415)
	Instances     map[string]int64 // legs sent to each instance
}

// counters is Counts while it is being counted.
type counters struct {
	requests, fallbacks, prefillErrors, decodeErrors, cancelled, rejected atomic.Int64
}

// Counts returns the counts of this moment.
func (p *Proxy) Counts() Counts {
	c := Counts{
		Requests:      p.counts.requests.Load(),
		Fallbacks:     p.counts.fallbacks.Load(),
		PrefillErrors: p.counts.prefillErrors.Load(),
		DecodeErrors:  p.counts.decodeErrors.Load(),
		Cancelled:     p.counts.cancelled.Load(),
		Rejected:      p.counts.rejected.Load(),
		Instances:     map[string]int64{},
	}
	for _, in := range p.instances() {
		c.Instances[in.name] = in.requests.Load()
	}
	return c
}

// instances are all of them, prefill first.
func (p *Proxy) instances() []*instance {
	return slices.Concat(p.prefill.members, p.decode.members)
}

// randomID makes a request id: 32 hexadecimal digits.
func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
