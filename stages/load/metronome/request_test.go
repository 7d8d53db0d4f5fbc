package metronome

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Requests are found however what is received is cut: in two at every place,
// and into pieces of every small size.
func TestInboxCutAnywhere(t *testing.T) {
	stream := "POST /v1/completions HTTP/1.1\r\nHost: a\r\nX-REQUEST-ID:  one \r\nContent-Length: 5\r\n\r\n\r\n\r\nx" +
		"POST /v1/chat/completions HTTP/1.1\r\nx-request-id: two\r\ncontent-length: 0\r\n\r\n" +
		"GET /health HTTP/1.1\r\n\r\n" +
		"POST /v1/completions HTTP/1.1\r\ncontent-length: 2\r\nx-request-id: three\r\n\r\n{}"
	want := []string{"one 0 5", "two 1 0", " 2 0", "three 0 2"}
	feed := func(pieces ...string) {
		t.Helper()
		var in inbox
		var got []string
		for _, p := range pieces {
			buffer := []byte(p)
			err := in.take(buffer, func(r request) error {
				got = append(got, fmt.Sprintf("%s %d %d", r.id, r.api, r.body))
				return nil
			})
			if err != nil {
				t.Fatalf("%q: %v", pieces, err)
			}
			clear(buffer) // it is the caller's again
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q", pieces, got)
		}
	}
	feed(stream)
	for i := range stream {
		feed(stream[:i], stream[i:])
	}
	for size := 1; size < 40; size++ {
		var pieces []string
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		feed(pieces...)
	}
}

func TestInboxRefuses(t *testing.T) {
	for _, junk := range []string{
		"\r\n\r\n", "GET /\r\n\r\n", "POST / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
		"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
		strings.Repeat("a", maxHead+1),
	} {
		var in inbox
		if err := in.take([]byte(junk), func(request) error { return nil }); err == nil {
			t.Errorf("%.60q was taken", junk)
		}
	}
}
