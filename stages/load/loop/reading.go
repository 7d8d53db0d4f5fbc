//go:build linux && (amd64 || arm64)

package loop

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// handle does what an event calls for.
func (l *eventLoop) handle(c *conn, events uint32) {
	if c.state == connecting {
		switch errno := socketError(c.fd); {
		case errno != 0:
			l.notConnected(c, errno)
			return
		case events&unix.EPOLLOUT == 0:
			return
		case c.stream == nil:
			l.connected(c)
			l.rest(c)
			l.watch(c, unix.EPOLLIN)
			return
		}
		l.write(c)
		return
	}
	life := c.life
	if events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		l.write(c)
	}
	if events&^unix.EPOLLOUT != 0 && c.life == life && c.state != closed {
		l.read(c)
	}
}

// connected notes that a connection is open.
func (l *eventLoop) connected(c *conn) {
	took := int64(time.Since(l.run.start)) - c.dialed
	l.lead = min(max(4*took, int64(2*time.Millisecond)), int64(250*time.Millisecond))
	l.run.good.Store(int32(c.addr))
}

// read reads once from a connection and takes in what came.
func (l *eventLoop) read(c *conn) {
	most := len(l.in.buffer)
	if s := c.stream; s != nil && s.ans.Out.FirstToken == sample.Absent && c.state == asking {
		// What is read together has one receive time, its last segment's.
		// Where this loop comes late, the segment with the first token is
		// read by itself: its time decides the TTFT.
		if n, _, errno := l.in.read(c.fd, most, unix.MSG_PEEK); errno == 0 && n > 0 {
			most = firstEvent(l.in.buffer[:n], !c.resp.answered())
		}
	}
	n, stamp, errno := l.in.read(c.fd, most, 0)
	l.look()
	if errno != 0 {
		if errno != unix.EAGAIN {
			l.ended(c, &opError{"read", errno})
		}
		return
	}
	if n == 0 {
		l.ended(c, nil)
		return
	}
	at := l.now
	if stamp != 0 {
		// By the kernel's clock it came this much before now, unless that clock
		// was set in between.
		if lag := l.wall - stamp; lag >= 0 && at-lag > l.stepped {
			at -= lag
			l.stats.late(lag)
		}
	}
	if c.stream != nil {
		at = max(at, c.stream.ans.Out.Sent)
	}
	at = max(at, c.last)
	c.last = at
	l.took(c, l.in.buffer[:n], at)
}

// firstEvent is the length of the bytes to the end of the first event in them,
// which may be preceded by a header, and of all of them if it does not end.
func firstEvent(b []byte, header bool) int {
	at := 0
	if header {
		i := bytes.Index(b, []byte("\r\n\r\n"))
		if i < 0 {
			return len(b)
		}
		at = i + 4
	}
	for at < len(b) {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
		if at < len(b) && b[at] == '\n' {
			return at + 1
		}
		if at+1 < len(b) && b[at] == '\r' && b[at+1] == '\n' {
			return at + 2
		}
	}
	return len(b)
}

// took takes in bytes that arrived at the given instant.
func (l *eventLoop) took(c *conn, b []byte, at int64) {
	if c.state == idle || c.state == connecting {
		l.close(c) // nobody asked
		return
	}
	counted := false
	for {
		found, piece, rest, err := c.resp.next(b)
		if err != nil {
			l.ended(c, err)
			return
		}
		b = rest
		s := c.stream // nil once the answer is known
		switch found {
		case nothing:
			return
		case head:
			s.refused = !s.ans.Head(c.resp.Status, c.resp.value)
		case data:
			if s == nil {
				continue
			}
			if !counted {
				counted = true
				l.stats.reads++
			}
			if s.refused {
				s.body = append(s.body, piece[:min(len(piece), load.MostRefusal-len(s.body))]...)
				if len(s.body) == load.MostRefusal {
					s.ans.Refuse(s.body)
					l.done(c)
					l.close(c)
					return
				}
				continue
			}
			before := s.ans.Out.FirstToken
			more := s.ans.Feed(piece, at)
			if before != s.ans.Out.FirstToken {
				l.run.rec.First(s.index, at)
			}
			if more {
				continue
			}
			well := s.ans.Out.Outcome == sample.OK
			l.done(c)
			if !well {
				l.close(c)
				return
			}
			c.state = draining
			c.phase++
			l.drains.put(l.now+int64(load.DrainLimit), c)
		case end:
			if s != nil {
				if s.refused {
					s.ans.Refuse(s.body)
				} else {
					s.ans.Closed(nil, at)
				}
				l.done(c)
			}
			if !c.resp.Keep || len(c.out) > 0 {
				l.close(c)
				return
			}
			c.used = true
			l.rest(c)
			return
		}
	}
}
