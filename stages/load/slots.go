package load

import (
	"context"
	"sync"
)

// slots counts the requests in flight, and holds those above a limit back, in
// the order of their schedule: take is called by the one goroutine that sends.
type slots struct {
	limit int          // 0: none
	now   func() int64 // ns from the point's start
	room  chan struct{}

	mu    sync.Mutex
	taken int
	most  int
	freed []int64 // when the slots were given back that have not been taken again, oldest first
}

func newSlots(limit int, now func() int64) *slots {
	return &slots{limit: limit, now: now, room: make(chan struct{}, 1)}
}

// take waits for a slot for a request that was due at the given instant, and
// returns for how long it waited, in ns. False: ctx is done.
func (s *slots) take(ctx context.Context, due int64) (waited int64, ok bool) {
	for {
		s.mu.Lock()
		if s.limit == 0 || s.taken < s.limit {
			s.taken++
			s.most = max(s.most, s.taken)
			// Slots are taken in the order in which they were given back, and
			// those that never were first.
			if s.limit > 0 && len(s.freed) > s.limit-s.taken {
				waited = max(0, s.freed[0]-due)
				s.freed = s.freed[1:]
			}
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
