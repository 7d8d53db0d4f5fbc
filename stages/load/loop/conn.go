//go:build linux && (amd64 || arm64)

package loop

import (
	"syscall"

	"vbp/stages/load/answer"
)

// state is what a connection is doing.
type state uint8

const (
	connecting state = iota // with or without a stream that waits for it
	idle                    // open, nothing asked
	asking                  // its stream's request is being written, or its response read
	draining                // the answer is known, the rest of the response is not yet read
	closed
)

// conn is one connection. It belongs to one loop.
type conn struct {
	fd      int
	slot    int32  // place in the loop's table
	phase   uint32 // raised whenever what is due for it is not any more
	state   state
	used    bool   // a response was read on it: the server may have closed it unannounced
	life    int32  // which of all connections of the loop it is, since places are used again
	watched uint32 // events that the poller tells of
	addr    int    // which of the addresses it is for
	dialed  int64  // ns
	last    int64  // ns: receive time of its latest bytes
	resp    response
	stream  *stream // connecting, asking; else nil
	out     []byte  // of the request, not yet written
	buffer  []byte  // that out is in
}

func (c *conn) current() uint32 { return c.phase }

// stream is one request and its answer.
type stream struct {
	index   int
	phase   uint32
	conn    *conn // nil while it has none
	ans     answer.Answer
	told    bool   // as sent
	refused bool   // the status was not 200
	body    []byte // of a refusal
	addr    int    // addresses that were tried before
}

func (s *stream) current() uint32 { return s.phase }

// opError is an error of the system with what was being done.
type opError struct {
	op  string
	err syscall.Errno
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }

func (e *opError) Unwrap() error { return e.err }
