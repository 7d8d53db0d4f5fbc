package answer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vbp/stages/sample"
)

// Events as servers write them.
func text(s string) string {
	return fmt.Sprintf(`{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"index":0,"text":%q,"logprobs":null,"finish_reason":null}],"usage":null}`, s)
}

func delta(fields string) string {
	return `{"id":"chat-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{` + fields + `},"finish_reason":null}]}`
}

const (
	stop        = `{"id":"cmpl-1","choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":null}`
	used        = `{"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`
	done        = "[DONE]"
	chat        = `"role":"assistant","content":""`
	otherChoice = `{"choices":[{"index":1,"text":"z","finish_reason":null}]}`
)

// stream joins events.
func stream(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("data: " + e + "\n\n")
	}
	return b.String()
}

// judge feeds the pieces, the first at instant 1000, each later one 1000 ns
// after its predecessor, and ends the body. The request was sent at 400.
func judge(header http.Header, end error, pieces ...[]byte) sample.Outcome {
	var a Answer
	a.Start(400, 8)
	a.Head(200, header.Get)
	at := int64(1000)
	for _, p := range pieces {
		b := bytes.Clone(p)
		more := a.Feed(b, at)
		clear(b)
		if !more {
			return a.Out
		}
		at += 1000
	}
	a.Closed(end, at)
	return a.Out
}

// facts are what is compared of an outcome whose instants are all the same.
func summary(o sample.Outcome) string {
	n := func(v int64) string {
		if v == sample.Absent {
			return "-"
		}
		return fmt.Sprint(v)
	}
	s := fmt.Sprintf("%s events=%d prompt=%s output=%s finish=%s", o.Outcome, o.Events, n(o.PromptTokens), n(o.OutputTokens), o.Finish)
	if o.Error != "" {
		s += " error=" + o.Error
	}
	return s
}

func TestAnswers(t *testing.T) {
	sse := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
	for name, c := range map[string]struct {
		stream string
		header http.Header
		end    error
		want   string // of summary; an error need only contain what follows error=
	}{
		"plain":                                  {stream: stream(text("a"), text(" b"), stop, used, done), want: "ok events=2 prompt=7 output=5 finish=stop"},
		"text on the finish event":               {stream: stream(text("a"), `{"choices":[{"text":"b","finish_reason":"length"}]}`, used, done), want: "ok events=2 prompt=7 output=5 finish=length"},
		"usage with choices":                     {stream: stream(text("a"), `{"choices":[{"text":"b","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, done), want: "ok events=2 prompt=3 output=2 finish=stop"},
		"usage in every event":                   {stream: stream(`{"choices":[{"text":"a"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`, `{"choices":[{"text":"b"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, stop), want: "ok events=2 prompt=3 output=2 finish=stop"},
		"no usage":                               {stream: stream(text("a"), text("b"), stop, done), want: "ok events=2 prompt=- output=- finish=stop"},
		"usage that counts nothing":              {stream: stream(text("a"), stop, `{"choices":[],"usage":{"completion_tokens":0}}`, done), want: "ok events=1 prompt=- output=- finish=stop"},
		"no DONE":                                {stream: stream(text("a"), stop, used), want: "ok events=1 prompt=7 output=5 finish=stop"},
		"last empty line missing":                {stream: strings.TrimRight(stream(text("a"), stop), "\n"), want: "ok events=1 prompt=- output=- finish=stop"},
		"garbage after DONE":                     {stream: stream(text("a"), stop, used, done, "{oops") + "more", want: "ok events=1 prompt=7 output=5 finish=stop"},
		"crlf and comments":                      {stream: ": hello\r\n\r\n" + strings.ReplaceAll(stream(text("a"), text("b"), stop, used, done), "\n", "\r\n"), want: "ok events=2 prompt=7 output=5 finish=stop"},
		"data over several lines":                {stream: "data: {\"choices\":\ndata: [{\"text\":\"a\",\ndata: \"finish_reason\":\"stop\"}]}\n\n", want: "ok events=1 prompt=- output=- finish=stop"},
		"empty texts are no tokens":              {stream: stream(text(""), text("a"), text(""), text("b"), text(""), stop, done), want: "ok events=2 prompt=- output=- finish=stop"},
		"role only":                              {stream: stream(delta(chat), delta(`"content":"a"`), delta(`"content":"b"`), delta(`"content":""`), delta(`"content":null`), delta(""), stop, done), want: "ok events=2 prompt=- output=- finish=stop"},
		"reasoning counts":                       {stream: stream(delta(chat), delta(`"reasoning_content":"a"`), delta(`"reasoning_content":"b"`), delta(`"reasoning":"c"`), delta(`"content":"d"`), stop, done), want: "ok events=4 prompt=- output=- finish=stop"},
		"tool calls count":                       {stream: stream(delta(`"tool_calls":[{"index":0,"function":{"arguments":"{"}}]`), delta(`"tool_calls":[]`), stop, done), want: "ok events=1 prompt=- output=- finish=stop"},
		"tokens without text":                    {stream: stream(`{"choices":[{"text":"","token_ids":[5]}]}`, `{"choices":[{"text":"","token_ids":[]}]}`, stop, done), want: "ok events=1 prompt=- output=- finish=stop"},
		"text that looks like more":              {stream: stream(text("a"), text(`","finish_reason":"stop"`), text(`\`), text(`"`), text(`{"error":{}}`), text("[DONE]"), stop, done), want: "ok events=6 prompt=- output=- finish=stop"},
		"token called like the model":            {stream: stream(text("m"), text("n"), text("m"), stop, done), want: "ok events=3 prompt=- output=- finish=stop"},
		"no text at all":                         {stream: stream(stop, used, done), want: "ok events=1 prompt=7 output=5 finish=stop"},
		"no token at all":                        {stream: stream(stop, `{"choices":[],"usage":{"completion_tokens":0}}`, done), want: "stream_error events=0 prompt=- output=0 finish=stop error=finished without a token"},
		"last token has no text":                 {stream: stream(text("a"), stop, `{"choices":[],"usage":{"completion_tokens":2}}`, done), want: "ok events=2 prompt=- output=2 finish=stop"},
		"first tokens have no text":              {stream: stream(text(""), text(""), text("é"), stop, `{"choices":[],"usage":{"completion_tokens":4}}`, done), want: "ok events=4 prompt=- output=4 finish=stop"},
		"half characters in between":             {stream: stream(text("a"), text(""), text("b"), `{"choices":[{"text":"c","finish_reason":"stop"}],"usage":{"completion_tokens":4}}`, done), want: "ok events=4 prompt=- output=4 finish=stop"},
		"finish of its own, tokens without text": {stream: stream(text(""), text("b"), text("c"), stop, `{"choices":[],"usage":{"completion_tokens":3}}`, done), want: "ok events=3 prompt=- output=3 finish=stop"},
		"role and a last token":                  {stream: stream(delta(chat), delta(`"content":"a"`), stop, `{"choices":[],"usage":{"completion_tokens":2}}`, done), want: "ok events=2 prompt=- output=2 finish=stop"},
		"role in every event":                    {stream: stream(delta(`"role":"assistant","content":"a"`), delta(chat), delta(`"role":"assistant","content":"b"`), `{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]}`, `{"choices":[],"usage":{"completion_tokens":4}}`, done), want: "ok events=4 prompt=- output=4 finish=stop"},
		"finish is an object":                    {stream: stream(text("a"), `{"choices":[{"text":"b","finish_reason":{"type":"length","length":2}}]}`, done), want: "ok events=2 prompt=- output=- finish=length"},
		"finish is empty until it comes":         {stream: stream(`{"choices":[{"text":"a","finish_reason":""}]}`, `{"choices":[{"text":"b","finish_reason":"eos_token"}]}`, done), want: "ok events=2 prompt=- output=- finish=eos_token"},
		"timings instead of usage":               {stream: stream(text("ab"), `{"choices":[{"text":"","finish_reason":"length"}],"timings":{"prompt_n":3,"cache_n":4,"predicted_n":2}}`, done), want: "ok events=2 prompt=7 output=2 finish=length"},
		"timings of an old version":              {stream: stream(text("ab"), text("c"), `{"choices":[{"text":"","finish_reason":"length"}],"timings":{"prompt_n":3,"predicted_n":3}}`, done), want: "ok events=3 prompt=- output=3 finish=length"},
		"usage goes before timings":              {stream: stream(text("a"), `{"choices":[{"text":"","finish_reason":"stop"}],"timings":{"prompt_n":1,"cache_n":0,"predicted_n":9}}`, used, done), want: "ok events=1 prompt=7 output=5 finish=stop"},
		"error that says nothing":                {stream: stream(`{"choices":[{"text":"a","finish_reason":"stop"}],"error":{}}`, done), want: "ok events=1 prompt=- output=- finish=stop"},
		"two choices":                            {stream: stream(text("a"), otherChoice, text("b"), otherChoice, stop, `{"choices":[{"index":1,"text":"","finish_reason":"length"}]}`, done), want: "ok events=4 prompt=- output=- finish=length"},

		"no finish reason":         {stream: stream(text("a"), text("b")), want: "truncated events=2 prompt=- output=- finish= error=ended after 2 events with tokens without a finish_reason"},
		"DONE, no finish reason":   {stream: stream(text("a"), used, done), want: "truncated events=1 prompt=7 output=5 finish= error=without a finish_reason"},
		"one of two choices ended": {stream: stream(text("a"), otherChoice, stop, done), want: "truncated events=2 prompt=- output=- finish=stop error=without a finish_reason"},
		"cut in an event":          {stream: stream(text("a")) + `data: {"choices":[{"text":"","finish_reason":"st`, want: "truncated events=1 prompt=- output=- finish= error=without a finish_reason"},
		"broken":                   {stream: stream(text("a")), end: io.ErrUnexpectedEOF, want: "truncated events=1 prompt=- output=- finish= error=broke after 1 events with tokens, before a finish_reason: unexpected EOF"},
		"broken after the finish":  {stream: stream(text("a"), stop), end: io.ErrUnexpectedEOF, want: "stream_error events=1 prompt=- output=- finish=stop error=broke after the finish_reason"},
		"broken after DONE":        {stream: stream(text("a"), stop, done), end: io.ErrUnexpectedEOF, want: "ok events=1 prompt=- output=- finish=stop"},
		"empty body":               {header: sse, want: "truncated events=0 prompt=- output=- finish= error=without a finish_reason"},

		"error in the stream":       {stream: stream(text("a"), `{"error":{"message":"out of blocks","code":500}}`, stop, done), want: "stream_error events=1 prompt=- output=- finish= error=error in the stream: out of blocks"},
		"error after the finish":    {stream: stream(text("a"), stop, `{"error":"late"}`, done), want: "stream_error events=1 prompt=- output=- finish=stop error=late"},
		"error of older vLLM":       {stream: stream(`{"object":"error","message":"too long","code":400}`, done), want: "stream_error events=0 prompt=- output=- finish= error=too long"},
		"error beside choices":      {stream: stream(`{"choices":[{"text":"a","finish_reason":"stop"}],"error":{"message":"no"}}`, done), want: "stream_error events=0 prompt=- output=- finish= error=no"},
		"error by name":             {stream: "event: error\n" + stream(text("a"), stop, done), want: "stream_error events=0 prompt=- output=- finish= error=error in the stream"},
		"error that is null":        {stream: stream(`{"choices":[{"text":"a","finish_reason":"stop"}],"error":null}`), want: "ok events=1 prompt=- output=- finish=stop"},
		"error in a comment":        {stream: stream(text("a")) + "event: error\n: engine is gone\n\n" + stream(done), want: "stream_error events=1 prompt=- output=- finish= error=error in the stream: engine is gone"},
		"error without a word":      {stream: stream(text("a")) + "event: error\n\n", want: "stream_error events=1 prompt=- output=- finish= error=error in the stream: no message"},
		"error outside of events":   {stream: stream(text("a")) + `{"error":{"message":"engine is gone"}}` + "\n" + stream(done), want: "stream_error events=1 prompt=- output=- finish= error=a line that is no event: engine is gone"},
		"given up":                  {stream: stream(text("a"), `{"choices":[{"text":"","finish_reason":"abort"}]}`, done), want: "stream_error events=1 prompt=- output=- finish=abort error=gave the request up"},
		"not JSON":                  {stream: stream(text("a"), "oops", stop, done), want: "stream_error events=1 prompt=- output=- finish= error=event oops is not JSON"},
		"JSON of another kind":      {stream: stream("[1]", stop), want: "stream_error events=0 prompt=- output=- finish= error=is not JSON as a completion sends it"},
		"not a stream":              {stream: `{"choices": [{"text": "a", "finish_reason": "stop"}]}`, header: http.Header{"Content-Type": {"application/json"}}, want: "stream_error events=0 prompt=- output=- finish= error=whole completion instead of an event stream (application/json)"},
		"a page instead":            {stream: "<html>\nlog in", header: http.Header{"Content-Type": {"text/html"}}, want: "stream_error events=0 prompt=- output=- finish= error=not an event stream but text/html: <html> log in"},
		"called a stream, is none":  {stream: `{"detail":[{"type":"missing","loc":["body","x"],"msg":"Field required","input":{"a":1}}]}`, want: "stream_error events=0 prompt=- output=- finish= error=not an event stream but text/event-stream; charset=utf-8: body.x: Field required"},
		"not a stream but an error": {stream: `{"error": {"message": "no such model"}}`, header: http.Header{"Content-Type": {"application/json"}}, want: "stream_error events=0 prompt=- output=- finish= error=no such model"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.header == nil {
				c.header = sse
			}
			whole := judge(c.header, c.end, []byte(c.stream))
			got := summary(whole)
			want, message, _ := strings.Cut(c.want, " error=")
			if !strings.HasPrefix(got, want) || !strings.Contains(strings.TrimPrefix(got, want), message) || message == "" && got != want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
			if o := whole; o.Events > 0 && (o.FirstToken != 1000 || o.FirstEvent != 1000) || o.Events == 0 && o.FirstToken != sample.Absent {
				t.Errorf("first event %d, first token %d", o.FirstEvent, o.FirstToken)
			}
			for i := 1; i < len(c.stream); i++ {
				cut := judge(c.header, c.end, []byte(c.stream[:i]), []byte(c.stream[i:]))
				if summary(cut) != got {
					t.Fatalf("cut at %d of %d: %s\nwhole: %s", i, len(c.stream), summary(cut), got)
				}
			}
			var bytewise [][]byte
			for i := range len(c.stream) {
				bytewise = append(bytewise, []byte(c.stream[i:i+1]))
			}
			if o := judge(c.header, c.end, bytewise...); summary(o) != got {
				t.Errorf("byte by byte: %s\nwhole: %s", summary(o), got)
			}
		})
	}
}

func TestAnswerInstants(t *testing.T) {
	// Sent at .4 us; role at 1 us, tokens at 2, 3 (two in one read), 4, the
	// finish at 5, usage at 6, [DONE] at 7.
	o := judge(nil, nil,
		[]byte(stream(delta(chat))), []byte(stream(delta(`"content":"a"`))), []byte(stream(delta(`"content":"b"`), delta(`"content":"c"`))),
		[]byte(stream(delta(`"content":"d"`))), []byte(stream(stop)), []byte(stream(`{"choices":[],"usage":{"completion_tokens":4}}`)), []byte(stream(done)))
	if o.FirstEvent != 1000 || o.FirstToken != 2000 || o.LastToken != 4000 || o.Events != 4 {
		t.Errorf("first event %d, first token %d, last token %d, %d events", o.FirstEvent, o.FirstToken, o.LastToken, o.Events)
	}
	if !slices.Equal(o.Gaps, []int32{1, 0, 1}) {
		t.Errorf("gaps %v us", o.Gaps)
	}
	if want := 4.6e-6; math.Abs(o.E2E-want) > 1e-15 {
		t.Errorf("end to end %v s, want %v: to the finish, not to what follows it", o.E2E, want)
	}
}

func TestAnswerHeader(t *testing.T) {
	var a Answer
	a.Start(0, 1)
	a.Head(200, http.Header{"X-Vbp-Prefill": {"prefill-1"}, "X-Vbp-Decode": {"decode-0"}, "X-Vbp-Prefill-Time": {"0.125"}, "X-Vbp-Fallback": {"1"}}.Get)
	if o := a.Out; o.Prefill != "prefill-1" || o.Decode != "decode-0" || o.PrefillTime != 0.125 || o.Fallback != 1 || o.Status != 200 {
		t.Errorf("%+v", o)
	}
	a.Start(0, 1)
	a.Head(200, http.Header{"X-Vbp-Prefill-Time": {"soon"}, "X-Vbp-Fallback": {"maybe"}}.Get)
	if o := a.Out; o.Prefill != "" || !math.IsNaN(o.PrefillTime) || o.Fallback != sample.Absent {
		t.Errorf("headers that say nothing were taken for something: %+v", o)
	}
}

// What is no stream, or has no end, is given up before it fills the memory.
func TestAnswersWithoutEnd(t *testing.T) {
	page := bytes.Repeat([]byte("x"), maxAstray+1)
	for name, c := range map[string]struct {
		head, piece string
		events      int64 // of the answer when it was given up
		says        string
	}{
		"a page":          {"", string(page), 0, "the answer is not an event stream but text/plain: xxx"},
		"a page of JSON":  {"", "{" + string(page), 0, "the answer is not an event stream but"},
		"one long line":   {"data: ", string(page), 0, "has no end within 2 MiB"},
		"many tokens":     {"", stream(text("a")), mostEvents + 2*64 + 1, "the stream does not end: 4225 events"},
		"many empty ones": {"", stream(text("")), 0, "the stream does not end: 4225 events came"},
	} {
		var a Answer
		a.Start(0, 2)
		a.Head(200, http.Header{"Content-Type": {"text/plain"}}.Get)
		more := a.Feed([]byte(c.head), 1)
		for i := 0; more && i < 10_000; i++ {
			more = a.Feed([]byte(c.piece), 2)
		}
		if o := a.Out; more || o.Outcome != sample.StreamError || o.Events != c.events || !strings.Contains(o.Error, c.says) {
			t.Errorf("%s: %s after %d events: %s", name, o.Outcome, o.Events, o.Error)
		}
	}
}

func TestErrorText(t *testing.T) {
	for raw, want := range map[string]string{
		`{"error":{"message":"a","type":"x"}}`: "a",
		`{"error":"b"}`:                        "b",
		`{"object":"error","message":"c"}`:     "c",
		`{"detail":"d"}`:                       "d",
		`{"detail":[{"loc":["body"]}]}`:        `[{"loc":["body"]}]`,
		"<html>\n<b>Bad  Gateway</b>":          "<html> <b>Bad Gateway</b>",
		`{"code":3}`:                           `{"code":3}`,
		`{"error":"a","error_type":"x"}`:       "a",
		`{"detail":[{"loc":["body","x",0],"msg":"no","input":{"y":1}},{"msg":"never"}]}`:                                "body.x.0: no; never",
		`{"object":"error","message":{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs","input":true}]}}`: "body.stream_options: Extra inputs",
		"\xff":                   "\uFFFD",
		strings.Repeat("é", 200): strings.Repeat("é", 150) + "...",
	} {
		if got := errorText([]byte(raw)); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

// The hot path takes an event for a copy of an earlier one with another text.
// FuzzTemplate holds that against the JSON parser.
func FuzzTemplate(f *testing.F) {
	first := delta(`"content":"a"`)
	f.Add([]byte(first), []byte(delta(`"content":"b"`)))
	f.Add([]byte(first), []byte(delta(`"content":"x","content":""`)))
	f.Add([]byte(first), []byte(strings.Replace(first, "null", `"stop"`, 1)))
	f.Add([]byte(`{"choices":[{"text":"\\","text":"\\"}]}`), []byte(`{"choices":[{"text":"\\","text":"\""}]}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		read := func(learn bool) sample.Outcome {
			var a Answer
			a.Start(0, 2)
			if learn {
				if err := a.event(first, 1); err != nil || a.settled {
					t.Skip()
				}
				a.Out.Events, a.Out.FirstToken, a.Out.LastToken, a.Out.Gaps = 0, sample.Absent, sample.Absent, nil
				a.seen, a.finished, a.Out.Finish, a.Out.OutputTokens, a.Out.PromptTokens = 0, 0, "", sample.Absent, sample.Absent
			}
			a.Out.FirstEvent = 1
			if err := a.event(second, 2); err != nil {
				t.Skip() // text in which JSON allows no control characters is not looked into
			}
			a.Out.Gaps = nil
			return a.Out
		}
		plain := read(false)
		if got := read(true); summary(got) != summary(plain) || !reflect.DeepEqual(got.LastToken, plain.LastToken) {
			t.Errorf("%q after %q: %s, parsed by itself: %s", second, first, summary(got), summary(plain))
		}
	})
}

// FuzzCuts holds that nothing depends on how the bytes of a stream come
// together, and that the short way of a plain event is no other way: a read
// that holds one byte never takes it.
func FuzzCuts(f *testing.F) {
	f.Add([]byte(stream(text("a"), text("b"), text(`c"\`), stop, used, done)), uint16(7))
	f.Add([]byte(strings.ReplaceAll(stream(delta(`"content":"a"`), delta(`"content":"b"`), delta(`"content":""`), stop), "\n", "\r\n")), uint16(300))
	f.Add([]byte(stream(text("a"))+": ping\n\n"+stream(text("b"))+"event: error\n"+stream(text("c"))), uint16(90))
	f.Add([]byte(stream(text("a"))+strings.TrimSuffix(stream(text("b")), "\n")+stream(text("c"), "{}", stop)), uint16(500))
	f.Fuzz(func(t *testing.T, body []byte, cut uint16) {
		at := min(int(cut), len(body))
		bytewise := make([][]byte, len(body))
		for i := range body {
			bytewise[i] = body[i : i+1]
		}
		want := summary(judge(nil, nil, bytewise...))
		for _, pieces := range [][][]byte{{body}, {body[:at], body[at:]}} {
			if got := summary(judge(nil, nil, pieces...)); got != want {
				t.Errorf("%q in %d pieces: %s\nbyte by byte: %s", body, len(pieces), got, want)
			}
		}
	})
}

func TestHotPathParsesNothing(t *testing.T) {
	var a Answer
	a.Start(0, 4)
	for _, s := range []string{"a", "b", `c"\`, "ä", "{}"} {
		if err := a.event([]byte(text(s)), 1); err != nil {
			t.Fatal(err)
		}
	}
	if a.plain.matched != 4 || a.Out.Events != 5 {
		t.Errorf("%d of 4 events were recognised, %d of 5 counted", a.plain.matched, a.Out.Events)
	}
	// A server that counts in every event is parsed, and not learned for ever.
	a.Start(0, 4)
	for i := range 100 {
		if err := a.event(fmt.Appendf(nil, `{"created":%d,"choices":[{"text":"a"}]}`, i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if a.Out.Events != 100 || a.plain.learned > 8 {
		t.Errorf("%d of 100 counted, learned %d times", a.Out.Events, a.plain.learned)
	}
}

func TestFailureKeepsItsCause(t *testing.T) {
	var a Answer
	a.Start(0, 1)
	a.Fail(sample.ConnectError, "%w", errors.New("first"))
	a.Fail(sample.Timeout, "second")
	if a.Out.Outcome != sample.ConnectError || a.Out.Error != "first" {
		t.Errorf("%s: %s", a.Out.Outcome, a.Out.Error)
	}
}
