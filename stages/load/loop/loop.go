//go:build linux && (amd64 || arm64)

package loop

import (
	"context"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hungry is after what time a loop looks again for a request that is due
	// and not rendered yet.
	hungry = 100 * time.Microsecond
	// spin is how long before a request is due a loop does not sleep any
	// more, but looks for events until then. At a thousand requests a second
	// that is 4 % of a core.
	spin = 40 * time.Microsecond
	// gathering is how long a loop leaves events alone where more than crowd
	// of them come a second, counted every rateWindow: short against the time
	// of a step of any engine.
	gathering  = 500 * time.Microsecond
	oversleep  = 150 * time.Microsecond // by which a sleep may end late
	crowd      = 20_000
	rateWindow = 10 * time.Millisecond
)

// eventLoop sends and reads the requests first, first+step and so on of a run.
// All of it is done by one goroutine on a thread of its own, sends before
// reads: between any two reads it looks at the clock, so that a request that
// has become due waits for one read at most.
type eventLoop struct {
	run         *run
	first, step int
	poll        *poller
	in          *receiver
	requests    *preparer
	sockaddrs   []unix.Sockaddr // of the run's addresses; the system calls write to them

	now, wall int64 // ns from the point's start, and Unix ns, when the clock was last looked at
	offset    int64 // wall - now when it was looked at before
	stepped   int64 // ns: when the wall clock was last seen to have been set

	next                  prepared // rendered, waits for its time
	has                   bool
	coming                int     // index of the next request to be sent, rendered or not
	inFlight              int     // streams
	freed                 []int64 // with a limit: when the slots were given back that have not been taken again, oldest first
	conns                 []*conn
	freeSlots             []int32
	open                  int
	lives                 int32        // connections so far
	idle                  []due[*conn] // last used last
	spares                []due[*conn] // under way, and no stream waits for them
	counted, countedReads int64        // when reads were counted last, and how many there were
	crowded               bool         // more than crowd a second came before

	spared int   // for which request one was begun last
	lead   int64 // ns: how long before a request is due a connection for it is opened

	deadlines fifo[*stream] // of requests
	dials     fifo[*conn]
	drains    fifo[*conn]
	idles     fifo[*conn]

	oldConns   []*conn
	oldStreams []*stream

	stats tally
}

func (l *eventLoop) due(i int) int64 { return int64(l.run.plan.At[i]) }

// look takes the time.
func (l *eventLoop) look() {
	t := time.Now()
	l.now, l.wall = int64(t.Sub(l.run.start)), t.UnixNano()
	d := l.wall - l.now - l.offset
	l.offset += d
	if d > 1e6 || d < -1e6 {
		l.stepped = l.now
	}
}

// work runs until every request has its answer, or ctx is done.
func (l *eventLoop) work(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.closeAll()
	begin := threadTime()
	l.coming, l.lead, l.spared = l.first, int64(2*time.Millisecond), -1
	if l.first < len(l.run.plan.At) {
		l.next, l.has = <-l.requests.ready, true
	}
	// The clock of the point starts when all loops are here.
	if l.run.unready.Add(-1) == 0 {
		l.run.start = l.run.plan.Begin()
		close(l.run.begun)
	}
	<-l.run.begun
	l.look()
	for !l.over() {
		if ctx.Err() != nil {
			l.cut(ctx)
			break
		}
		l.sendDue()
		l.expire()
		if l.over() {
			break // the last one failed at once, or its time was up: nothing would wake the loop
		}
		var events []unix.EpollEvent
		if wake := l.wake(); wake <= l.now {
			events = l.poll.look()
		} else {
			l.gather(wake)
			l.sleepUntil(wake)
			events = l.poll.wait()
		}
		l.look()
		if l.isDue() {
			l.sendDue()
		}
		for i := range events {
			e := &events[i]
			if e.Fd < 0 {
				if e.Fd == slotTimer {
					l.poll.armed = 0
				}
				continue
			}
			c := l.conns[e.Fd]
			if c == nil || c.life != e.Pad || c.state == closed {
				continue // closed by an event before
			}
			l.handle(c, e.Events)
			if l.isDue() {
				l.sendDue()
			}
		}
	}
	l.stats.cpu = threadTime() - begin
}

// over reports whether every request has its answer.
func (l *eventLoop) over() bool { return l.coming >= len(l.run.plan.At) && l.inFlight == 0 }

// isDue reports whether the next request should be sent.
func (l *eventLoop) isDue() bool {
	return l.coming < len(l.run.plan.At) && l.due(l.coming) <= l.now && !l.full()
}

// drop gives up what waits for a slot when the point is over.
func (l *eventLoop) drop() {
	plan := &l.run.plan
	if plan.Until == 0 || l.now < int64(plan.Until) || l.coming >= len(plan.At) {
		return
	}
	// No slot is left that it could have had when it was due.
	if l.full() || len(l.freed) == plan.Limit-l.inFlight && l.freed[0] > l.due(l.coming) {
		l.stats.dropped = (len(plan.At)-1-l.coming)/l.step + 1
		l.coming = len(plan.At)
	}
}

func (l *eventLoop) full() bool { return l.run.plan.Limit > 0 && l.inFlight >= l.run.plan.Limit }

// wake is until when the loop may sleep. Somewhat before a request is due it
// may not: a timer wakes it some 30 us late.
func (l *eventLoop) wake() int64 {
	at := never
	if l.coming < len(l.run.plan.At) && !l.full() {
		at = l.due(l.coming)
		switch {
		case at <= l.now: // else it had been sent
			at = l.now + int64(hungry)
		case l.wantsSpare():
			at -= max(l.lead, int64(spin))
		default:
			at -= int64(spin)
		}
	}
	return min(at, l.deadlines.next(), l.dials.next(), l.drains.next(), l.idles.next())
}

func (l *eventLoop) sleepUntil(at int64) {
	if at != l.poll.armed && at != never {
		l.poll.arm(at - l.now)
		l.poll.armed = at
	}
}

// gather lets events come together while they are many and no request is due
// for a while. What they tell of time is the kernel's, so that nothing is
// measured later by it; being woken for each costs a sixth of the processor
// time (BenchmarkLoad of doctor, Paced100k).
func (l *eventLoop) gather(wake int64) {
	if since := l.now - l.counted; since >= int64(rateWindow) {
		l.crowded = float64(l.stats.reads-l.countedReads) > crowd*float64(since)/1e9
		l.counted, l.countedReads = l.now, l.stats.reads
	}
	d := min(int64(gathering), wake-l.now-int64(oversleep))
	if !l.crowded || l.run.plan.Limit > 0 || d < int64(oversleep) {
		return // under a limit one more is sent when one has ended: then no end may wait
	}
	nap := unix.NsecToTimespec(d)
	unix.Nanosleep(&nap, nil) // cut short by a signal, it has gathered less
	l.look()
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
