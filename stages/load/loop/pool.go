//go:build linux && (amd64 || arm64)

package loop

import (
	"syscall"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// dial begins a connection to one of the run's addresses, for s, or to have one
// if s is nil. If it cannot even be begun, s has failed or goes on elsewhere,
// and dial returns nil.
func (l *eventLoop) dial(s *stream, addr int) *conn {
	fd, errno := l.openSocket(addr)
	if errno != 0 {
		l.failedDial(s, addr, errno)
		return nil
	}
	c := l.newConn(fd, addr)
	l.dials.put(l.now+int64(load.DialLimit), c)
	return c
}

// openSocket opens a socket and has it connect, from another source address
// where the ports of one are used up.
func (l *eventLoop) openSocket(addr int) (int, syscall.Errno) {
	to := l.run.addrs[addr]
	for try := 0; ; try++ {
		fd, stamped, err := socket(to.Addr())
		if err != nil {
			return -1, errnoOf(err)
		}
		if !stamped {
			l.stats.unstamped = true
		}
		from, bound := l.run.sources.pick(l.open)
		if bound {
			if err := bind(fd, from); err != nil {
				unix.Close(fd)
				return -1, errnoOf(err)
			}
		}
		err = unix.Connect(fd, l.sockaddrs[addr])
		if err == nil || err == unix.EINPROGRESS {
			return fd, 0
		}
		unix.Close(fd)
		if err != unix.EADDRNOTAVAIL || !l.run.sources.exhausted(try) {
			return -1, errnoOf(err)
		}
	}
}

func errnoOf(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}

// failedDial takes in that there is no connection to an address: the next one
// is tried, if the name has several.
func (l *eventLoop) failedDial(s *stream, addr int, errno syscall.Errno) {
	if s == nil {
		return // whoever wants one will see for itself
	}
	if s.addr++; s.addr < len(l.run.addrs) {
		l.place(s, nil)
		return
	}
	to := l.run.addrs[addr]
	switch errno {
	case unix.EADDRNOTAVAIL:
		s.ans.Fail(sample.ConnectError, "dial tcp %v: %w: this machine has no free port left towards it; see sysctl net.ipv4.ip_local_port_range, or name several stages.load.source_addresses", to, errno)
		l.stats.starved++
	case unix.EMFILE, unix.ENFILE:
		s.ans.Fail(sample.ConnectError, "dial tcp %v: %w: this process may open no more files; raise ulimit -n", to, errno)
		l.stats.starved++
	default:
		s.ans.Fail(sample.ConnectError, "dial tcp %v: connect: %w", to, errno)
	}
	l.finish(s)
}

// notConnected takes in that a connection did not come about.
func (l *eventLoop) notConnected(c *conn, errno syscall.Errno) {
	s := c.stream
	if s != nil {
		c.stream, s.conn = nil, nil
	}
	addr := c.addr
	l.close(c)
	l.failedDial(s, addr, errno)
}

// refusedConn is notConnected for an error of another kind.
func (l *eventLoop) refusedConn(c *conn, err error) {
	errno := unix.ECONNRESET
	if e, ok := err.(*opError); ok {
		errno = e.err
	}
	l.notConnected(c, errno)
}

// newConn gives a socket its place.
func (l *eventLoop) newConn(fd, addr int) *conn {
	var c *conn
	if n := len(l.oldConns); n > 0 {
		c, l.oldConns = l.oldConns[n-1], l.oldConns[:n-1]
	} else {
		c = &conn{}
	}
	c.fd, c.addr, c.dialed = fd, addr, l.now
	c.state, c.used, c.last, c.watched = connecting, false, 0, 0
	l.lives++
	c.life = l.lives
	c.phase++
	if n := len(l.freeSlots); n > 0 {
		c.slot, l.freeSlots = l.freeSlots[n-1], l.freeSlots[:n-1]
		l.conns[c.slot] = c
	} else {
		c.slot = int32(len(l.conns))
		l.conns = append(l.conns, c)
	}
	l.open++
	l.stats.conns = max(l.stats.conns, l.open)
	return c
}

// rest puts an open connection aside for the next request.
func (l *eventLoop) rest(c *conn) {
	c.state = idle
	c.phase++
	l.idle = append(l.idle, due[*conn]{l.now, c, c.phase})
	l.idles.put(l.now+int64(load.IdleLimit), c)
}

// wantsSpare reports whether a connection should be begun before the next
// request is due, since there is none for it.
func (l *eventLoop) wantsSpare() bool {
	return l.spared != l.coming && len(l.idle) == 0 && len(l.spares) == 0
}

// openSpare begins a connection that no stream waits for.
func (l *eventLoop) openSpare() {
	l.spared = l.coming
	if c := l.dial(nil, int(l.run.good.Load())); c != nil {
		l.spares = append(l.spares, due[*conn]{l.now, c, c.phase})
		l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

// takeSpare returns a connection under way that no stream waits for, nil if there is none.
func (l *eventLoop) takeSpare() *conn { return takeLast(&l.spares) }

// takeIdle returns an open connection, the one that was used last, nil if there
// is none. It must not be one on which the server has closed or said something
// that has not been read yet: that would be taken for the answer.
func (l *eventLoop) takeIdle() *conn {
	for {
		c := takeLast(&l.idle)
		if c == nil || !pending(c.fd) {
			return c
		}
		l.close(c)
	}
}

func takeLast(from *[]due[*conn]) *conn {
	for n := len(*from); n > 0; n = len(*from) {
		d := (*from)[n-1]
		(*from)[n-1] = due[*conn]{}
		*from = (*from)[:n-1]
		if d.subject.phase == d.phase {
			return d.subject
		}
	}
	return nil
}

// close closes a connection that no stream is on any more.
func (l *eventLoop) close(c *conn) {
	if c.state == closed {
		return
	}
	l.written(c)
	unix.Close(c.fd) // takes it out of the poller too
	c.state = closed
	c.phase++
	l.conns[c.slot] = nil
	l.freeSlots = append(l.freeSlots, c.slot)
	l.open--
	l.oldConns = append(l.oldConns, c)
}

func (l *eventLoop) closeAll() {
	for _, c := range l.conns {
		if c != nil {
			c.stream = nil
			l.close(c)
		}
	}
}
