package answer

import (
	"math"
	"slices"

	"vbp/stages/sample"
)

// token notes an event that carried text or a token.
func (a *Answer) token(at int64) {
	o := &a.Out
	if o.Events == 0 {
		o.FirstToken = at
	} else {
		o.Gaps = append(o.Gaps, gap(a.last, at))
	}
	o.Events++
	o.LastToken, a.last, a.end = at, at, at
	if o.Events > a.most {
		a.Fail(sample.StreamError, "the stream does not end: %d events with tokens came, many times more than were asked for", o.Events)
	}
	if a.all != nil {
		a.all.add(at)
	}
}

// textless notes an event with a choice but no text: perhaps a token that has
// none (an end of sequence, half of a character), perhaps nothing. Usage
// tells, at the end.
func (a *Answer) textless(at int64) {
	if a.all == nil {
		a.all = &track{first: a.Out.FirstToken, last: a.last, events: a.Out.Events, gaps: slices.Clone(a.Out.Gaps)}
	}
	a.all.add(at)
	if a.all.events > a.most {
		a.Fail(sample.StreamError, "the stream does not end: %d events came, many times more than tokens were asked for", a.all.events)
	}
}

// tokensWithoutText takes the events without text for tokens if usage counts
// exactly one token for each event with a choice, or if no event had text. In
// any other case they may be a server's opening or closing words, and would
// make TTFT too short or TPOT too long.
func (a *Answer) tokensWithoutText() {
	o, t := &a.Out, a.all
	if t == nil || o.OutputTokens <= o.Events {
		return
	}
	if a.closing == t.last && a.closing != 0 && t.events == o.OutputTokens+1 {
		t.drop() // the finish came in an event of its own, and was no token
	}
	if o.Events > 0 && t.events != o.OutputTokens {
		return
	}
	o.FirstToken, o.LastToken, o.Events, o.Gaps = t.first, t.last, t.events, t.gaps
	a.end = max(a.end, t.last)
}

// track is the instants of a kind of events.
type track struct {
	first, last int64
	step        int64 // from the event before the last to it, ns
	events      int64
	gaps        []int32
}

func (t *track) add(at int64) {
	if t.events == 0 {
		t.first = at
	} else {
		t.gaps = append(t.gaps, gap(t.last, at))
		t.step = at - t.last
	}
	t.events++
	t.last = at
}

// drop forgets the last event.
func (t *track) drop() {
	t.events--
	if n := len(t.gaps); n > 0 {
		t.last -= t.step
		t.gaps = t.gaps[:n-1]
	}
}

// gap is the time between two events in microseconds, rounded; one of more
// than 35 minutes is cut.
func gap(from, to int64) int32 { return int32(min((to-from+500)/1000, math.MaxInt32)) }

// countsOfTimings takes the token counts of llama.cpp's timings where no usage
// told them: it sends timings also where usage was not asked for. prompt_n
// leaves out what came from the cache, which newer versions tell as cache_n.
func (a *Answer) countsOfTimings() {
	t := &a.timed
	if a.Out.OutputTokens == sample.Absent {
		a.Out.OutputTokens = tokens(t.PredictedN, sample.Absent)
	}
	if n := tokens(t.PromptN, sample.Absent); a.Out.PromptTokens == sample.Absent && n != sample.Absent && t.CacheN != nil {
		if cached := tokens(t.CacheN, sample.Absent); cached != sample.Absent {
			a.Out.PromptTokens = n + cached
		}
	}
}

// tokens is a count of usage, or what was known before if there is none.
func tokens(v *float64, known int64) int64 {
	if v == nil || !(*v >= 0 && *v < 1<<53) {
		return known
	}
	return int64(*v)
}
