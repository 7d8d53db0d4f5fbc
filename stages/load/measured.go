package load

import (
	"fmt"
	"time"

	"vbp/stages/sample"
)

// Measured is a point that was measured: what is known of it as a whole, and
// its rows, which are made when they are asked for.
type Measured struct {
	Meta sample.Meta // what Measure says that it fills

	at       []int64 // position of each row, in order of the schedule
	rows     *spool
	ids      idStem
	arrivals []time.Duration
}

// Len is the number of requests that are rows.
func (m *Measured) Len() int { return len(m.at) }

// Table returns rows [from, to) in the order in which the schedule wanted them
// sent; Meta is that of the point. It may be called by several goroutines at a
// time.
func (m *Measured) Table(from, to int) (*sample.Table, error) {
	if from < 0 || to < from || to > len(m.at) {
		return nil, fmt.Errorf("load: rows %d to %d of %d are asked for", from, to, len(m.at))
	}
	t := &sample.Table{Meta: m.Meta}
	t.Grow(to - from)
	var buf []byte
	var r rowReader
	for _, at := range m.at[from:to] {
		b, used, err := m.rows.read(at, buf)
		if err != nil {
			return nil, err
		}
		buf = used
		i, o, err := r.read(b, m.scheduled)
		if err != nil {
			return nil, fmt.Errorf("load: reading rows back: %w", err)
		}
		o.ID = m.ids.of(i)
		o.Derive()
		t.Append(o)
	}
	return t, nil
}

// scheduled is when request i was due, if there is such a request.
func (m *Measured) scheduled(i int) (int64, bool) {
	if i < 0 || i >= len(m.arrivals) {
		return 0, false
	}
	return int64(m.arrivals[i]), true
}

// Close gives up the rows, and removes the file that they are in.
func (m *Measured) Close() error {
	m.at = nil
	return m.rows.close()
}
