package loop

import "testing"

// subject has a phase.
type subject struct{ phase uint32 }

func (s *subject) current() uint32 { return s.phase }

func TestFifoLeavesOutWhatHasGoneOn(t *testing.T) {
	var q fifo[*subject]
	if q.next() != never {
		t.Error("something is due of nothing")
	}
	a, b, c := &subject{}, &subject{}, &subject{}
	q.put(10, a)
	q.put(20, b)
	q.put(30, c)
	b.phase++
	if at := q.next(); at != 10 {
		t.Errorf("next at %d", at)
	}
	if _, ok := q.pop(9); ok {
		t.Error("due before its time")
	}
	if got, ok := q.pop(10); !ok || got != a {
		t.Error("not the first")
	}
	if at := q.next(); at != 30 {
		t.Errorf("next at %d: what has gone on is of no interest", at)
	}
	q.put(40, b) // in its new phase
	if got, ok := q.pop(100); !ok || got != c {
		t.Error("not the third")
	}
	if got, ok := q.pop(100); !ok || got != b {
		t.Error("not what was put in again")
	}
	if _, ok := q.pop(100); ok {
		t.Error("more than was put in")
	}
}

// What has been taken out is not kept for ever.
func TestFifoIsBounded(t *testing.T) {
	var q fifo[*subject]
	s := &subject{}
	for i := range int64(10) {
		q.put(i, s)
	}
	for i := range int64(100_000) {
		q.put(i+10, s)
		if got, ok := q.pop(i); !ok || got != s {
			t.Fatalf("%d: nothing due", i)
		}
	}
	if cap(q.items) > 8192 {
		t.Errorf("room for %d where 10 are kept", cap(q.items))
	}
}
