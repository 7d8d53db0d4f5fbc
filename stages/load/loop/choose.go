// Package loop is the transport of load for Linux and plain http: non-blocking
// sockets on an event loop, and the instants at which the kernel received what
// is read. For chooses between it and net/http.
//
// A run (transport.go) finds the server's addresses (address.go) and has one
// loop or several. A loop (loop.go) is one goroutine on a thread of its own that
// sends (sending.go), reads (reading.go) and ends (ends.go), with its poller
// and sockets (poller.go, socket.go), its connections (conn.go, pool.go), the
// times at which something is up (fifo.go) and its share of the requests, which
// another goroutine renders ahead of their time (prepare.go, request.go).
// Responses are read in place (response.go) and judged by answer.
//
// Three things make what it measures exact. A timerfd wakes it when a request
// is due, and between any two reads it looks whether one is, so that a send
// never waits behind more than one read. A connection for a request is opened
// a moment before. And bytes are dated when the kernel received them
// (SO_TIMESTAMPNS), not when this process came to read them: a busy client
// reads later, but does not measure longer. How much later is counted, and so
// is how busy the loops were.
//
// It is built on golang.org/x/sys/unix and on no event-loop library. Tried were
// gnet 2.9.7, netpoll 0.7.2 and nbio 1.6.8 beside a raw loop, each on one core,
// against a server on another (medians; a shared machine, so that differences
// of less than 15 % mean nothing): processor time of a million events at 16 a
// segment x 1.17, 1.26 and 1.04 of raw's, paced with one a segment at 10,000
// streams 6.7, 7.9 and 6.0 s against 5.3; lateness of sends, median, 234 to 644 us
// against 45, since their timers are Go's; error of the time of the first byte
// 20, 160 and 30 us against 4, since none of them gives receive times where
// it can be used; memory at 10,000 streams 18, 198 and 14 MB against 3.
//
// Its neighbours are load above, which plans and records, and answer below.
package loop

import (
	"fmt"
	"net/http"
	"net/url"

	"vbp/stages/load"
)

// Ways to choose a transport.
const (
	Auto  = "auto"     // the event loop where it can be had, else net/http
	Epoll = "epoll"    // the event loop
	HTTP  = "net/http" // net/http
)

// For returns the transport for a server's address. Asked for the event loop
// where there is none, it says why.
func For(address, want string, o Options) (load.Transport, error) {
	why := unfit(address)
	switch {
	case want == HTTP, want == Auto && why != "":
		return load.NewHTTP(), nil
	case want != Auto && want != Epoll:
		return nil, fmt.Errorf("unknown transport %q; it must be %s, %s or %s", want, Auto, Epoll, HTTP)
	case why != "":
		return nil, fmt.Errorf("the transport %s cannot be used: %s; use %s or %s", Epoll, why, Auto, HTTP)
	}
	return New(o)
}

// unfit says why the event loop cannot talk to the server; "" if it can.
func unfit(address string) string {
	u, err := url.Parse(address)
	switch {
	case !available:
		return "this system has no epoll that vbp uses (Linux on amd64 and arm64 has)"
	case err != nil:
		return "" // load's to judge
	case u.Scheme == "https":
		return "the server speaks https"
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
		return "the environment names a proxy for it (HTTP_PROXY)"
	}
	return ""
}
