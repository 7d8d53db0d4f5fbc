package answer

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"vbp/stages/sample"
)

// TimedOut ends an answer that was not complete after the time allowed for it.
func (a *Answer) TimedOut(after time.Duration) {
	a.Fail(sample.Timeout, "no complete answer within %v; %d events with tokens had come", after, a.Out.Events)
}

// ServerEnded ends an answer whose server is known to have ended, in the way
// that how tells on its first line; the rest is of its log.
func (a *Answer) ServerEnded(how error, at int64) {
	line, _, _ := strings.Cut(how.Error(), "\n")
	if a.Out.Status == sample.Absent {
		a.Fail(sample.ConnectError, "the server ended before it answered: %s", line)
		return
	}
	a.Closed(fmt.Errorf("the server ended: %s", line), at)
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
