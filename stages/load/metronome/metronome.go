// Package metronome is a server of known timing: it answers as an engine does,
// token by token, but when each token leaves is arithmetic, and it keeps when
// each did. What a client measured against it, minus what the server knows of
// itself, is the client's error.
//
// Steps: the bytes of an answer are made once (script.go); a request is found
// in what a connection received (request.go); its segments are written when
// they are due, on Linux by one thread on epoll (epoll_linux.go, conn_linux.go),
// elsewhere by a goroutine for each connection (plain.go); a ledger (record.go)
// keeps the instants in memory that was there before. It runs in this process
// (Start) or, so that its cost is not the client's, in another one (child.go),
// on a core of its own (core.go).
//
// Neighbours: the benchmark of load and package doctor run clients against it.
// It knows nothing of them.
package metronome

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Pace is the timing of every answer. Its tokens leave in segments: what one
// write carries, which one read of a client that keeps up returns.
type Pace struct {
	// First is the time from the arrival of a request to its first segment.
	First time.Duration
	// Gap is the time between two segments of an answer. Without one (0)
	// they leave as fast as the connection takes them.
	Gap time.Duration
	// Tokens is how many tokens an answer has, one an event, whatever the
	// request asks for. At least 1.
	Tokens int
	// Events is how many of them a segment carries; the last one of an
	// answer may carry fewer. At least 1.
	Events int
	// Aligned puts the segments of all answers on one clock of period Gap,
	// as an engine does whose steps serve its whole batch: the first leaves
	// with the first step that begins at First or later. Otherwise each
	// answer has a clock of its own.
	Aligned bool
}

// segments is the number of segments of an answer.
func (p Pace) segments() int { return (p.Tokens + p.Events - 1) / p.Events }

func (p Pace) check() error {
	switch {
	case p.Tokens < 1 || p.Events < 1:
		return fmt.Errorf("metronome: %d tokens in segments of %d; both must be at least 1", p.Tokens, p.Events)
	case p.First < 0 || p.Gap < 0:
		return fmt.Errorf("metronome: first token after %v, then one each %v; neither can be negative", p.First, p.Gap)
	case p.Aligned && p.Gap == 0:
		return errors.New("metronome: steps on a common clock need a gap")
	}
	return nil
}

// due is when the first segment of an answer is, whose request arrived then.
// Both are instants of the system's clock in nanoseconds.
func (p Pace) due(arrived int64) int64 {
	due := arrived + int64(p.First)
	if p.Aligned {
		// The clock strikes at multiples of the gap since 1970.
		gap := int64(p.Gap)
		due = (due + gap - 1) / gap * gap
	}
	return due
}

// Config is one server.
type Config struct {
	Pace Pace
	// Requests is how many records there is memory for from the beginning;
	// more are kept too, at the cost of making room while serving.
	Requests int
	// Instants is how many instants of segments are kept, of all records
	// together. A record for which there is no room left has its first and
	// last instant only.
	Instants int
	// Core is the processor that serves, from 1; 0 leaves the choice to the
	// system. Systems without affinity ignore it.
	Core int
}

// Server answers POST /v1/completions and /v1/chat/completions on an address
// of the loopback interface, and 404 to everything else.
type Server struct {
	url  string
	impl server
}

// server is what serves.
type server interface {
	reset(Pace)
	records() []Record
	close() error
}

// Start begins to serve. The caller closes the server.
func Start(c Config) (*Server, error) { return start(c, serve) }

func start(c Config, serve func(net.Listener, Config) (server, error)) (*Server, error) {
	if err := c.Pace.check(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("metronome: %w", err)
	}
	impl, err := serve(ln, c)
	if err != nil {
		ln.Close()
		return nil, fmt.Errorf("metronome: %w", err)
	}
	return &Server{url: "http://" + ln.Addr().String(), impl: impl}, nil
}

// URL is where it listens: http://127.0.0.1:port.
func (s *Server) URL() string { return s.url }

// Reset forgets all records and sets the pace of the answers that begin from
// now on. It is meant for when none is under way.
func (s *Server) Reset(p Pace) error {
	if err := p.check(); err != nil {
		return err
	}
	s.impl.reset(p)
	return nil
}

// Records returns a copy of what is known of each request, in the order in
// which they arrived.
func (s *Server) Records() []Record { return s.impl.records() }

// Close ends all connections and returns when nothing of the server is left.
func (s *Server) Close() error { return s.impl.close() }

// clock is the system's clock in nanoseconds since 1970: the one that the
// kernel stamps what it receives with.
func clock() int64 { return time.Now().UnixNano() }
