package load

import (
	"context"
	"sync"
	"time"
)

// slots counts the requests in flight, and holds those above a limit back, in
// the order of their schedule: take is called by the one goroutine that sends.
type slots struct {
	limit int          // 0: none
	until int64        // what waits so long is not sent any more, ns from the point's start; 0: it is
	now   func() int64 // ns from the point's start
	room  chan struct{}

	mu    sync.Mutex
	taken int
	most  int
	freed []int64 // when the slots were given back that have not been taken again, oldest first
}

func newSlots(limit int, until time.Duration, now func() int64) *slots {
	return &slots{limit: limit, until: int64(until), now: now, room: make(chan struct{}, 1)}
}

// take waits for a slot for a request that was due at the given instant, and
// returns for how long it waited, in ns. False: ctx is done, or it is too late.
func (s *slots) take(ctx context.Context, due int64) (waited int64, ok bool) {
	for {
		s.mu.Lock()
		if free := s.limit - s.taken; s.limit == 0 || free > 0 {
			// Slots are taken in the order in which they were given back, and
			// those that never were first.
			if s.limit > 0 && len(s.freed) == free {
				waited = max(0, s.freed[0]-due)
			}
			if waited > 0 && s.until > 0 && s.now() >= s.until {
				s.mu.Unlock()
				return 0, false
			}
			if s.limit > 0 && len(s.freed) == free {
				s.freed = s.freed[1:]
			}
			s.taken++
			s.most = max(s.most, s.taken)
			s.mu.Unlock()
			return waited, true
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// give returns a slot.
func (s *slots) give() {
	s.mu.Lock()
	if s.limit > 0 {
		s.freed = append(s.freed, s.now())
	}
	s.taken--
	s.mu.Unlock()
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// mostTaken is how many requests were in flight at a time, at most.
func (s *slots) mostTaken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}
