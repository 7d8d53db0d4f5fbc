package load

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"vbp/stages/sample"
)

// piecemeal is a context that ends for those below it one after the other, as
// every context does, only that the others wait until they are let.
type piecemeal struct {
	context.Context
	ended chan struct{}
	below []func()
	err   error
}

func (p *piecemeal) Done() <-chan struct{} { return p.ended }

func (p *piecemeal) Err() error { return p.err }

// AfterFunc is what package context calls for each context below.
func (p *piecemeal) AfterFunc(f func()) (stop func() bool) {
	p.below = append(p.below, f)
	return func() bool { return true }
}

// dones counts the requests that are told as done.
type dones int

func (*dones) Sent(int, int64)                    {}
func (*dones) First(int, int64)                   {}
func (d *dones) Done(int, int64, *sample.Outcome) { *d++ }

// A run that is cut off cuts off its dials, too. Their requests fail with them,
// perhaps before their own contexts end, and are no rows all the same.
func TestRequestsThatAreCutOffWhileDialingAreNotDone(t *testing.T) {
	ctx := &piecemeal{Context: context.Background(), ended: make(chan struct{})}
	h := &HTTP{
		waiter: func(context.Context) waiter { return newSleeper(context.Background(), 0) },
		dial: func(dialing context.Context, _, _ string) (net.Conn, error) {
			ctx.err = context.Canceled
			ctx.below[0]() // the dials' context, which is the first that a run makes
			<-dialing.Done()
			return nil, dialing.Err()
		},
	}
	plan := Plan{
		URL: "http://127.0.0.1:9/v1/completions", Header: http.Header{}, Begin: time.Now, Timeout: time.Minute, At: make([]time.Duration, 1),
		Request: func(int) Request { return Request{ID: "a", MaxTokens: 1} },
	}
	var d dones
	if _, err := h.Run(ctx, plan, &d); !errors.Is(err, context.Canceled) || d != 0 {
		t.Errorf("%d requests are done, error %v", d, err)
	}
}
