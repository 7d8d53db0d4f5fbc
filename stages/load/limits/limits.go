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

// SpareFiles are left for what else a run opens: its results, the logs and
// metrics of servers, pipes, the runtime's own.
const SpareFiles = 64

// Need is what a point may need.
type Need struct {
	Requests    int           // that it sends
	Rate        float64       // per second
	Timeout     time.Duration // of one request
	Tokens      float64       // of an answer, on average
	Concurrency int           // most in flight, if that is limited; else 0
	Sources     int           // source addresses; 0 is 1
	Server      netip.Addr    // not valid: not known, and ports are not looked at
}

// What a deployment that keeps up may take for a request at most: slower than
// this per token nobody reads along.
const (
	slowFirst = time.Second
	slowToken = 50 * time.Millisecond
)

// streams is how many requests are in flight at a time if each takes so long
// (J. D. C. Little, "A proof for the queuing formula L = lambda W", Operations
// Research 9 (1961) 383-387).
func (n Need) streams(each time.Duration) int {
	most := n.Requests
	if n.Concurrency > 0 {
		most = min(most, n.Concurrency)
	}
	if l := n.Rate * min(each, n.Timeout).Seconds(); l < math.MaxInt32 {
		most = min(most, int(math.Ceil(l))+1)
	}
	return most
}

// Likely is how many requests are in flight at a time at a deployment that
// keeps up, but slowly.
func (n Need) Likely() int {
	return n.streams(slowFirst + time.Duration(n.Tokens*float64(slowToken)))
}

// Worst is how many there are at one that answers none before its time is up.
func (n Need) Worst() int { return n.streams(n.Timeout) }

// Check says which limit the point is likely to exceed, and how to raise it or
// to need less; and, in a note, which it would if the deployment fell behind.
func (l Limits) Check(n Need) (note string, err error) {
	for _, of := range []struct {
		what, raise string
		have        int // -1: no limit that is known
	}{
		{
			"files that this process may still open",
			fmt.Sprintf("as root, for this shell: prlimit --pid $$ --nofile=%d:%[1]d (for good: nofile in /etc/security/limits.conf)", n.Worst()+l.Open+SpareFiles),
			l.moreFiles(),
		},
		{
			"local ports towards the server",
			"sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several stages.load.source_addresses",
			l.portsTo(n.Server) * max(1, n.Sources),
		},
	} {
		switch {
		case of.have < 0:
		case n.Likely() > of.have:
			return "", fmt.Errorf("about %d requests are in flight at a time (%v per second, %.0f tokens each), and there are %d %s; raise that, %s, or let fewer be in flight: workload.max_concurrency: %[4]d",
				n.Likely(), n.Rate, n.Tokens, of.have, of.what, of.raise)
		case n.Worst() > of.have && note == "":
			note = fmt.Sprintf("if the servers fall behind, up to %d requests are in flight at a time (%v per second, each for up to %v), and there are %d %s: further ones would fail for want of one, and the point would not be valid (client_starved); raise that, %s",
				n.Worst(), n.Rate, n.Timeout, of.have, of.what, of.raise)
		}
	}
	return note, nil
}

// moreFiles is how many connections may be opened; -1: nobody knows a limit.
func (l Limits) moreFiles() int {
	if l.Files == 0 {
		return -1
	}
	return max(0, l.Files-l.Open-SpareFiles)
}

// portsTo is how many connections one source address can have to a server; -1:
// no limit that is known. Any address of 127.0.0.0/8 can be a source for its
// own.
func (l Limits) portsTo(server netip.Addr) int {
	if !server.IsValid() || server.Is4() && server.IsLoopback() || l.Ports() == 0 {
		return -1
	}
	return l.Ports()
}
