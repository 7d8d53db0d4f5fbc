package engine

// queue is the line of waiting requests: a ring that grows, with a front at
// which preempted requests are put back.
type queue struct {
	ring []*Request
	head int
	n    int
}

func (q *queue) grow() {
	if q.n < len(q.ring) {
		return
	}
	ring := make([]*Request, max(16, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

func (q *queue) pushBack(r *Request) {
	q.grow()
	q.ring[(q.head+q.n)%len(q.ring)] = r
	q.n++
}

func (q *queue) pushFront(r *Request) {
	q.grow()
	q.head = (q.head + len(q.ring) - 1) % len(q.ring)
	q.ring[q.head] = r
	q.n++
}

// front is the first request that has not been cancelled while it waited, or
// nil. Cancelled ones are dropped here rather than searched for.
func (q *queue) front() *Request {
	for q.n > 0 {
		if r := q.ring[q.head]; r.state == waiting {
			return r
		}
		q.popFront()
	}
	return nil
}

func (q *queue) popFront() {
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
}
