// Package limits tells how many connections this process can have, and refuses
// a load that may need more before anything is sent: one that runs out in the
// middle would blame the server. Its neighbours are load, whose plans are
// checked, and doctor, which prints the limits.
package limits

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Limits are what the system grants. A number that is not known is 0, and
// limits nothing.
type Limits struct {
	Files     int // open files of this process, at most
	FilesHard int // to which it may raise that by itself; Go does when a program starts
	Open      int // of Files, open now

	// Local ports of outgoing connections: as many as there can be from one
	// source address to one server, at a time.
	PortFirst, PortLast int
}

// Ports is how many local ports there are; 0 if it is not known.
func (l Limits) Ports() int {
	if l.PortLast < l.PortFirst || l.PortLast == 0 {
		return 0
	}
	return l.PortLast - l.PortFirst + 1
}

// spareFiles are left for what else a run opens: its results, the servers' logs and
// metrics.
const spareFiles = 64

// Need is what a point may need.
type Need struct {
	Requests    int           // that it sends
	Rate        float64       // per second
	Timeout     time.Duration // of one request
	Concurrency int           // most in flight, if that is limited; else 0
	Sources     int           // source addresses; 0 is 1
	Server      netip.Addr    // not valid: not known
}

// Streams is how many requests can be in flight at a time in the worst case: a
// server that answers none holds each until its time is up (J. D. C. Little,
// "A proof for the queuing formula L = lambda W", Operations Research 9 (1961)
// 383-387).
func (n Need) Streams() int {
	most := n.Requests
	if n.Concurrency > 0 {
		most = min(most, n.Concurrency)
	}
	if w := n.Rate * n.Timeout.Seconds(); w < math.MaxInt32 {
		most = min(most, int(math.Ceil(w))+1)
	}
	return most
}

// Check says which limit the point may exceed, and how to raise it or to need
// less.
func (l Limits) Check(n Need) error {
	streams := n.Streams()
	less := fmt.Sprintf("or need fewer: workload.max_concurrency, or a stages.load.timeout below %v", n.Timeout)
	if have := l.Files - l.Open - spareFiles; l.Files > 0 && streams > have {
		want := streams + l.Open + spareFiles
		return fmt.Errorf("up to %d requests can be in flight at a time (%v requests per second, each for up to %v), and this process may open %d more files; raise it for this shell, as root, with: prlimit --pid $$ --nofile=%d:%d (for good: nofile in /etc/security/limits.conf), %s",
			streams, n.Rate, n.Timeout, max(0, have), want, want, less)
	}
	if n.Server.IsLoopback() && n.Server.Is4() {
		return nil // any address of 127.0.0.0/8 can be a source
	}
	if have := l.Ports() * max(1, n.Sources); have > 0 && streams > have {
		return fmt.Errorf("up to %d requests can be in flight at a time (%v requests per second, each for up to %v), and there are %d local ports towards one server; raise it with: sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535', or name several stages.load.source_addresses, %s",
			streams, n.Rate, n.Timeout, have, less)
	}
	return nil
}
