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
	early   int   // answers with fewer tokens than asked for though the model's end was to be ignored
	cut     int   // of them, those that the server says to have ended for their length
	lumps   int   // answers whose several tokens came in one event
	ended   int   // complete answers
	tokens  int64 // of complete answers whose number the server told
	events  int64 // with tokens, of the same
	last    int64 // ns: when the last request was done

	// Events wait here, so that a slow observer delays no request. more
	// holds a token while there is something to read, and is closed at the
	// end.
	waiting  []Event
	more     chan struct{}
	observer sync.WaitGroup
	watched  bool

	config *Config
}

func newRecorder(c *Config, observe func(Event)) *recorder {
	n := len(c.Arrivals)
	r := &recorder{rows: make([]sample.Outcome, n), done: make([]bool, n), config: c}
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
	prompt := &r.config.Prompts[i]
	row.ID, row.Scheduled = r.config.requestID(i), int64(r.config.Arrivals[i])
	counted, early, cut, lumps, ended := 0, 0, 0, 0, 0
	switch {
	case row.Outcome != sample.OK:
		if what := r.config.advice(&row, prompt.IDs != nil); what != "" {
			row.Error += "; " + what
		}
	case row.OutputTokens == sample.Absent:
		row.OutputTokens = row.Events
		counted, ended = 1, 1
	default:
		ended = 1
		// Whatever the reason: vLLM and others lower max_tokens to what the
		// context leaves and end with length. Events alone would not tell:
		// one may carry several tokens.
		if r.config.IgnoreEOS && row.OutputTokens < r.config.asked(prompt) {
			early = 1
			if row.Finish == "length" {
				cut = 1
			}
		}
		if row.Events == 1 && row.OutputTokens > 1 {
			lumps = 1
		}
	}
	row.Derive()
	r.mu.Lock()
	r.rows[i], r.done[i] = row, true
	r.counted, r.early, r.cut, r.lumps, r.ended = r.counted+counted, r.early+early, r.cut+cut, r.lumps+lumps, r.ended+ended
	r.last = max(r.last, at)
	if ended > counted {
		r.tokens, r.events = r.tokens+row.OutputTokens, r.events+row.Events
	}
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
