package metronome

import (
	"slices"
	"time"
)

// Record is what the server knows of one request. Instants are of the
// system's clock, in nanoseconds since 1970; 0 is one that did not come.
type Record struct {
	ID      string  // its X-Request-Id
	Arrived int64   // when the last byte of the request reached this machine, by the kernel's stamp where there is one
	Due     int64   // when its first segment was due
	First   int64   // when the first segment was about to be written
	Last    int64   // when the last one was; 0: it has not come to that
	Late    int64   // ns: the most that a segment was written after it was due; 0 without a gap
	Written []int64 // when each segment was about to be written; nil: no room was left, see Config.Instants
}

// TTFT is the server's own time to the first token: from the arrival of the
// request to the write.
func (r *Record) TTFT() time.Duration { return time.Duration(r.First - r.Arrived) }

// TPOT is the server's own time per output token, in seconds, by the
// definition of vbp: (last token - first token) / (tokens - 1), of an answer
// of so many tokens. It needs two or more.
func (r *Record) TPOT(tokens int) float64 {
	return float64(r.Last-r.First) / 1e9 / float64(tokens-1)
}

// ledger keeps records. It allocates only for ids, once it has room.
type ledger struct {
	kept []Record
	slab []int64 // instants; those of a record lie together
}

func newLedger(c Config) ledger {
	return ledger{kept: make([]Record, 0, c.Requests), slab: make([]int64, 0, c.Instants)}
}

// open begins a record and returns its number.
func (l *ledger) open(id []byte, arrived, due int64, segments int) int {
	r := Record{ID: string(id), Arrived: arrived, Due: due}
	if from, to := len(l.slab), len(l.slab)+segments; to <= cap(l.slab) {
		l.slab = l.slab[:to]
		r.Written = l.slab[from:from:to]
	}
	l.kept = append(l.kept, r)
	return len(l.kept) - 1
}

// wrote notes that segment n of so many is about to be written, which was due
// then (0: it was due at no instant).
func (l *ledger) wrote(record, n, segments int, at, due int64) {
	if record >= len(l.kept) { // of before a reset
		return
	}
	r := &l.kept[record]
	if r.Written != nil {
		r.Written = append(r.Written, at)
	}
	if n == 0 {
		r.First = at
	}
	if n == segments-1 {
		r.Last = at
	}
	if due != 0 {
		r.Late = max(r.Late, at-due)
	}
}

func (l *ledger) reset() {
	l.kept, l.slab = l.kept[:0], l.slab[:0]
}

func (l *ledger) copy() []Record {
	out := slices.Clone(l.kept)
	for i := range out {
		out[i].Written = slices.Clone(out[i].Written)
	}
	return out
}
