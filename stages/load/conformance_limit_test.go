package load_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// A limit of requests in flight holds at the server, in order, and rows say for
// how long they waited.
func TestLimit(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		for _, limit := range []int{1, 7} {
			const n = 100
			var flying, most, seen atomic.Int64
			s := serve(t, func(c *conn) {
				for {
					if _, _, ok := c.ask(); !ok {
						return
					}
					most.Store(max(most.Load(), flying.Add(1)))
					for limit > 1 && seen.Load() == 0 { // the first ones fill the limit
						if flying.Load() == int64(limit) {
							seen.Store(1)
						}
						c.settle()
					}
					flying.Add(-1)
					c.write(whole("a"))
				}
			})
			c := at(s.url, n)
			c.MaxConcurrency = limit
			var log []load.Event
			table, err := load.Run(t.Context(), c, k.make(), func(e load.Event) { log = append(log, e) })
			if err != nil || table.Failed() > 0 {
				t.Fatalf("error %v, %q", err, table.Error)
			}
			if most.Load() != int64(limit) || table.Meta.Facts["streams_max"] != float64(limit) {
				t.Errorf("limit %d: %d at once, facts %v", limit, most.Load(), table.Meta.Facts)
			}
			var ends []int64 // of answers, as told
			last := -1
			for _, e := range log {
				switch e.Kind {
				case load.Done:
					ends = append(ends, int64(e.At))
				case load.Sent:
					if limit == 1 && e.Index != last+1 {
						t.Errorf("request %d was sent after %d", e.Index, last)
					}
					last = e.Index
				}
			}
			slices.Sort(ends)
			for i := range n {
				o := table.Row(i)
				from := o.Scheduled + int64(o.SlotWait*1e9+.5) // when it had its slot
				switch {
				case !(o.SlotWait >= 0) || from > o.Sent:
					t.Errorf("limit %d, request %d: waited %v s, sent at %d", limit, i, o.SlotWait, o.Sent)
				case i < limit && o.SlotWait != 0:
					t.Errorf("limit %d, request %d waited %v s for a free slot", limit, i, o.SlotWait)
				case i >= limit && from < ends[i-limit]:
					t.Errorf("limit %d, request %d had its slot at %d, when only %d answers had ended", limit, i, from, i-limit)
				case i > 0 && i >= limit && o.SlotWait < table.SlotWait[i-1]:
					t.Errorf("limit %d, request %d waited %v s, the one before %v s", limit, i, o.SlotWait, table.SlotWait[i-1])
				}
			}
		}
	})
}

// Without a limit no row tells of a wait, and a limit that is never reached is
// not waited for.
func TestLimitThatIsNotReached(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, always(whole("a")))
		for _, limit := range []int{0, 10} {
			c := at(s.url, 10)
			c.MaxConcurrency = limit
			table := measure(t, k, c)
			for i, wait := range table.SlotWait {
				if limit == 0 != (wait != wait) || limit > 0 && wait != 0 {
					t.Errorf("limit %d: request %d waited %v s", limit, i, wait)
				}
			}
		}
	})
}

// Requests whose time runs out while others wait make room for them.
func TestLimitAfterTimeouts(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			for {
				i, _, ok := c.ask()
				if !ok {
					return
				}
				if i > 1 {
					c.write(whole("a"))
				}
			}
		})
		c := at(s.url, 6)
		c.MaxConcurrency, c.Timeout = 2, 300*time.Millisecond
		table := measure(t, k, c)
		want := []string{sample.Timeout, sample.Timeout, sample.OK, sample.OK, sample.OK, sample.OK}
		if !slices.Equal(table.Outcome, want) || table.SlotWait[2] < .3 {
			t.Errorf("outcomes %q after waits of %v s", table.Outcome, table.SlotWait)
		}
	})
}

// What waits for a slot when the duration is over is not sent; what had one, or
// need not wait, is.
func TestDurationEndsALimitedPoint(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			for {
				if _, _, ok := c.ask(); !ok {
					return
				}
				c.write(whole("a"))
			}
		})
		for _, each := range []struct {
			limit, sent int
			duration    time.Duration
		}{
			{1, 1, 1}, // over as soon as it has begun
			{3, 3, 1},
			{10, 10, 1},
			{1, 10, time.Hour},
			{1, 10, 0}, // none
			{0, 10, 1}, // nothing waits
		} {
			c := at(s.url, 10)
			c.MaxConcurrency, c.Duration = each.limit, each.duration
			for i := range c.Arrivals {
				c.Arrivals[i] = 0
			}
			table, err := load.Run(t.Context(), c, k.make(), nil)
			if err != nil {
				t.Fatal(err)
			}
			f := table.Meta.Facts
			_, told := f["dropped"]
			if table.Len() != each.sent || table.Failed() > 0 || f["sent"] != float64(each.sent) || f["planned"] != float64(each.sent) ||
				told != (each.limit > 0 && each.duration > 0) || f["dropped"] != float64(10-each.sent) {
				t.Errorf("%+v: %d rows, facts %v", each, table.Len(), f)
			}
		}
	})
}
