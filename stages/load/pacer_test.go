package load

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble of synctest time moves only when everything waits, so the
// sleeper must not spin there; what it does before is the same.
func TestPaceKeepsItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := []time.Duration{0, 3 * time.Millisecond, 3 * time.Millisecond, 7 * time.Millisecond, 8 * time.Millisecond, 2 * time.Second}
		start := time.Now()
		var fired, prepared []time.Duration
		n := pace(t.Context(), newSleeper(t.Context(), 0), start, at,
			func(int) { prepared = append(prepared, time.Since(start)) },
			func(i int) bool {
				fired = append(fired, time.Since(start))
				if i == 1 {
					time.Sleep(6 * time.Millisecond) // the machine stalls
				}
				return true
			})
		// What became due during the stall is sent at once, and what
		// follows is on time again: lateness does not add up.
		want := []time.Duration{0, 3 * time.Millisecond, 9 * time.Millisecond, 9 * time.Millisecond, 9 * time.Millisecond, 2 * time.Second}
		if n != len(at) || !slices.Equal(fired, want) {
			t.Errorf("%d fired at %v, want %v", n, fired, want)
		}
		// Each is prepared before it is due, while there is time.
		if want := []time.Duration{0, 0, 9 * time.Millisecond, 9 * time.Millisecond, 9 * time.Millisecond, 9 * time.Millisecond}; !slices.Equal(prepared, want) {
			t.Errorf("prepared at %v, want %v", prepared, want)
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		at := []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, time.Hour}
		start := time.Now()
		n := pace(ctx, newSleeper(ctx, 0), start, at, func(int) {}, func(int) bool { return true })
		if n != 2 || time.Since(start) != 50*time.Millisecond {
			t.Errorf("%d fired, ended after %v", n, time.Since(start))
		}
	})
}

// The real waiter, whichever this system has: never early, and it lets go when
// its context ends. That it is seldom late is what the benchmark shows.
func TestWaiter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWaiter(ctx)
	defer w.close()
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, 300 * time.Microsecond, 4 * time.Millisecond} {
		until := time.Now().Add(d)
		w.until(until)
		if now := time.Now(); now.Before(until) {
			t.Errorf("woke %v early of %v", until.Sub(now), d)
		}
	}
	ended := make(chan struct{})
	go func() {
		w.until(time.Now().Add(time.Hour))
		close(ended)
	}()
	cancel()
	<-ended
	w.until(time.Now().Add(time.Hour)) // returns at once: the context has ended
}

// BenchmarkWaiter reports how late the waiter wakes an idle process.
func BenchmarkWaiter(b *testing.B) {
	w := newWaiter(b.Context())
	defer w.close()
	var late []float64
	for b.Loop() {
		until := time.Now().Add(3 * time.Millisecond)
		w.until(until)
		late = append(late, float64(time.Since(until).Microseconds()))
	}
	slices.Sort(late)
	b.ReportMetric(percentile(late, 0.5), "us-late-p50")
	b.ReportMetric(percentile(late, 0.99), "us-late-p99")
}
