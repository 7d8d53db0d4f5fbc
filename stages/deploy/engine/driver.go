package engine

import (
	"context"
	"log"
	"sync"
	"sync/atomic"
	"time"
)

// driver runs a Scheduler in real time. Its one goroutine opens steps, sleeps
// until their ends and hands out their tokens. Steps begin and end at
// absolute instants: the next one begins where the last one ended, however
// late the goroutine was woken, so lateness delays single tokens but never
// adds up.
type driver struct {
	start time.Time // instant 0 of the scheduler's clock
	log   *log.Logger
	poked chan struct{} // holds one: something changed from outside

	mu      sync.Mutex // guards what follows
	sched   *Scheduler
	held    map[string]*call // finished requests whose KV waits to be fetched, by the name told to others
	metrics *metrics
	warned  time.Duration // when lateness was last logged
}

func newDriver(c Config, l *log.Logger) *driver {
	return &driver{
		start: time.Now(), log: l, poked: make(chan struct{}, 1),
		sched: NewScheduler(c), held: make(map[string]*call), metrics: newMetrics(),
	}
}

// call is a request with the mailbox through which its handler is told.
type call struct {
	req    Request
	name   string        // by which another instance may fetch its KV
	notify chan struct{} // holds one: look again
	made   atomic.Int64  // tokens that came out
	landed atomic.Bool   // its remote KV arrived

	reason   string        // how it ends: stop or length
	previous time.Duration // when its latest token came out; the driver's own
}

func newCall(name string) *call {
	c := &call{name: name, notify: make(chan struct{}, 1)}
	c.req.Owner = c
	return c
}

func (c *call) wake() {
	select {
	case c.notify <- struct{}{}:
	default:
	}
}

func (d *driver) now() time.Duration { return time.Since(d.start) }

func (d *driver) poke() {
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

// submit adds a request. Its error is the client's fault.
func (d *driver) submit(c *call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sched.Add(d.now(), &c.req); err != nil {
		return err
	}
	d.poke()
	return nil
}

// cancel ends a request that nobody waits for any more. One that gave all its
// tokens is left alone, with the blocks it may hold.
func (d *driver) cancel(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.req.Ended() {
		d.sched.Cancel(&c.req)
		d.metrics.finished("abort")
		d.poke()
	}
}

// fail is cancel for a request that came to nothing through no fault of its
// client.
func (d *driver) fail(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.req.Ended() {
		d.sched.Cancel(&c.req)
		d.metrics.finished("error")
		d.poke()
	}
}

// release lets go of the KV held under a name; false if none is.
func (d *driver) release(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.held[name]
	if !ok {
		return false
	}
	delete(d.held, name)
	d.poke()
	return d.sched.Release(&c.req)
}

// blockIDs are the blocks that a request owns now.
func (d *driver) blockIDs(c *call) []int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sched.BlockIDs([]int32{}, &c.req)
}

// load is what the choice among replicas goes by.
func (d *driver) load() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.sched.Stats()
	return 4*(st.Waiting+st.Fetching) + st.Running
}

// releasedLate counts a release of KV that is not held any more.
func (d *driver) releasedLate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.metrics.lateReleases++
}

func (d *driver) resetPrefixCache() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sched.ResetPrefixCache()
}

// run serves until the context ends.
func (d *driver) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var now time.Duration // the instant up to which the scheduler has been run; never ahead of the clock
	for ctx.Err() == nil {
		d.mu.Lock()
		step, events, ok := d.sched.Next(now)
		d.deliver(events)
		var wake time.Duration
		var timed bool
		if !ok {
			wake, timed = d.sched.Wake(now)
		}
		d.mu.Unlock()

		if ok {
			if !d.sleep(ctx, timer, step.End) {
				return
			}
			now = step.End
			d.mu.Lock()
			d.late(step, d.now())
			d.deliver(d.sched.Finish())
			d.mu.Unlock()
			continue
		}
		var alarm <-chan time.Time
		if timed {
			timer.Reset(wake - d.now())
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-alarm:
			now = wake
		case <-d.poked:
			if now = d.now(); timed {
				now = min(now, wake) // what was due before is due at its own instant
			}
		}
	}
}

// sleep waits for an instant; false if the context ended before.
func (d *driver) sleep(ctx context.Context, timer *time.Timer, until time.Duration) bool {
	left := until - d.now()
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(left)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// late records how long after a step's end its tokens are handed out, and
// logs it, once a second at most, where it is large against a step.
func (d *driver) late(step Step, now time.Duration) {
	by := now - step.End
	d.metrics.lateness.observe(by.Seconds())
	d.metrics.iterationTokens.observe(float64(step.Tokens()))
	const much, quiet = 50 * time.Millisecond, time.Second
	if by > much && now-d.warned > quiet {
		d.warned = now
		d.log.Printf("tokens are handed out %v late: this machine is too busy to simulate at full pace", by.Round(time.Millisecond))
	}
}

// deliver passes events on to handlers and counts them. d.mu is held.
func (d *driver) deliver(events []Event) {
	for _, e := range events {
		c := e.Request.Owner.(*call)
		switch e.Kind {
		case Token:
			d.metrics.token(c, e)
			if e.Done && c.req.Hold {
				d.held[c.name] = c
			}
			c.made.Store(int64(c.req.Generated))
			c.wake()
		case Transferred:
			d.metrics.transferTime.observe(c.req.TransferFor.Seconds())
			d.metrics.transferBytes.observe(float64(c.req.Transferred))
			c.landed.Store(true)
			c.wake()
		case Expired:
			delete(d.held, c.name)
			d.log.Printf("the KV of %s was not fetched within %v and is gone", c.name, d.sched.Config().Lease)
		}
	}
}
