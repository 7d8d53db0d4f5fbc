// Package answer judges a streamed response from its bytes: what came when,
// and how it ended.
//
// An Answer is told the bytes and the instants at which they arrived (answer.go);
// it cuts them into server-sent events (sse.go), reads of each what matters
// (chunk.go), nearly always without parsing it (template.go), and fills a
// sample.Outcome. It reads no clock and knows no connection, so that every
// transport of load judges alike. Its neighbours are these transports above,
// and sample below.
package answer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// Response headers by which a prefill/decode proxy tells what it did.
const (
	headerPrefill     = "X-Vbp-Prefill"      // prefill instance
	headerDecode      = "X-Vbp-Decode"       // decode instance
	headerPrefillTime = "X-Vbp-Prefill-Time" // s: duration of the prefill leg
	headerFallback    = "X-Vbp-Fallback"     // 1: decode prefilled by itself, 0: it did not
)

// Answer judges one response as it arrives and keeps what it learns in Out. All
// instants are nanoseconds from the start of the point.
//
// Steps: Start, then Head, or Fail if there is no response. After Head with
// true: Feed until it returns false, or Closed at the end of the body. After
// Head with false: Refuse with the body of the error. An Answer can be started
// again once Out has been read, and keeps its buffers, those of Out included.
type Answer struct {
	Out     sample.Outcome
	scan    scanner
	plain   template
	settled bool

	end            int64  // when the last token or finish reason came
	last           int64  // when the last token came
	seen, finished uint64 // choices by index, one bit each; indexes from 63 share one
	all            *track // of every event with a choice, once one had no text
	closing        int64  // when a finish reason came alone, without text; 0: it did not
	timed          timings
	stream         bool   // the header says that this is an event stream
	kind           string // Content-Type
	excerpt        []byte // begin of a body in which no event has been found
}

// Start makes a ready for a request that is being sent at the given instant
// and may have that many tokens in its answer. Buffers of an earlier use stay.
func (a *Answer) Start(sent int64, maxTokens int) {
	gaps := a.Out.Gaps[:0]
	// The usual answer has one event a token; room for more is made if
	// needed, and not set aside for a limit that no answer reaches.
	if want := min(maxTokens-1, 4096); cap(gaps) < want || cap(gaps) > 4*max(want, 256) {
		gaps = make([]int32, 0, max(0, want))
	}
	*a = Answer{
		Out:     sample.NewOutcome(""),
		scan:    scanner{line: reuse(a.scan.line), data: reuse(a.scan.data), comment: a.scan.comment[:0]},
		plain:   template{head: reuse(a.plain.head), tail: reuse(a.plain.tail)},
		excerpt: a.excerpt[:0],
	}
	a.Out.Sent, a.Out.Gaps = sent, gaps
}

// reuse empties a buffer, and lets one go that a huge event has blown up.
func reuse(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// Settled reports whether it is known how the answer ended.
func (a *Answer) Settled() bool { return a.settled }

// Head takes status and header. It reports whether an answer follows; if not,
// the body is an error, for Refuse.
func (a *Answer) Head(status int, header func(string) string) bool {
	o := &a.Out
	o.Status = int64(status)
	o.Prefill, o.Decode = header(headerPrefill), header(headerDecode)
	if s, err := strconv.ParseFloat(header(headerPrefillTime), 64); err == nil && s >= 0 && !math.IsInf(s, 0) {
		o.PrefillTime = s
	}
	switch header(headerFallback) {
	case "0":
		o.Fallback = 0
	case "1":
		o.Fallback = 1
	}
	a.kind = header("Content-Type")
	a.stream = a.kind == "" || strings.HasPrefix(strings.ToLower(a.kind), "text/event-stream")
	return status == 200
}

// Refuse ends an answer whose status was not 200.
func (a *Answer) Refuse(body []byte) {
	text := errorText(body)
	if text == "" {
		text = "no message"
	}
	a.Fail(sample.HTTPError, "status %d: %s", a.Out.Status, text)
}

// Feed takes what one read returned, at the instant at which it arrived. It reports
// whether there is more to read; if not, the outcome is settled. Events that
// differ from an earlier one in their text only cost no allocation.
func (a *Answer) Feed(b []byte, at int64) bool {
	all := b
	for !a.settled {
		if n, text := a.whole(b); n > 0 {
			if text {
				a.token(at)
			} else {
				a.textless(at)
			}
			b = b[n:]
			continue
		}
		data, rest, ok := a.scan.next(b)
		if !ok {
			if a.scan.over {
				a.Fail(sample.StreamError, "an event of the stream has no end within %d MiB", maxEvent>>20)
			}
			break
		}
		if err := a.event(data, at); err != nil {
			a.Fail(sample.StreamError, "event %s is not JSON as a completion sends it: %w", excerpt(string(data)), err)
		}
		a.plain.frame(b[:len(b)-len(rest)])
		b = rest
	}
	if a.Out.FirstEvent == sample.Absent && len(a.excerpt) < mostAside {
		a.excerpt = append(a.excerpt, all[:min(len(all), mostAside)]...)
	}
	return !a.settled
}

// whole returns the length of the event with which b begins, with its empty
// line, if all of it is as the template says, and whether it has text; else 0.
func (a *Answer) whole(b []byte) (n int, text bool) {
	if a.plain.ends == 0 || !a.scan.between() {
		return 0, false
	}
	return a.plain.wire(b)
}

// event takes one event. Its error says that the data could not be read.
func (a *Answer) event(data []byte, at int64) error {
	if a.Out.FirstEvent == sample.Absent {
		a.Out.FirstEvent = at
	}
	if same, text := a.plain.match(data); same && !a.scan.isError {
		if text {
			a.token(at)
		} else {
			a.textless(at)
		}
		return nil
	}
	data = bytes.TrimSpace(data)
	switch {
	case a.scan.isError:
		a.Fail(sample.StreamError, "error in the stream: %s", cmp.Or(errorText(data), "no message"))
		return nil
	case len(data) == 0:
		return nil
	case string(data) == "[DONE]":
		a.complete()
		return nil
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if text, failed := c.failure(); failed {
		a.Fail(sample.StreamError, "error in the stream: %s", text)
		return nil
	}
	if u := c.Usage; u != nil {
		a.Out.PromptTokens = tokens(u.PromptTokens, a.Out.PromptTokens)
		a.Out.OutputTokens = tokens(u.CompletionTokens, a.Out.OutputTokens)
	} else if t := c.Timings; t != nil {
		a.timed = *t
	}
	for i := range c.Choices {
		bit := uint64(1) << min(max(c.Choices[i].Index, 0), 63)
		a.seen |= bit
		switch reason := string(c.Choices[i].Finish); reason {
		case "":
		case "abort", "error": // vLLM's names for a request that it gave up
			a.Out.Finish = reason
			a.Fail(sample.StreamError, "the server gave the request up: finish_reason %s", reason)
			return nil
		default:
			a.finished |= bit
			a.Out.Finish = reason
			a.end = at
		}
	}
	if c.carries() {
		a.token(at)
		a.plain.learn(data, &c)
	} else if c.steps(a.Out.Events > 0 || a.all != nil) {
		a.textless(at)
		if c.finishes() {
			a.closing = at
		}
	}
	return nil
}

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
	if a.all != nil {
		a.all.add(at)
	}
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

// textless notes an event with a choice but no text: perhaps a token that has
// none (an end of sequence, half of a character), perhaps nothing. Usage
// tells, at the end.
func (a *Answer) textless(at int64) {
	if a.all == nil {
		a.all = &track{first: a.Out.FirstToken, last: a.last, events: a.Out.Events, gaps: slices.Clone(a.Out.Gaps)}
	}
	a.all.add(at)
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

// Closed ends an answer whose body ended: cleanly if err is nil, else by a
// connection that broke.
func (a *Answer) Closed(err error, at int64) {
	if a.settled {
		return
	}
	if err != nil {
		if a.finishedAll() {
			a.Fail(sample.StreamError, "the connection broke after the finish_reason, before the end of the stream: %w", err)
		} else {
			a.Fail(sample.Truncated, "the connection broke after %d events with tokens, before a finish_reason: %w", a.Out.Events, err)
		}
		return
	}
	// An event that was sent whole but for its empty line is taken; one that
	// was cut is not an event, and the stream then lacks its finish reason.
	for b := []byte("\n\n"); !a.settled; {
		data, rest, ok := a.scan.next(b)
		if !ok || a.event(data, at) != nil {
			break
		}
		b = rest
	}
	if a.settled {
		return
	}
	if a.Out.FirstEvent == sample.Absent {
		a.noStream()
	}
	a.complete()
}

// noStream ends an answer in which no event was found, if it is something else
// than an empty or cut stream.
func (a *Answer) noStream() {
	body := bytes.TrimSpace(a.excerpt)
	if a.stream && (len(body) == 0 || body[0] != '{' && body[0] != '<') {
		return
	}
	kind := a.kind
	if kind == "" {
		kind = "something without a Content-Type"
	}
	if bytes.HasPrefix(body, []byte("{")) && bytes.Contains(body, []byte(`"choices"`)) {
		a.Fail(sample.StreamError, "the server answered with a whole completion instead of an event stream (%s): it, or what stands before it, does not honour \"stream\": true, and without a stream there is no time to the first token", kind)
		return
	}
	a.Fail(sample.StreamError, "the answer is not an event stream but %s: %s", kind, errorText(body))
}

// finishedAll reports whether every choice that was seen has its finish reason.
func (a *Answer) finishedAll() bool { return a.finished != 0 && a.seen == a.finished }

// complete ends an answer at the end of its stream.
func (a *Answer) complete() {
	if !a.finishedAll() {
		if a.scan.stray != nil {
			a.Fail(sample.StreamError, "the stream ended after %d events with tokens, with a line that is no event: %s", a.Out.Events, errorText(a.scan.stray))
		}
		a.Fail(sample.Truncated, "the stream ended after %d events with tokens without a finish_reason", a.Out.Events)
		return
	}
	a.countsOfTimings()
	a.tokensWithoutText()
	o := &a.Out
	if o.Events == 0 {
		a.Fail(sample.StreamError, "the answer finished without a token (finish_reason %s)", o.Finish)
		return
	}
	a.settled = true
	o.Outcome = sample.OK
	o.E2E = float64(a.end-o.Sent) / 1e9
	if o.OutputTokens == 0 {
		o.OutputTokens = sample.Absent // usage that counts nothing is none
	}
}

// Fail ends an answer as a failure; the first one stands.
func (a *Answer) Fail(outcome, format string, args ...any) {
	if a.settled {
		return
	}
	a.settled = true
	a.Out.Outcome = outcome
	a.Out.Error = cut(fmt.Errorf(format, args...).Error(), mostError)
}
