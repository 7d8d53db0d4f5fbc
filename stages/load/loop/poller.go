//go:build linux && (amd64 || arm64)

package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance with a timer and a bell that other goroutines
// can ring.
type poller struct {
	fd, timer, bell int
	armed           int64 // when the timer rings, ns from the point's start; 0: not set
	events          [256]unix.EpollEvent
}

// Slots in events of what is not a connection.
const (
	slotTimer = -1
	slotBell  = -2
)

func newPoller() (*poller, error) {
	p := &poller{fd: -1, timer: -1, bell: -1}
	var err error
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err == nil {
			p.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		}
	}
	// Both are edge-triggered, so that they need not be read.
	if err == nil {
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.timer, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: slotTimer})
	}
	if err == nil {
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: slotBell})
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	for _, fd := range []int{p.fd, p.timer, p.bell} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// ring wakes whoever waits.
func (p *poller) ring() {
	one := [8]byte{1}
	unix.Write(p.bell, one[:]) // fails only if it rings already
}

// watch has the poller tell of a connection's events.
func (p *poller) watch(c *conn, events uint32) syscall.Errno {
	if c.watched == events {
		return 0
	}
	op := unix.EPOLL_CTL_MOD
	if c.watched == 0 {
		op = unix.EPOLL_CTL_ADD
	}
	c.watched = events
	e := unix.EpollEvent{Events: events, Fd: c.slot, Pad: c.life}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(c.fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return errno
}

// arm has the timer ring once, in d ns.
func (p *poller) arm(d int64) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(d, 1))}
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(p.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// look returns the events that are there.
func (p *poller) look() []unix.EpollEvent {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		return nil
	}
	return p.events[:n]
}

// wait returns the next events; it may return none.
func (p *poller) wait() []unix.EpollEvent {
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), ^uintptr(0), 0, 0)
	if errno != 0 {
		return nil
	}
	return p.events[:n]
}
