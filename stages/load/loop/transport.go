//go:build linux && (amd64 || arm64)

package loop

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"vbp/stages/load"
)

// available says whether this system has the event loop.
const available = true

// Transport is the load.Transport over an event loop.
type Transport struct{ options Options }

// New returns a transport. It holds nothing between runs.
func New(o Options) (*Transport, error) { return &Transport{o}, nil }

// Protocol implements load.Transport.
func (t *Transport) Protocol() string { return Protocol }

// run is one run of a Transport.
type run struct {
	plan    load.Plan
	unready atomic.Int32  // loops that are not ready to send yet
	begun   chan struct{} // closed when the last one was, and start is set
	start   time.Time
	rec     load.Recorder
	wire    wire
	addrs   []netip.AddrPort
	good    atomic.Int32 // the address that answered last
	sources sources
}

// Run implements load.Transport.
func (t *Transport) Run(ctx context.Context, plan load.Plan, rec load.Recorder) (load.Stats, error) {
	u, err := url.Parse(plan.URL)
	if err != nil {
		return load.Stats{}, fmt.Errorf("load: %w", err)
	}
	if u.Scheme != "http" {
		return load.Stats{}, fmt.Errorf("load: the event loop speaks plain http only, not %s; use the transport net/http", u.Scheme)
	}
	r := &run{plan: plan, begun: make(chan struct{}), rec: rec, sources: sources{given: t.options.Sources}}
	if r.wire, err = newWire(u, plan.Header); err != nil {
		return load.Stats{}, fmt.Errorf("load: %w", err)
	}
	if r.addrs, err = resolve(ctx, u); err != nil {
		if ctx.Err() != nil {
			return load.Stats{}, ctx.Err()
		}
		return load.Stats{}, fmt.Errorf("load: %w", err)
	}
	if r.addrs, err = reachable(r.addrs, t.options.Sources); err != nil {
		return load.Stats{}, fmt.Errorf("load: %w", err)
	}
	loopback := true
	for _, a := range r.addrs {
		loopback = loopback && a.Addr().Is4() && a.Addr().IsLoopback()
	}
	r.sources.loopback = loopback
	n := t.options.loops(&plan)
	loops := make([]*eventLoop, 0, n)
	defer func() {
		for _, l := range loops {
			l.poll.close()
		}
	}()
	for i := range n {
		p, err := newPoller()
		if err != nil {
			return load.Stats{}, fmt.Errorf("load: event loop: %w", err)
		}
		l := &eventLoop{run: r, first: i, step: n, poll: p, in: newReceiver(), stats: newTally()}
		for _, a := range r.addrs {
			l.sockaddrs = append(l.sockaddrs, sockaddr(a))
		}
		loops = append(loops, l)
	}
	release := reserve(n)
	defer release()
	stamp()
	r.unready.Store(int32(n))
	var working sync.WaitGroup
	for _, l := range loops {
		l.requests = newPreparer(r.wire, plan.Request, l.first, l.step, len(plan.At))
		rang := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			l.poll.ring()
			close(rang)
		})
		working.Go(func() {
			defer func() {
				if !stop() {
					<-rang // else it might ring what has the bell's number by then
				}
			}()
			defer l.requests.close()
			l.work(ctx)
		})
	}
	working.Wait()
	return together(ctx, loops, time.Since(r.start))
}

// together is what the loops of a run know of it, which took so long; the error
// is ctx's if that ended it.
func together(ctx context.Context, loops []*eventLoop, wall time.Duration) (load.Stats, error) {
	all := newTally()
	unsent, busy := false, 0.0
	for _, l := range loops {
		all.add(&l.stats)
		busy = max(busy, l.stats.cpu.Seconds()/wall.Seconds())
		unsent = unsent || l.coming < len(l.run.plan.At)
	}
	stats := load.Stats{
		Reads: all.reads, Resent: all.resent, Streams: all.streams, Conns: all.conns, Starved: all.starved, Dropped: all.dropped,
		Busy: min(busy, 1), ReadLag: all.lags(), Notes: all.notes(),
	}
	if unsent || all.cut > 0 {
		return stats, ctx.Err()
	}
	return stats, nil
}
