package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What the tests of this package share with the conformance suite, which lies
// outside of it since it imports loop.
var (
	Point     = point
	Text      = text
	Delta     = delta
	Stream    = stream
	Chunked   = chunked
	Recording = recording
)

const (
	Stop = stop
	Used = used
	End  = done
)

// Events as servers write them.
func text(s string) string {
	return fmt.Sprintf(`{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"index":0,"text":%q,"logprobs":null,"finish_reason":null}],"usage":null}`, s)
}

func delta(fields string) string {
	return `{"id":"chat-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{` + fields + `},"finish_reason":null}]}`
}

const (
	stop = `{"id":"cmpl-1","choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":null}`
	used = `{"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`
	done = "[DONE]"
)

// stream joins events.
func stream(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("data: " + e + "\n\n")
	}
	return b.String()
}

// chunked is a body in chunks of n bytes, with its end.
func chunked(body string, n int) string {
	var b strings.Builder
	for len(body) > 0 {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String() + "0\r\n\r\n"
}

// recording reads an answer of answer/testdata: lines that begin with # say
// where its shape is from, the rest is what came over the connection, without
// the framing of chunks.
func recording(t *testing.T, name string) (status string, header http.Header, body []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("answer", "testdata", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for bytes.HasPrefix(b, []byte("#")) {
		_, b, _ = bytes.Cut(b, []byte("\n"))
		told = true
	}
	if !told {
		t.Errorf("%s does not say where it is from", name)
	}
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s has no end of its header", name)
	}
	lines := strings.Split(string(head), "\r\n")
	header = http.Header{}
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ": ")
		header.Add(k, v)
	}
	return lines[0], header, body
}

// rawServer answers each request on a real socket with exact bytes and closes
// the connection.
func rawServer(t *testing.T, answer func(r *http.Request) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				io.WriteString(c, answer(r))
			})
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return "http://" + l.Addr().String()
}
