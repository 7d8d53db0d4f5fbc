//go:build linux && (amd64 || arm64)

package loop

import (
	"bytes"
	"context"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/sample"
)

const (
	// idleLimit is how long a connection is kept that nobody uses: servers
	// on uvicorn close theirs after 5 s, and one that is being closed while
	// a request is written to it fails the request, so we let go first.
	idleLimit = 4 * time.Second
	// dialLimit is how long a connection may take to come about.
	dialLimit = 30 * time.Second
	// drainLimit is how long the rest of a response is waited for once its
	// answer is known.
	drainLimit = time.Second
	// mostRefusal is how much is read of the body of an error.
	mostRefusal = 64 << 10
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
	gathering  = 250 * time.Microsecond
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
	stepped   bool  // the wall clock was set between the last two looks

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
	l.now, l.wall = int64(t.Sub(l.run.plan.Start)), t.UnixNano()
	d := l.wall - l.now - l.offset
	l.offset += d
	l.stepped = d > 1e6 || d < -1e6
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
	l.look()
	l.look() // the first one did not know whether the clock was set
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
	if !l.crowded || l.run.plan.Limit > 0 || wake-l.now < int64(gathering)+150_000 {
		return // one more is sent when one has ended: then no end may wait
	}
	d := unix.NsecToTimespec(int64(gathering))
	unix.Nanosleep(&d, nil) // cut short by a signal, it has gathered less
	l.look()
}

// sendDue sends every request whose time has come, and opens a connection for
// the one after, if there is none.
func (l *eventLoop) sendDue() {
	for l.isDue() {
		if !l.has {
			if l.next, l.has = l.requests.take(); !l.has {
				return
			}
		}
		q := l.next
		l.has = false
		l.coming += l.step
		l.fire(q)
		l.look()
	}
	if l.coming < len(l.run.plan.At) && !l.full() && l.due(l.coming)-l.lead <= l.now && l.wantsSpare() {
		l.openSpare()
	}
}

// fire sends request q.
func (l *eventLoop) fire(q prepared) {
	s := l.newStream(q)
	if due := l.due(q.index); l.run.plan.Limit > 0 {
		s.ans.Out.SlotWait = 0
		if len(l.freed) == l.run.plan.Limit-l.inFlight { // no slot is left that never was taken
			s.ans.Out.SlotWait = float64(max(0, l.freed[0]-due)) / 1e9
			l.freed = l.freed[1:]
		}
	}
	l.inFlight++
	l.stats.streams = max(l.stats.streams, l.inFlight)
	l.deadlines.put(l.now+int64(l.run.plan.Timeout), s)
	l.place(s, q.bytes)
}

// place gives a stream a connection, and sends its request if that is open.
// Request is nil for one that has to be rendered again.
func (l *eventLoop) place(s *stream, request []byte) {
	var c *conn
	if !s.told { // one that is sent again gets a connection that is surely open
		c = l.takeIdle()
	}
	if c == nil {
		c = l.takeSpare()
	}
	if c == nil {
		if c = l.dial(s, (int(l.run.good.Load())+s.addr)%len(l.run.addrs)); c == nil {
			if request != nil {
				l.requests.give(request)
			}
			return // the stream has failed
		}
	}
	if request == nil {
		request = l.run.wire.render(nil, l.run.plan.Request(s.index))
	}
	c.stream, c.buffer, c.out = s, request, request
	s.conn = c
	if c.state != connecting {
		l.begin(c)
	}
	l.write(c) // one that has just been begun may be there: on this machine it is
}

// begin marks that the request is about to be written.
func (l *eventLoop) begin(c *conn) {
	c.state = asking
	c.phase++
	c.resp.start()
	s := c.stream
	if !s.told {
		// Finding or making the connection came before: that is part of the
		// lag, not of the server's time to the first token.
		s.ans.Out.Sent = int64(time.Since(l.run.plan.Start))
	}
}

// write writes what is left of the request.
func (l *eventLoop) write(c *conn) {
	starting := c.state == connecting
	var sent int64
	if starting {
		sent = int64(time.Since(l.run.plan.Start))
	}
	n, errno := send(c.fd, c.out)
	switch {
	case errno == unix.EAGAIN || starting && errno == unix.ENOTCONN:
		l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
		return
	case errno != 0 && starting:
		l.notConnected(c, errno)
		return
	case errno != 0:
		// What the server said before it closed may still be there.
		life := c.life
		l.read(c)
		if c.life == life && c.state == asking && len(c.out) > 0 { // else it is another connection's by now
			l.ended(c, &opError{"write", errno})
		}
		return
	}
	if starting {
		l.connected(c)
		l.begin(c)
		if !c.stream.told {
			c.stream.ans.Out.Sent = sent
		}
	}
	if s := c.stream; !s.told {
		s.told = true
		l.run.rec.Sent(s.index, s.ans.Out.Sent)
	}
	if c.out = c.out[n:]; len(c.out) > 0 {
		l.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
		return
	}
	l.written(c)
	l.watch(c, unix.EPOLLIN)
}

// written lets go of the request's bytes.
func (l *eventLoop) written(c *conn) {
	if c.buffer != nil {
		l.requests.give(c.buffer)
	}
	c.buffer, c.out = nil, nil
}

// watch has the poller tell of a connection's events.
func (l *eventLoop) watch(c *conn, events uint32) {
	if errno := l.poll.watch(c, events); errno != 0 {
		l.ended(c, &opError{"epoll_ctl", errno})
	}
}

// handle does what an event calls for.
func (l *eventLoop) handle(c *conn, events uint32) {
	if c.state == connecting {
		switch errno := socketError(c.fd); {
		case errno != 0:
			l.notConnected(c, errno)
			return
		case events&unix.EPOLLOUT == 0:
			return
		case c.stream == nil:
			l.connected(c)
			l.rest(c)
			l.watch(c, unix.EPOLLIN)
			return
		}
		l.write(c)
		return
	}
	life := c.life
	if events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		l.write(c)
	}
	if events&^unix.EPOLLOUT != 0 && c.life == life && c.state != closed {
		l.read(c)
	}
}

// connected notes that a connection is open.
func (l *eventLoop) connected(c *conn) {
	took := int64(time.Since(l.run.plan.Start)) - c.dialed
	l.lead = min(max(4*took, int64(2*time.Millisecond)), int64(250*time.Millisecond))
	l.run.good.Store(int32(c.addr))
}

// read reads once from a connection and takes in what came.
func (l *eventLoop) read(c *conn) {
	most := len(l.in.buffer)
	if s := c.stream; s != nil && s.ans.Out.FirstToken == sample.Absent && c.state == asking {
		// What is read together has one receive time, its last segment's.
		// Where this loop comes late, the segment with the first token is
		// read by itself: its time decides the TTFT.
		if n, _, errno := l.in.read(c.fd, most, unix.MSG_PEEK); errno == 0 && n > 0 {
			most = firstEvent(l.in.buffer[:n], !c.resp.answered())
		}
	}
	n, stamp, errno := l.in.read(c.fd, most, 0)
	l.look()
	if errno != 0 {
		if errno != unix.EAGAIN {
			l.ended(c, &opError{"read", errno})
		}
		return
	}
	if n == 0 {
		l.ended(c, nil)
		return
	}
	at := l.now
	if stamp != 0 && !l.stepped {
		// By the kernel's clock it came this much before now.
		if lag := l.wall - stamp; lag >= 0 {
			at -= lag
			l.stats.late(lag)
		}
	}
	if c.stream != nil {
		at = max(at, c.stream.ans.Out.Sent)
	}
	at = max(at, c.last)
	c.last = at
	l.took(c, l.in.buffer[:n], at)
}

// firstEvent is the length of the bytes to the end of the first event in them,
// which may be preceded by a header, and of all of them if it does not end.
func firstEvent(b []byte, header bool) int {
	at := 0
	if header {
		i := bytes.Index(b, []byte("\r\n\r\n"))
		if i < 0 {
			return len(b)
		}
		at = i + 4
	}
	for at < len(b) {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
		if at < len(b) && b[at] == '\n' {
			return at + 1
		}
		if at+1 < len(b) && b[at] == '\r' && b[at+1] == '\n' {
			return at + 2
		}
	}
	return len(b)
}

// took takes in bytes that arrived at the given instant.
func (l *eventLoop) took(c *conn, b []byte, at int64) {
	if c.state == idle || c.state == connecting {
		l.close(c) // nobody asked
		return
	}
	counted := false
	for {
		found, piece, rest, err := c.resp.next(b)
		if err != nil {
			l.ended(c, err)
			return
		}
		b = rest
		s := c.stream // nil once the answer is known
		switch found {
		case nothing:
			return
		case head:
			s.refused = !s.ans.Head(c.resp.Status, c.resp.value)
		case data:
			if s == nil {
				continue
			}
			if !counted {
				counted = true
				l.stats.reads++
			}
			if s.refused {
				s.body = append(s.body, piece[:min(len(piece), mostRefusal-len(s.body))]...)
				if len(s.body) == mostRefusal {
					s.ans.Refuse(s.body)
					l.done(c)
					l.close(c)
					return
				}
				continue
			}
			before := s.ans.Out.FirstToken
			more := s.ans.Feed(piece, at)
			if before != s.ans.Out.FirstToken {
				l.run.rec.First(s.index, at)
			}
			if more {
				continue
			}
			well := s.ans.Out.Outcome == sample.OK
			l.done(c)
			if !well {
				l.close(c)
				return
			}
			c.state = draining
			c.phase++
			l.drains.put(l.now+int64(drainLimit), c)
		case end:
			if s != nil {
				if s.refused {
					s.ans.Refuse(s.body)
				} else {
					s.ans.Closed(nil, at)
				}
				l.done(c)
			}
			if !c.resp.Keep || len(c.out) > 0 {
				l.close(c)
				return
			}
			c.used = true
			l.rest(c)
			return
		}
	}
}

// ended takes in that a connection ended: by the other side if err is nil.
func (l *eventLoop) ended(c *conn, err error) {
	s := c.stream
	switch {
	case c.state == closed:
		return
	case s == nil:
		l.close(c)
		return
	case c.state == connecting:
		l.refusedConn(c, err)
		return
	case c.used && !c.resp.seen:
		// The server had closed the kept connection when it was used again.
		// The request counts as sent when it first was: a server may have
		// held it for long before it dropped it, and that time is the
		// server's.
		c.stream, s.conn = nil, nil
		l.close(c)
		l.stats.resent++
		l.place(s, nil)
		return
	case !c.resp.answered():
		if err == nil {
			err = c.resp.closed()
		}
		s.ans.Fail(sample.ConnectError, "%w", err)
	case s.refused:
		s.ans.Refuse(s.body)
	default:
		if err == nil {
			err = c.resp.closed()
		}
		s.ans.Closed(err, l.now)
	}
	l.done(c)
	l.close(c)
}

// done records the answer of a connection's stream, which has one.
func (l *eventLoop) done(c *conn) {
	s := c.stream
	c.stream = nil
	l.finish(s)
}

func (l *eventLoop) finish(s *stream) {
	l.tellSent(s)
	l.run.rec.Done(s.index, int64(time.Since(l.run.plan.Start)), &s.ans.Out)
	l.forget(s)
}

// tellSent tells of a request that never came to be written.
func (l *eventLoop) tellSent(s *stream) {
	if !s.told {
		l.run.rec.Sent(s.index, s.ans.Out.Sent)
	}
}

// forget lets a stream go.
func (l *eventLoop) forget(s *stream) {
	s.phase++
	if l.run.plan.Limit > 0 {
		l.freed = append(l.freed, int64(time.Since(l.run.plan.Start)))
	}
	l.inFlight--
	l.oldStreams = append(l.oldStreams, s)
}

func (l *eventLoop) newStream(q prepared) *stream {
	var s *stream
	if n := len(l.oldStreams); n > 0 {
		s, l.oldStreams = l.oldStreams[n-1], l.oldStreams[:n-1]
	} else {
		s = &stream{}
	}
	s.index, s.conn, s.told, s.refused, s.body, s.addr = q.index, nil, false, false, s.body[:0], 0
	s.ans.Start(l.now, q.maxTokens)
	return s
}

// expire ends what has taken too long.
func (l *eventLoop) expire() {
	for {
		s, ok := l.deadlines.pop(l.now)
		if !ok {
			break
		}
		if s.refused {
			s.ans.Refuse(s.body)
		} else {
			s.ans.TimedOut(l.run.plan.Timeout)
		}
		if c := s.conn; c != nil {
			c.stream = nil
			l.close(c)
		}
		l.finish(s)
	}
	for {
		c, ok := l.dials.pop(l.now)
		if !ok {
			break
		}
		l.notConnected(c, unix.ETIMEDOUT)
	}
	for _, q := range []*fifo[*conn]{&l.drains, &l.idles} {
		for {
			c, ok := q.pop(l.now)
			if !ok {
				break
			}
			l.close(c)
		}
	}
}

// cut ends what is in flight with the run: as failures of the server, if that
// was its end, else without a trace.
func (l *eventLoop) cut(ctx context.Context) {
	aborted := load.AbortOf(ctx)
	l.look()
	for _, c := range l.conns {
		if c == nil || c.stream == nil {
			continue
		}
		s := c.stream
		l.stats.cut++
		if aborted == nil {
			c.stream = nil
			l.forget(s)
			continue
		}
		if s.refused {
			s.ans.Refuse(s.body)
		} else {
			s.ans.ServerEnded(aborted, l.now)
		}
		l.done(c)
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
