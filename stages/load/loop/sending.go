//go:build linux && (amd64 || arm64)

package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// sendDue sends every request whose time has come, and opens a connection for
// the one after, if there is none.
func (l *eventLoop) sendDue() {
	l.drop()
	for l.isDue() {
		if !l.has {
			if l.next, l.has = l.requests.take(); !l.has {
				return
			}
		}
		q := l.next
		l.has = false
		l.coming += l.step
		l.fire(q)
		l.look()
		l.drop()
	}
	if l.coming < len(l.run.plan.At) && !l.full() && l.due(l.coming)-l.lead <= l.now && l.wantsSpare() {
		l.openSpare()
	}
}

// fire sends request q.
func (l *eventLoop) fire(q prepared) {
	s := l.newStream(q)
	if due := l.due(q.index); l.run.plan.Limit > 0 {
		s.ans.Out.SlotWait = 0
		if len(l.freed) == l.run.plan.Limit-l.inFlight { // no slot is left that never was taken
			s.ans.Out.SlotWait = float64(max(0, l.freed[0]-due)) / 1e9
			l.freed = l.freed[1:]
		}
	}
	l.inFlight++
	l.stats.streams = max(l.stats.streams, l.inFlight)
	l.deadlines.put(l.now+int64(l.run.plan.Timeout), s)
	l.place(s, q.bytes)
}

func (l *eventLoop) newStream(q prepared) *stream {
	var s *stream
	if n := len(l.oldStreams); n > 0 {
		s, l.oldStreams = l.oldStreams[n-1], l.oldStreams[:n-1]
	} else {
		s = &stream{}
	}
	s.index, s.conn, s.told, s.refused, s.body, s.addr = q.index, nil, false, false, s.body[:0], 0
	s.ans.Start(l.now, q.maxTokens)
	return s
}

// place gives a stream a connection, and sends its request if that is open.
// Request is nil for one that has to be rendered again.
func (l *eventLoop) place(s *stream, request []byte) {
	var c *conn
	if !s.told { // one that is sent again gets a connection that is surely open
		c = l.takeIdle()
	}
	if c == nil {
		c = l.takeSpare()
	}
	if c == nil {
		if c = l.dial(s, (int(l.run.good.Load())+s.addr)%len(l.run.addrs)); c == nil {
			if request != nil {
				l.requests.give(request)
			}
			return // the stream has failed
		}
	}
	if request == nil {
		request = l.run.wire.render(nil, l.run.plan.Request(s.index))
	}
	c.stream, c.buffer, c.out = s, request, request
	s.conn = c
	if c.state != connecting {
		l.begin(c)
	}
	l.write(c) // one that has just been begun may be there: on this machine it is
}

// begin marks that the request is about to be written.
func (l *eventLoop) begin(c *conn) {
	c.state = asking
	c.phase++
	c.resp.start()
	s := c.stream
	if !s.told {
		// Finding or making the connection came before: that is part of the
		// lag, not of the server's time to the first token.
		s.ans.Out.Sent = int64(time.Since(l.run.start))
	}
}

// write writes what is left of the request.
func (l *eventLoop) write(c *conn) {
	starting := c.state == connecting
	var sent int64
	if starting {
		sent = int64(time.Since(l.run.start))
	}
	n, errno := send(c.fd, c.out)
	switch {
	case errno == unix.EAGAIN || starting && errno == unix.ENOTCONN:
		l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
		return
	case errno != 0 && starting:
		l.notConnected(c, errno)
		return
	case errno != 0:
		// What the server said before it closed may still be there.
		life := c.life
		l.read(c)
		if c.life == life && c.state == asking && len(c.out) > 0 { // else it is another connection's by now
			l.ended(c, &opError{"write", errno})
		}
		return
	}
	if starting {
		l.connected(c)
		l.begin(c)
		if !c.stream.told {
			c.stream.ans.Out.Sent = sent
		}
	}
	if s := c.stream; !s.told {
		s.told = true
		l.run.rec.Sent(s.index, s.ans.Out.Sent)
	}
	if c.out = c.out[n:]; len(c.out) > 0 {
		l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
		return
	}
	l.written(c)
	l.watch(c, unix.EPOLLIN)
}

// written lets go of the request's bytes.
func (l *eventLoop) written(c *conn) {
	if c.buffer != nil {
		l.requests.give(c.buffer)
	}
	c.buffer, c.out = nil, nil
}

// watch has the poller tell of a connection's events.
func (l *eventLoop) watch(c *conn, events uint32) {
	if errno := l.poll.watch(c, events); errno != 0 {
		l.ended(c, &opError{"epoll_ctl", errno})
	}
}
