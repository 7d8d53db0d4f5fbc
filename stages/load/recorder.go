package load

import (
	"sync"
	"time"

	"vbp/stages/sample"
)

// Kind says what an Event tells of.
type Kind uint8

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
	Outcome sample.Outcome // Done: a copy of the row, without its Gaps; else empty
}

// rest is how long the observer is left alone once it has been told something:
// waking a goroutine for each event would cost the transport more than the
// event itself, and people see no difference.
const rest = 10 * time.Millisecond

// crowd is how many events may wait before the rest ends early, so that they
// take no memory worth mentioning.
const crowd = 1024

// told is events that wait. Outcomes are many times larger than all else of an
// event, and only one in three has one.
type told struct {
	events   []brief
	outcomes []sample.Outcome // of those that are Done, in their order
}

// brief is an Event but for its Outcome.
type brief struct {
	kind  Kind
	index int32
	at    int64
}

// recorder keeps rows and passes events on. Rows are copied as they are done
// (see spool.go), so that what a transport tells of is its own again.
type recorder struct {
	mu      sync.Mutex
	at      []int64 // 1 + position of the row of each request among the rows; 0: not done
	rows    *spool
	tally   *tally
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
	// end; many holds one while a crowd waits; over is closed before more is.
	// Both end the observer's rest.
	waiting  told
	more     chan struct{}
	many     chan struct{}
	over     chan struct{}
	observer sync.WaitGroup
	watched  bool

	config   *Config
	limit    answerLimit
	ids      idStem
	tokenIDs bool // prompts are token ids
}

func newRecorder(c *Config, rows *spool, observe func(Event)) *recorder {
	n := len(c.Arrivals)
	r := &recorder{
		at: make([]int64, n), rows: rows, tally: newTally(n), config: c,
		limit: c.answerLimit(), ids: newIDStem(c.IDPrefix), tokenIDs: c.Prompts.TokenIDs(),
	}
	if observe != nil {
		r.watched = true
		r.more, r.many, r.over = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
		r.observer.Go(func() { r.observe(observe) })
	}
	return r
}

// observe is the goroutine that tells the observer, until more is closed.
func (r *recorder) observe(observe func(Event)) {
	pause := time.NewTimer(rest)
	defer pause.Stop()
	var batch told
	for range r.more {
		r.mu.Lock()
		batch, r.waiting = r.waiting, told{batch.events[:0], batch.outcomes[:0]}
		r.mu.Unlock()
		row := 0
		for _, b := range batch.events {
			e := Event{Kind: b.kind, Index: int(b.index), At: time.Duration(b.at)}
			if b.kind == Done {
				e.Outcome = batch.outcomes[row]
				row++
			}
			observe(e)
		}
		clear(batch.outcomes) // lets go of texts
		pause.Reset(rest)
		select {
		case <-pause.C:
		case <-r.many:
		case <-r.over:
		}
	}
}

// Sent implements Recorder.
func (r *recorder) Sent(i int, at int64) { r.tell(Sent, i, at, nil) }

// First implements Recorder.
func (r *recorder) First(i int, at int64) { r.tell(First, i, at, nil) }

// Done implements Recorder. It completes the row with what follows from it.
func (r *recorder) Done(i int, at int64, o *sample.Outcome) {
	row := *o
	row.Scheduled = int64(r.config.Arrivals[i])
	counted, early, cut, lumps, ended := 0, 0, 0, 0, 0
	switch {
	case row.Outcome != sample.OK:
		if what := r.config.advice(&row, r.tokenIDs); what != "" {
			row.Error += "; " + what
		}
		if r.config.Redact != nil {
			row.Error = r.config.Redact(row.Error)
		}
	case row.OutputTokens == sample.Absent:
		row.OutputTokens = row.Events
		counted, ended = 1, 1
	default:
		ended = 1
		// Whatever the reason: vLLM and others lower max_tokens to what the
		// context leaves and end with length. Events alone would not tell:
		// one may carry several tokens.
		if r.config.IgnoreEOS && row.OutputTokens < r.limit.of(r.config.Prompts.MaxTokens(i)) {
			early = 1
			if row.Finish == "length" {
				cut = 1
			}
		}
		if row.Events == 1 && row.OutputTokens > 1 {
			lumps = 1
		}
	}
	r.mu.Lock()
	r.at[i] = 1 + r.rows.add(i, row.Scheduled, &row)
	r.tally.add(&row)
	r.counted, r.early, r.cut, r.lumps, r.ended = r.counted+counted, r.early+early, r.cut+cut, r.lumps+lumps, r.ended+ended
	r.last = max(r.last, at)
	if ended > counted {
		r.tokens, r.events = r.tokens+row.OutputTokens, r.events+row.Events
	}
	r.mu.Unlock()
	if r.watched {
		row.ID, row.Gaps = r.ids.of(i), nil
		row.Derive()
		r.tell(Done, i, at, &row)
	}
}

// tell has the observer told, of a row if it is Done.
func (r *recorder) tell(kind Kind, i int, at int64, row *sample.Outcome) {
	if !r.watched {
		return
	}
	r.mu.Lock()
	r.waiting.events = append(r.waiting.events, brief{kind, int32(i), at})
	if row != nil {
		r.waiting.outcomes = append(r.waiting.outcomes, *row)
	}
	waiting := len(r.waiting.events)
	r.mu.Unlock()
	signal(r.more)
	if waiting >= crowd {
		signal(r.many)
	}
}

// signal puts a token into c unless it holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close returns when the observer has seen everything and all rows can be read,
// or says why they cannot. Nothing may be told afterwards.
func (r *recorder) close() error {
	if r.watched {
		close(r.over)
		close(r.more)
		r.observer.Wait()
		r.waiting = told{}
	}
	return r.rows.finish()
}

// measured is the rows that are complete, in order of the schedule. The
// recorder is of no use afterwards.
func (r *recorder) measured() *Measured {
	done := r.at[:0]
	for _, at := range r.at {
		if at > 0 {
			done = append(done, at-1)
		}
	}
	return &Measured{at: done, rows: r.rows, ids: r.ids, arrivals: r.config.Arrivals}
}
