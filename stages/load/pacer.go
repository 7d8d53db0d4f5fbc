package load

import (
	"context"
	"runtime"
	"time"
)

// waiter waits until an instant as exactly as the system allows, or until the
// context it was made with is done. It is used by one goroutine.
type waiter interface {
	until(t time.Time)
	close()
}

// pace calls prepare(i) as soon as request i is next, then fire(i) at
// start + at[i] or, when that has passed, at once: an open loop sends late
// requests, it does not drop them. It returns how many were fired, which is
// all of them unless ctx is done first, or fire returns false.
func pace(ctx context.Context, w waiter, start time.Time, at []time.Duration, prepare func(i int), fire func(i int) bool) int {
	for i := range at {
		prepare(i)
		w.until(start.Add(at[i]))
		if ctx.Err() != nil || !fire(i) {
			return i
		}
	}
	return len(at)
}

// sleeper is the waiter for any system: it sleeps until shortly before the
// instant and yields for the rest.
type sleeper struct {
	done <-chan struct{}
	// spin is how long it yields. The timers of Go wake up to 1 ms late
	// where the system's poll counts in milliseconds.
	spin time.Duration
}

func newSleeper(ctx context.Context, spin time.Duration) *sleeper {
	return &sleeper{done: ctx.Done(), spin: spin}
}

func (s *sleeper) until(t time.Time) {
	if d := time.Until(t) - s.spin; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
			return
		}
	}
	for time.Now().Before(t) {
		runtime.Gosched()
	}
}

func (s *sleeper) close() {}
