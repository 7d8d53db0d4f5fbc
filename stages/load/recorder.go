package load

import (
	"sync"
	"time"

	"vbp/stages/sample"
)

// Kind says what an Event tells of.
type Kind int

// Kinds of events, in the order in which a request has them. A request
// without a first token goes from Sent to Done.
const (
	Sent Kind = iota
	First
	Done
)

func (k Kind) String() string {
	switch k {
	case Sent:
		return "sent"
	case First:
		return "first"
	}
	return "done"
}

// Event tells an observer what happened to one request.
type Event struct {
	Kind    Kind
	Index   int            // of the request, from 0, in order of the schedule
	At      time.Duration  // from the start of the point
	Outcome sample.Outcome // Done: a copy of the row (Gaps are shared); else empty
}

// recorder keeps rows and passes events on.
type recorder struct {
	mu      sync.Mutex
	rows    []sample.Outcome
	done    []bool
	counted int   // answers whose tokens were counted from their events
	last    int64 // ns: when the last request was done

	// Events wait here, so that a slow observer delays no request. more
	// holds a token while there is something to read, and is closed at the
	// end.
	waiting  []Event
	more     chan struct{}
	observer sync.WaitGroup
	watched  bool

	id func(int) string
	at []time.Duration
}

func newRecorder(id func(int) string, at []time.Duration, observe func(Event)) *recorder {
	r := &recorder{rows: make([]sample.Outcome, len(at)), done: make([]bool, len(at)), id: id, at: at}
	if observe != nil {
		r.watched = true
		r.more = make(chan struct{}, 1)
		r.observer.Go(func() {
			var batch []Event
			for range r.more {
				r.mu.Lock()
				batch, r.waiting = r.waiting, batch[:0]
				r.mu.Unlock()
				for _, e := range batch {
					observe(e)
				}
				clear(batch)
			}
		})
	}
	return r
}

// Sent implements Recorder.
func (r *recorder) Sent(i int, at int64) { r.tell(Event{Kind: Sent, Index: i, At: time.Duration(at)}) }

// First implements Recorder.
func (r *recorder) First(i int, at int64) {
	r.tell(Event{Kind: First, Index: i, At: time.Duration(at)})
}

// Done implements Recorder. It completes the row with what follows from it.
func (r *recorder) Done(i int, at int64, o *sample.Outcome) {
	row := *o
	row.ID, row.Scheduled = r.id(i), int64(r.at[i])
	counted := 0
	if row.Outcome == sample.OK && row.OutputTokens == sample.Absent {
		row.OutputTokens = row.Events
		counted = 1
	}
	row.Derive()
	r.mu.Lock()
	r.rows[i], r.done[i] = row, true
	r.counted += counted
	r.last = max(r.last, at)
	r.mu.Unlock()
	r.tell(Event{Kind: Done, Index: i, At: time.Duration(at), Outcome: row})
}

func (r *recorder) tell(e Event) {
	if !r.watched {
		return
	}
	r.mu.Lock()
	r.waiting = append(r.waiting, e)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// close returns when the observer has seen everything. Nothing may be told
// afterwards.
func (r *recorder) close() {
	if r.watched {
		close(r.more)
		r.observer.Wait()
	}
}

// table holds the rows that are complete, in order of the schedule.
func (r *recorder) table() *sample.Table {
	t := &sample.Table{}
	for i, ok := range r.done {
		if ok {
			t.Append(r.rows[i])
		}
	}
	return t
}
