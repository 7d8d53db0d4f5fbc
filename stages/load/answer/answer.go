// Package answer judges a streamed response from its bytes: what came when,
// and how it ended.
//
// An Answer is told the bytes and the instants at which they arrived (answer.go);
// it cuts them into server-sent events (sse.go), reads of each what matters
// (chunk.go), nearly always without parsing it (template.go), counts tokens
// (tokens.go), decides how it ended (ending.go), and fills a sample.Outcome. It
// reads no clock and knows no connection, so that every transport of load
// judges alike. Its neighbours are these transports above, and sample below.
package answer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
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
	most           int64  // events with tokens that it may have
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
	a.most = mostEvents + 64*int64(max(maxTokens, 0))
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
			if a.Out.FirstEvent == sample.Absent && a.scan.astray() {
				a.excerpt = append(a.excerpt[:0], a.scan.line[:mostAside]...)
				a.noStream()
				a.Fail(sample.StreamError, "the answer is not an event stream: %s", excerpt(string(a.excerpt)))
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

// mostEvents are how many events with tokens an answer may have beyond 64 for
// each token that was asked for: the server does not keep to that, and what is
// kept of each event would fill the memory before the time is up.
const mostEvents = 4096

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
