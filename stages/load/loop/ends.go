//go:build linux && (amd64 || arm64)

package loop

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// ended takes in that a connection ended: by the other side if err is nil.
func (l *eventLoop) ended(c *conn, err error) {
	s := c.stream
	switch {
	case c.state == closed:
		return
	case s == nil:
		l.close(c)
		return
	case c.state == connecting:
		l.refusedConn(c, err)
		return
	case c.used && !c.resp.seen:
		// The server had closed the kept connection when it was used again.
		// The request counts as sent when it first was: a server may have
		// held it for long before it dropped it, and that time is the
		// server's.
		c.stream, s.conn = nil, nil
		l.close(c)
		l.stats.resent++
		l.place(s, nil)
		return
	case !c.resp.answered():
		if err == nil {
			err = c.resp.closed()
		}
		s.ans.Fail(sample.ConnectError, "%w", err)
	case s.refused:
		s.ans.Refuse(s.body)
	default:
		if err == nil {
			err = c.resp.closed()
		}
		s.ans.Closed(err, l.now)
	}
	l.done(c)
	l.close(c)
}

// done records the answer of a connection's stream, which has one.
func (l *eventLoop) done(c *conn) {
	s := c.stream
	c.stream = nil
	l.finish(s)
}

func (l *eventLoop) finish(s *stream) {
	l.tellSent(s)
	l.run.rec.Done(s.index, int64(time.Since(l.run.start)), &s.ans.Out)
	l.forget(s)
}

// tellSent tells of a request that never came to be written.
func (l *eventLoop) tellSent(s *stream) {
	if !s.told {
		l.run.rec.Sent(s.index, s.ans.Out.Sent)
	}
}

// forget lets a stream go.
func (l *eventLoop) forget(s *stream) {
	s.phase++
	if l.run.plan.Limit > 0 {
		l.freed = append(l.freed, int64(time.Since(l.run.start)))
	}
	l.inFlight--
	l.oldStreams = append(l.oldStreams, s)
}

// expire ends what has taken too long.
func (l *eventLoop) expire() {
	for {
		s, ok := l.deadlines.pop(l.now)
		if !ok {
			break
		}
		if s.refused {
			s.ans.Refuse(s.body)
		} else {
			s.ans.TimedOut(l.run.plan.Timeout)
		}
		if c := s.conn; c != nil {
			c.stream = nil
			l.close(c)
		}
		l.finish(s)
	}
	for {
		c, ok := l.dials.pop(l.now)
		if !ok {
			break
		}
		l.notConnected(c, unix.ETIMEDOUT)
	}
	for _, q := range []*fifo[*conn]{&l.drains, &l.idles} {
		for {
			c, ok := q.pop(l.now)
			if !ok {
				break
			}
			l.close(c)
		}
	}
}

// cut ends what is in flight with the run: as failures of the server, if that
// was its end, else without a trace.
func (l *eventLoop) cut(ctx context.Context) {
	aborted := load.AbortOf(ctx)
	l.look()
	for _, c := range l.conns {
		if c == nil || c.stream == nil {
			continue
		}
		s := c.stream
		l.stats.cut++
		if aborted == nil {
			c.stream = nil
			l.forget(s)
			continue
		}
		if s.refused {
			s.ans.Refuse(s.body)
		} else {
			s.ans.ServerEnded(aborted, l.now)
		}
		l.done(c)
	}
}
