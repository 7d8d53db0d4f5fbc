//go:build linux && (amd64 || arm64)

package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
	r := &run{plan: plan, rec: rec, sources: sources{given: t.options.Sources}}
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
	if fd := stamping(); fd >= 0 {
		defer unix.Close(fd)
	}
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
	return together(loops, time.Since(plan.Start), ctx)
}

// together is what the loops of a run know of it.
func together(loops []*eventLoop, wall time.Duration, ctx context.Context) (load.Stats, error) {
	all := newTally()
	unsent, busy := false, 0.0
	for _, l := range loops {
		all.add(&l.stats)
		busy = max(busy, l.stats.cpu.Seconds()/wall.Seconds())
		unsent = unsent || l.coming < len(l.run.plan.At)
	}
	stats := load.Stats{
		Reads: all.reads, Resent: all.resent, Streams: all.streams, Conns: all.conns, Starved: all.starved,
		Busy: min(busy, 1), ReadLag: all.lags(), Notes: all.notes(),
	}
	if unsent || all.cut > 0 {
		return stats, ctx.Err()
	}
	return stats, nil
}

// resolve finds the addresses of a server. A request tries them in this order.
func resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port := 80
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("address of the server: port %q is not a number below 65536", p)
		}
		port = int(n)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	var out []netip.AddrPort
	for _, first := range []bool{true, false} { // IPv4 first: what has both most often listens there
		for _, a := range found {
			if a = a.Unmap(); a.Is4() == first {
				out = append(out, netip.AddrPortFrom(a, uint16(port)))
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("address of the server: the name has no address")
	}
	return out, nil
}

// reachable is those of a server's addresses to which connections can be made
// from all of the source addresses. The error says what is wrong with one of
// these.
func reachable(addrs []netip.AddrPort, sources []netip.Addr) ([]netip.AddrPort, error) {
	for _, from := range sources {
		addrs = slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Is4() != from.Is4() })
		if len(addrs) == 0 {
			return nil, fmt.Errorf("source address %v is of another kind (IPv4, IPv6) than the server's or than another source address", from)
		}
		fd, _, err := socket(from)
		if err != nil {
			return nil, fmt.Errorf("source address %v: %w", from, err)
		}
		err = bind(fd, from)
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("source address %v: %w: it must be an address of this machine (ip address)", from, err)
		}
	}
	return addrs, nil
}

// zoneIndex is the interface of an IPv6 zone.
func zoneIndex(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
