//go:build amd64 || arm64

package metronome

// agenda holds the answers whose next segment waits for its time: a binary
// heap, which allocates only when it has never held as many. Of those due at
// one instant the one that arrived first comes first, as in a batch whose
// order does not change.
type agenda []appointment

type appointment struct {
	due    int64
	record int
	conn   *conn
}

func (a appointment) before(b appointment) bool {
	return a.due < b.due || a.due == b.due && a.record < b.record
}

// put adds an answer.
func (h *agenda) put(c *conn) {
	*h = append(*h, appointment{due: c.due, record: c.record, conn: c})
	a := *h
	i := len(a) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !a[i].before(a[parent]) {
			return
		}
		a[i], a[parent] = a[parent], a[i]
		i = parent
	}
}

// take removes the answer that is due first, of an agenda that has one.
func (h *agenda) take() *conn {
	a := *h
	c, last := a[0].conn, len(a)-1
	a[0], a[last] = a[last], appointment{}
	a = a[:last]
	*h = a
	for i := 0; ; {
		first := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < len(a) && a[child].before(a[first]) {
				first = child
			}
		}
		if first == i {
			return c
		}
		a[i], a[first] = a[first], a[i]
		i = first
	}
}
