package loop

import "math"

// fifo holds what is due in the order in which it was put in, which must be
// that of its instants.
type fifo[T phased] struct {
	items []due[T]
	first int
}

// phased is what has phases: what was put in during one is of no interest in
// another.
type phased interface{ current() uint32 }

// due is an instant at which a subject is looked at, if it is then still in the same
// phase.
type due[T phased] struct {
	at      int64 // ns from the point's start
	subject T
	phase   uint32
}

func (q *fifo[T]) put(at int64, subject T) {
	if q.first > 1024 && q.first > len(q.items)/2 {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, due[T]{at, subject, subject.current()})
}

// never is later than every instant.
const never = int64(math.MaxInt64)

// next is the earliest instant at which something that still matters is due.
func (q *fifo[T]) next() int64 {
	for q.first < len(q.items) {
		d := &q.items[q.first]
		if d.subject.current() == d.phase {
			return d.at
		}
		*d = due[T]{}
		q.first++
	}
	q.items, q.first = q.items[:0], 0
	return never
}

// pop returns the next subject that is due at now.
func (q *fifo[T]) pop(now int64) (subject T, ok bool) {
	if q.next() > now {
		return subject, false
	}
	subject = q.items[q.first].subject
	q.items[q.first] = due[T]{}
	q.first++
	return subject, true
}
