//go:build amd64 || arm64

package metronome

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// turn is how many segments are written before the loop looks for requests
// again. When those arrived the kernel has noted, so it could be any number;
// this one keeps a burst of tokens from holding up what is due next.
const turn = 64

// nap is the shortest wait for which the thread sleeps, in ns. To sleep and to
// be woken costs it as much, and the token would be late.
const nap = 10_000

// epoll serves on one thread. What cannot block goes to the kernel by raw
// system calls, which do not tell Go's scheduler: a write of a token is most
// of what the server does, and all that it does for a token but arithmetic.
type epoll struct {
	mu     sync.Mutex // held while the thread works, not while it waits
	pace   Pace
	script *script
	ledger ledger

	core    int
	fd      int
	timer   int
	wake    int // eventfd: end
	file    *os.File
	ln      int
	full    bool // connections wait, but there was no descriptor for them
	conns   []*conn
	agenda  agenda
	in      receiver
	stopped chan struct{}
}

func serveEpoll(ln net.Listener, c Config) (server, error) {
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	ln.Close() // file is a duplicate
	e := &epoll{
		pace: c.Pace, script: write(c.Pace), ledger: newLedger(c), core: c.Core,
		fd: -1, timer: -1, wake: -1, file: file, stopped: make(chan struct{}),
	}
	if err := e.open(); err != nil {
		e.release()
		return nil, err
	}
	ready := make(chan error)
	go e.run(ready)
	if err := <-ready; err != nil {
		<-e.stopped
		return nil, err
	}
	return e, nil
}

// open makes the descriptors.
func (e *epoll) open() (err error) {
	e.ln = int(e.file.Fd())
	if err := unix.SetNonblock(e.ln, true); err != nil {
		return err
	}
	// Connections inherit all three. BBR, where it is the system's choice,
	// would put a timer of its own between a token and the wire.
	unix.SetsockoptString(e.ln, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	unix.SetsockoptInt(e.ln, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(e.ln, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // without, the time of reading takes its place
	// Of net's listener; a burst of clients must not wait for the thread.
	if err := unix.Listen(e.ln, 1<<15); err != nil {
		return err
	}
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if e.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if e.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return err
	}
	for _, fd := range []int{e.ln, e.timer, e.wake} {
		if err := e.watch(fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

// watch is edge-triggered, so that no descriptor needs to be told twice what
// is waited for.
func (e *epoll) watch(fd int, events uint32) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fd)})
}

// release closes what open made.
func (e *epoll) release() {
	for _, fd := range []int{e.wake, e.timer, e.fd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	e.file.Close()
}

// run is the thread. It ends when wake is written to.
func (e *epoll) run(ready chan<- error) {
	defer close(e.stopped)
	defer e.release()
	runtime.LockOSThread() // never unlocked if it is bound to a core: the thread then ends with this goroutine
	if e.core > 0 {
		if err := bind(e.core); err != nil {
			ready <- err
			return
		}
	} else {
		defer runtime.UnlockOSThread()
	}
	ready <- nil
	events := make([]unix.EpollEvent, 256)
	for {
		e.mu.Lock()
		wait := e.play()
		e.mu.Unlock()
		n, err := e.wait(events, wait)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		e.mu.Lock()
		ended := err != nil
		for _, ev := range events[:max(n, 0)] {
			switch fd := int(ev.Fd); fd {
			case e.wake:
				ended = true
			case e.timer: // it is set anew before each wait: nothing to read
			case e.ln:
				e.accept()
			default:
				if c := e.conns[fd]; c != nil {
					e.ready(c, ev.Events)
				}
			}
		}
		if ended {
			for _, c := range e.conns {
				if c != nil {
					e.drop(c)
				}
			}
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
	}
}

// wait returns what is ready, at the latest after so many nanoseconds; with
// -1 it waits for ever.
func (e *epoll) wait(events []unix.EpollEvent, ns int64) (int, error) {
	if ns >= 0 && ns < nap {
		return pollNow(e.fd, events)
	}
	if ns > 0 {
		// An epoll's own timeout is rounded to the timer slack of the
		// thread, 50 us; a timerfd's is not.
		if err := unix.TimerfdSettime(e.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(ns)}, nil); err != nil {
			return 0, err
		}
	}
	return unix.EpollWait(e.fd, events, -1)
}

// play writes what is due, a turn of it. It returns the nanoseconds until
// more is due, 0 for now, -1 for never.
func (e *epoll) play() int64 {
	now := clock()
	for range turn {
		if len(e.agenda) == 0 {
			return -1
		}
		if next := e.agenda[0]; next.due > now && next.conn.fd >= 0 {
			return next.due - now
		}
		c := e.agenda.take()
		if c.fd < 0 { // its client has gone
			continue
		}
		now = e.strike(c, now)
	}
	return 0
}

// strike writes the segment of c that is due and returns the time after.
func (e *epoll) strike(c *conn, now int64) int64 {
	due := c.due
	if e.pace.Gap == 0 && c.next > 0 {
		due = 0
	}
	e.ledger.wrote(c.record, c.next, e.script.segments, now, due)
	c.rest = e.script.segment(c.api, c.next)
	e.flush(c)
	return clock()
}

// flush writes what is left of a segment, and queues the next one when that
// is done.
func (e *epoll) flush(c *conn) {
	for len(c.rest) > 0 {
		n, errno := send(c.fd, c.rest)
		if errno == unix.EAGAIN {
			return // ready says when there is room
		}
		if errno != 0 {
			e.drop(c)
			return
		}
		c.rest = c.rest[n:]
	}
	c.rest = nil
	if c.next++; c.next == e.script.segments {
		c.busy = false
		return
	}
	c.due += int64(e.pace.Gap)
	if e.pace.Gap == 0 {
		c.due = clock() // one after the other
	}
	e.agenda.put(c)
}

func (e *epoll) reset(p Pace) {
	s := write(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pace, e.script = p, s
	e.ledger.reset()
}

func (e *epoll) records() []Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ledger.copy()
}

func (e *epoll) close() error {
	if _, err := unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return fmt.Errorf("metronome: %w", err)
	}
	<-e.stopped
	return nil
}
