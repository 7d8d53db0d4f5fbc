package load

import "time"

// beatEvery is the time between two beats: short against what would spoil a
// measurement, long enough to cost nothing that could.
const beatEvery = 5 * time.Millisecond

// heartbeat notices when this process did not run: because it or its machine
// was stopped, or others had the processor, or the runtime stopped the world.
type heartbeat struct {
	stop  chan struct{}
	ended chan time.Duration
}

func newHeartbeat() *heartbeat {
	h := &heartbeat{stop: make(chan struct{}), ended: make(chan time.Duration, 1)}
	go h.beat(time.Now())
	return h
}

// beat counts from last on, so that it notices its own late beginning.
func (h *heartbeat) beat(last time.Time) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	longest := time.Duration(0)
	for {
		over := false
		select {
		case <-t.C:
		case <-h.stop:
			over = true
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)-beatEvery), now
		if over {
			h.ended <- longest
			return
		}
	}
}

// end stops it, and returns by how much at most a beat came late.
func (h *heartbeat) end() time.Duration {
	close(h.stop)
	return <-h.ended
}
