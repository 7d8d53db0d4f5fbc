package engine

import (
	"context"
	"io"
	"log"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowLog takes its time for every line, while the driver waits.
type slowLog struct{ takes time.Duration }

func (l slowLog) Write(p []byte) (int, error) {
	time.Sleep(l.takes)
	return len(p), nil
}

// instants are when the tokens of a call came out, as its handler sees it.
func instants(t *testing.T, d *driver, c *call) []time.Duration {
	t.Helper()
	if err := d.submit(c); err != nil {
		t.Error(err)
		return nil
	}
	var at []time.Duration
	for len(at) < c.req.Output {
		n, err := c.await(t.Context(), len(at))
		if err != nil {
			t.Error(err)
			return at
		}
		for len(at) < n {
			at = append(at, d.now())
		}
	}
	return at
}

func drive(t *testing.T, c Config, l io.Writer, run func(*testing.T, *driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(c, log.New(l, "", 0))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.run(ctx) })
		run(t, d)
		stop()
		wg.Wait()
	})
}

func request(prompt, output int) *call {
	c := newCall("x")
	c.req.PromptTokens, c.req.Output, c.reason = prompt, output, "length"
	return c
}

func TestTokensComeAtTheEndsOfSteps(t *testing.T) {
	c := small()
	c.Overhead = 5 * ms
	drive(t, c, io.Discard, func(t *testing.T, d *driver) {
		time.Sleep(100 * ms)
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(20 * ms)
			// Ready at 125, in a step that ends at 128; it is part of the next one.
			if at := instants(t, d, request(3, 1)); at[0] != 141*ms {
				t.Errorf("the second request's token came at %v", at)
			}
		})
		at := instants(t, d, request(3, 4))
		wg.Wait()
		// 100 + 5, then 13 for the prefill, then 10 a step, one of which has 3 prefill tokens.
		want := []time.Duration{118 * ms, 128 * ms, 141 * ms, 151 * ms}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("tokens came at %v, want %v", at, want)
				break
			}
		}
	})
}

// A driver that is woken late hands its tokens out late, but the next ones
// come when they would have come anyway.
func TestLatenessDoesNotAddUp(t *testing.T) {
	c := small()
	c.Lease = 12 * ms
	drive(t, c, slowLog{25 * ms}, func(t *testing.T, d *driver) {
		held := request(1, 1)
		held.req.Hold = true
		instants(t, d, held) // done at 10 ms; its lease ends at 22, and that is logged, which takes 25 ms
		at := instants(t, d, request(1, 6))
		want := []time.Duration{20, 30, 55, 55, 60, 70} // 40 and 50 are late; 60 is not
		for i, w := range want {
			if at[i] != w*ms {
				t.Fatalf("tokens came at %v, want %v ms", at, want)
			}
		}
		if n := d.metrics.lateness.sum; n < .019 || n > .021 {
			t.Errorf("%g s of lateness were recorded, want 15 + 5 ms", n)
		}
	})
}

func TestCancelFreesBlocks(t *testing.T) {
	drive(t, small(), io.Discard, func(t *testing.T, d *driver) {
		c := request(8, 100)
		if err := d.submit(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.await(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		d.cancel(c)
		synctest.Wait()
		if st := d.sched.Stats(); st.FreeBlocks != st.Blocks || st.Running != 0 {
			t.Errorf("after the cancellation: %+v", st)
		}
		if d.metrics.success["abort"] != 1 {
			t.Errorf("%v", d.metrics.success)
		}
		d.cancel(c) // once more changes nothing
		if d.metrics.success["abort"] != 1 {
			t.Errorf("cancelled twice: %v", d.metrics.success)
		}
	})
}
