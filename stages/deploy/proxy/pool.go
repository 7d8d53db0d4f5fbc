package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
)

// instance is one server behind the proxy.
type instance struct {
	name     string // "prefill-0", "decode-1": as package deploy names processes
	url      *url.URL
	requests atomic.Int64 // legs sent
	errors   atomic.Int64 // of them: failed
}

// pool is the instances of one role, taken in turn.
type pool struct {
	members []*instance
	turns   atomic.Uint64
}

// newPool names the instances ROLE-0, ROLE-1 and so on. The URLs have been
// checked.
func newPool(role string, urls []string) *pool {
	p := &pool{}
	for i, s := range urls {
		u, err := baseURL(s)
		if err != nil {
			continue // Options.Check has refused it
		}
		p.members = append(p.members, &instance{name: fmt.Sprintf("%s-%d", role, i), url: u})
	}
	return p
}

// next is the instance whose turn it is. One counter hands out the turns, so
// that after k*n calls from any number of goroutines each of the n instances
// was taken exactly k times.
func (p *pool) next() *instance {
	in := p.members[(p.turns.Add(1)-1)%uint64(len(p.members))]
	in.requests.Add(1)
	return in
}

// target is the URL of a path on the instance.
func (in *instance) target(path, query string) *url.URL {
	u := *in.url
	u.Path += path
	u.RawQuery = query
	return &u
}

// failure says in words why no answer came from the instance.
func (in *instance) failure(err error) string {
	switch {
	case unreachable(err):
		return fmt.Sprintf("%s (%s) cannot be reached: %v; is it running? its log tells", in.name, in.url, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s (%s) did not answer in the time allowed", in.name, in.url)
	}
	return fmt.Sprintf("%s (%s) broke off before it had answered: %v; its log may tell why", in.name, in.url, err)
}

// unreachable tells whether no connection could be had.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// statusText is "429 Too Many Requests", for messages.
func statusText(code int) string {
	if t := http.StatusText(code); t != "" {
		return fmt.Sprintf("%d %s", code, t)
	}
	return fmt.Sprint(code)
}
