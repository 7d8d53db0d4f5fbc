package loop

import (
	"net/netip"
	"sync"
)

// mostLoopback is how many addresses of 127.0.0.0/8 are used where nothing else
// is said: enough for 90,000 connections.
const mostLoopback = 8

// easyPorts is how many connections to a server are begun from one source
// address of 127.0.0.0/8. Linux looks through half of the ports first (28,000
// by default) and needs ever longer to find a free one once these are used up.
const easyPorts = 12_000

// sources hands out source addresses. A connection is told apart by both
// addresses and both ports, so that one source address has as many towards one
// server as there are ports.
type sources struct {
	given    []netip.Addr
	loopback bool // the server is on 127.0.0.0/8, all of which is this machine

	mu   sync.Mutex
	turn int // of given
	more int // loopback: how many addresses had no port left
}

// pick returns the next address to bind to, when so many connections are open;
// false: the system's choice will do.
func (s *sources) pick(open int) (netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.given) > 0 {
		s.turn++
		return s.given[s.turn%len(s.given)], true
	}
	if !s.loopback {
		return netip.Addr{}, false
	}
	n := (s.more + open/easyPorts) % mostLoopback
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + n)}), n > 0
}

// exhausted takes in that an address had no port left, on the try-th try for a
// connection (from 0), and reports whether there is another to try.
func (s *sources) exhausted(try int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.given) > 0 {
		return try+1 < len(s.given)
	}
	s.more++
	return s.loopback && try+1 < mostLoopback
}
