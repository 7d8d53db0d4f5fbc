package load

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerfd is a waiter on the kernel's high-resolution timers, for Go's own
// round to a millisecond when the process is idle. The descriptor is read
// through Go's poller with the same instant as read deadline: an idle process
// is woken from its poll by the kernel's timer within some 50 us, and a busy
// one, which seldom polls, finds the deadline among its own timers. No thread
// is held and nothing spins.
type timerfd struct {
	ctx  context.Context
	fd   int
	file *os.File
	stop func() bool
}

// newWaiter returns the most exact waiter of this system.
func newWaiter(ctx context.Context) waiter {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil { // no descriptor left, or a kernel that has none
		return newSleeper(ctx, 1500*time.Microsecond)
	}
	w := &timerfd{ctx: ctx, fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
	if w.file.SetReadDeadline(time.Time{}) != nil { // not pollable
		w.file.Close()
		return newSleeper(ctx, 1500*time.Microsecond)
	}
	w.stop = context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	return w
}

func (w *timerfd) until(t time.Time) {
	var expirations [8]byte
	for {
		d := time.Until(t)
		if d <= 0 {
			return
		}
		// Both fail only if the descriptor is gone; the loop is then a
		// spinning one, and still right.
		unix.TimerfdSettime(w.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
		w.file.SetReadDeadline(t)
		if w.ctx.Err() != nil { // the deadline may just have replaced the one that wakes us
			return
		}
		w.file.Read(expirations[:])
		if w.ctx.Err() != nil {
			return
		}
	}
}

func (w *timerfd) close() {
	w.stop()
	w.file.Close()
}
