package metronome

import (
	"bytes"
	"fmt"
	"strings"
)

// api is what a request asked for.
type api int

const (
	completions api = iota
	chat
	apis
)

// script is every byte that answers consist of. All answers of a pace are
// alike, so that to serve one is to write slices of it.
type script struct {
	segments int
	opening  [apis][]byte // head and the first segment, which may be the last too
	middle   [apis][]byte
	closing  [apis][]byte // the last segment, usage, [DONE], end of the body
}

const head = "HTTP/1.1 200 OK\r\nserver: metronome\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"

const notFound = "HTTP/1.1 404 Not Found\r\nserver: metronome\r\ncontent-length: 0\r\n\r\n"

// What vLLM sends, with ids that are always the same. A verb for the finish
// reason in each.
const (
	completionEvent = `{"id":"cmpl-6d6574726f6e6f6d65000000000000","object":"text_completion","created":1700000000,"model":"metronome","choices":[{"index":0,"text":" tick","logprobs":null,"finish_reason":%s,"stop_reason":null}],"usage":null}`
	chatEvent       = `{"id":"chatcmpl-6d6574726f6e6f6d6500000000","object":"chat.completion.chunk","created":1700000000,"model":"metronome","choices":[{"index":0,"delta":{"content":" tick"},"logprobs":null,"finish_reason":%s}],"usage":null}`
)

// write makes the bytes of answers of that pace. Every event is a chunk of
// HTTP of its own, as servers on uvicorn send it.
func write(p Pace) *script {
	s := &script{segments: p.segments()}
	for a, event := range [apis]string{completionEvent, chatEvent} {
		usage := fmt.Sprintf(`{"prompt_tokens":1,"total_tokens":%d,"completion_tokens":%d}`, p.Tokens+1, p.Tokens)
		last := strings.NewReplacer(`"usage":null`, `"usage":`+usage).Replace(event)
		from, to := strings.Index(last, `[{`), strings.Index(last, `}]`)
		tail := chunk(last[:from]+"["+last[to+1:]) + chunk("[DONE]") + "0\r\n\r\n"

		token := chunk(fmt.Sprintf(event, "null"))
		left := p.Tokens - (s.segments-1)*p.Events // tokens of the last segment
		closing := strings.Repeat(token, left-1) + chunk(fmt.Sprintf(event, `"length"`)) + tail
		s.middle[a] = bytes.Repeat([]byte(token), p.Events)
		s.closing[a] = []byte(closing)
		s.opening[a] = append([]byte(head), s.middle[a]...)
		if s.segments == 1 {
			s.opening[a] = []byte(head + closing)
		}
	}
	return s
}

// chunk is an event of that data as a chunk of HTTP.
func chunk(data string) string {
	event := "data: " + data + "\n\n"
	return fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
}

// segment is the n-th segment of an answer, from 0.
func (s *script) segment(a api, n int) []byte {
	switch n {
	case 0:
		return s.opening[a]
	case s.segments - 1:
		return s.closing[a]
	}
	return s.middle[a]
}
