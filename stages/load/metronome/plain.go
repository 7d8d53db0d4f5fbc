package metronome

import (
	"net"
	"sync"
	"time"
)

// plain serves with a goroutine for each connection and the timers of Go: on
// any system, but later than it ought by up to a millisecond or so, as its
// records say.
type plain struct {
	ln    net.Listener
	tasks sync.WaitGroup
	over  chan struct{}

	mu     sync.Mutex
	pace   Pace
	script *script
	ledger ledger
	conns  map[net.Conn]bool
}

func servePlain(ln net.Listener, c Config) (server, error) {
	p := &plain{ln: ln, over: make(chan struct{}), pace: c.Pace, script: write(c.Pace), ledger: newLedger(c), conns: map[net.Conn]bool{}}
	p.tasks.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				select {
				case <-p.over:
					return
				case <-time.After(time.Millisecond): // of too many descriptors, say
					continue
				}
			}
			p.mu.Lock()
			p.conns[conn] = true
			p.mu.Unlock()
			p.tasks.Go(func() { p.serve(conn) })
		}
	})
	return p, nil
}

// serve answers the requests of one connection, one after the other.
func (p *plain) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		p.mu.Lock()
		delete(p.conns, conn)
		p.mu.Unlock()
	}()
	var in inbox
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		arrived := clock()
		if err := in.take(buf[:n], func(r request) error { return p.answer(conn, r, arrived) }); err != nil {
			return
		}
	}
}

func (p *plain) answer(conn net.Conn, r request, arrived int64) error {
	if r.api == apis {
		_, err := conn.Write([]byte(notFound))
		return err
	}
	p.mu.Lock()
	pace, script := p.pace, p.script
	due := pace.due(arrived)
	record := p.ledger.open(r.id, arrived, due, script.segments)
	p.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range script.segments {
		if d := time.Duration(due - clock()); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-p.over:
				return net.ErrClosed
			}
		}
		late := due
		if pace.Gap == 0 && n > 0 {
			late = 0
		}
		p.mu.Lock()
		p.ledger.wrote(record, n, script.segments, clock(), late)
		p.mu.Unlock()
		if _, err := conn.Write(script.segment(r.api, n)); err != nil {
			return err
		}
		due += int64(pace.Gap)
	}
	return nil
}

func (p *plain) reset(pace Pace) {
	s := write(pace)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace, p.script = pace, s
	p.ledger.reset()
}

func (p *plain) records() []Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger.copy()
}

func (p *plain) close() error {
	close(p.over)
	err := p.ln.Close()
	p.mu.Lock()
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return err
}
