//go:build amd64 || arm64

package metronome

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is one connection, with at most one answer under way.
type conn struct {
	fd     int // -1: closed
	inbox  inbox
	busy   bool // an answer is under way
	api    api
	record int
	next   int   // segment
	due    int64 // when that is
	rest   []byte
}

// accept takes every connection that waits.
func (e *epoll) accept() {
	for {
		fd, _, err := unix.Accept4(e.ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.ECONNABORTED || err == unix.EINTR {
			continue
		}
		if err != nil {
			// What waits stays in the queue until a descriptor is free.
			e.full = err != unix.EAGAIN
			return
		}
		if err := e.watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP); err != nil {
			unix.Close(fd)
			continue
		}
		for fd >= len(e.conns) {
			e.conns = append(e.conns, nil)
		}
		e.conns[fd] = &conn{fd: fd}
	}
}

// drop closes a connection, whatever becomes of its answer.
func (e *epoll) drop(c *conn) {
	if c.fd < 0 {
		return
	}
	unix.Close(c.fd)
	e.conns[c.fd] = nil
	c.fd = -1
	if e.full {
		e.accept()
	}
}

// ready does what can be done on a connection.
func (e *epoll) ready(c *conn, events uint32) {
	if events&unix.EPOLLOUT != 0 && len(c.rest) > 0 {
		e.flush(c)
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	for c.fd >= 0 {
		n, stamp, errno := e.in.receive(c.fd)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0, n == 0:
			e.drop(c)
			return
		}
		if stamp == 0 {
			stamp = clock()
		}
		err := c.inbox.take(e.in.buf[:n], func(r request) error { return e.begin(c, r, stamp) })
		if err != nil {
			e.drop(c)
			return
		}
		if n < len(e.in.buf) && events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			return // all that there was: more is another edge
		}
	}
}

// begin answers a request.
func (e *epoll) begin(c *conn, r request, arrived int64) error {
	if c.busy {
		return errRequest // it does not wait for its answer
	}
	if r.api == apis {
		if n, _ := send(c.fd, []byte(notFound)); n < len(notFound) {
			return errRequest
		}
		return nil
	}
	c.busy, c.api, c.next, c.due = true, r.api, 0, e.pace.due(arrived)
	c.record = e.ledger.open(r.id, arrived, c.due, e.script.segments)
	e.agenda.put(c)
	return nil
}

// receiver reads with the kernel's stamp of when it received.
type receiver struct {
	buf     [64 << 10]byte
	control [64]byte
	iov     unix.Iovec
	msg     unix.Msghdr
}

// receive reads once and returns when the last byte of it arrived, in
// nanoseconds since 1970, 0 if the kernel does not say.
func (r *receiver) receive(fd int) (n int, stamp int64, errno unix.Errno) {
	r.iov.Base = &r.buf[0]
	r.iov.SetLen(len(r.buf))
	r.msg = unix.Msghdr{Iov: &r.iov, Control: &r.control[0]}
	r.msg.SetIovlen(1)
	r.msg.SetControllen(len(r.control))
	got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, 0, errno
	}
	if int(r.msg.Controllen) >= unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			ts := (*unix.Timespec)(unsafe.Pointer(&r.control[unix.CmsgLen(0)]))
			stamp = ts.Nano()
		}
	}
	return int(got), stamp, 0
}

// send writes what the connection takes now.
func send(fd int, data []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// pollNow is epoll_wait that does not wait.
func pollNow(fd int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
