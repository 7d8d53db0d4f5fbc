package loop

import (
	"vbp/stages/load"
)

// ahead is how many requests are rendered before they are due. Rendering one
// takes up to some 100 us (thousands of token ids); a burst of as many is sent
// back to back.
const ahead = 64

// prepared is a request that waits for its time.
type prepared struct {
	index     int
	maxTokens int
	bytes     []byte
}

// preparer renders the requests of one loop, in a goroutine of its own, so that
// nothing but a write is left to do when one is due.
type preparer struct {
	ready chan prepared
	free  chan []byte // buffers that have been written
	stop  chan struct{}
	ended chan struct{}
}

// newPreparer begins with requests first, first+step and so on below n. Close
// ends it.
func newPreparer(w wire, request func(int) load.Request, first, step, n int) *preparer {
	p := &preparer{
		ready: make(chan prepared, ahead), free: make(chan []byte, 2*ahead),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go func() {
		defer close(p.ended)
		for i := first; i < n; i += step {
			var b []byte
			select {
			case b = <-p.free:
			default:
			}
			q := request(i)
			select {
			case p.ready <- prepared{i, q.MaxTokens, w.render(b[:0], q)}:
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// take returns the next request, if it is there already.
func (p *preparer) take() (prepared, bool) {
	select {
	case q := <-p.ready:
		return q, true
	default:
		return prepared{}, false
	}
}

// give returns a buffer that has been written.
func (p *preparer) give(b []byte) {
	if cap(b) > 1<<20 {
		return
	}
	select {
	case p.free <- b:
	default:
	}
}

// close returns when the goroutine has ended.
func (p *preparer) close() {
	close(p.stop)
	<-p.ended
}
