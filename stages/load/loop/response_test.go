package loop

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// reading is what a response was read as.
type reading struct {
	status int
	header string // fields, one a line
	body   string
	heads  int  // found
	ended  bool // the end was found before the connection's
	keep   bool
	err    error // of next, else of closed
}

func (r reading) String() string {
	return fmt.Sprintf("status %d, %d heads, header %q, body %q, ended %v, keep %v, error %v", r.status, r.heads, r.header, r.body, r.ended, r.keep, r.err)
}

// readAll gives the pieces to a response, one read each, and ends the
// connection. What follows the end in the same piece is not looked at.
func readAll(pieces ...[]byte) (out reading) {
	var r response
	r.start()
	for _, p := range pieces {
		b := bytes.Clone(p)
		for {
			found, piece, rest, err := r.next(b)
			if err != nil {
				out.status, out.err = r.Status, err
				return out
			}
			switch found {
			case head:
				out.heads++
				out.status = r.Status
				for _, f := range r.header {
					out.header += f.name + ": " + f.value + "\n"
				}
			case data:
				out.body += string(piece)
			case end:
				out.ended, out.keep = true, r.Keep
				return out
			}
			if found == nothing {
				break
			}
			b = rest
		}
		for i := range b { // nothing of a read may be needed after it
			b[i] = 'x'
		}
	}
	out.err = r.closed()
	return out
}

const ok = "HTTP/1.1 200 OK\r\n"

// responses is every shape of a response with what it says. An error need only
// contain err.
var responses = map[string]struct {
	bytes  string
	status int
	body   string
	ended  bool
	keep   bool
	err    string
}{
	"length":                 {ok + "Content-Length: 5\r\n\r\nhello", 200, "hello", true, true, ""},
	"length of nothing":      {ok + "Content-Length: 0\r\n\r\n", 200, "", true, true, ""},
	"length told twice":      {ok + "Content-Length: 5\r\ncontent-length:5\r\n\r\nhello", 200, "hello", true, true, ""},
	"length and close":       {ok + "Content-Length: 5\r\nConnection: close\r\n\r\nhello", 200, "hello", true, false, ""},
	"until the end":          {ok + "\r\nhello", 200, "hello", false, false, ""},
	"until the end, empty":   {ok + "\r\n", 200, "", false, false, ""},
	"HTTP/1.0":               {"HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello", false, false, ""},
	"HTTP/1.0 that is kept":  {"HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\nContent-Length: 1\r\n\r\nh", 200, "h", true, true, ""},
	"HTTP/1.0 in chunks":     {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, "1\r\na\r\n0\r\n\r\n", false, false, ""},
	"no reason":              {"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, "", true, true, ""},
	"bare line ends":         {"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 200, "hi", true, true, ""},
	"mixed line ends":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nhi", 200, "hi", true, true, ""},
	"folded":                 {ok + "X: a\r\n\tb\r\nContent-Length: 0\r\n\r\n", 200, "", true, true, ""},
	"204 with a length":      {"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, "", true, true, ""},
	"304 in chunks":          {"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, "", true, true, ""},
	"informational before":   {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nh", 200, "h", true, true, ""},
	"informational only":     {"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n", 0, "", false, false, "unexpected EOF"},
	"chunks":                 {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 200, "hello world", true, true, ""},
	"chunks by another name": {ok + "transfer-encoding: Chunked\r\nContent-Length: 3\r\n\r\n0A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", 200, "01234567890123456789", true, true, ""},
	"extensions":             {ok + "Transfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nhi\r\n1 ;x\r\n!\r\n2\t \r\nho\r\n0; last\r\n\r\n", 200, "hi!ho", true, true, ""},
	"trailers":               {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n", 200, "hi", true, true, ""},
	"garbage after it":       {ok + "Content-Length: 1\r\n\r\nhgarbage", 200, "h", true, false, ""},

	"nothing":             {"", 0, "", false, false, "EOF"},
	"part of a head":      {"HTTP/1.1 200 OK\r\nContent-Le", 0, "", false, false, "unexpected EOF"},
	"length cut short":    {ok + "Content-Length: 5\r\n\r\nhel", 200, "hel", false, false, "unexpected EOF"},
	"chunk cut short":     {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, "hel", false, false, "unexpected EOF"},
	"no last chunk":       {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, "hello", false, false, "unexpected EOF"},
	"no end of trailers":  {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", 200, "", false, false, "unexpected EOF"},
	"another protocol":    {"SSH-2.0-OpenSSH\r\n\r\n", 0, "", false, false, "malformed HTTP response \"SSH-2.0"},
	"HTTP/2":              {"HTTP/2.0 200 OK\r\n\r\n", 0, "", false, false, "malformed HTTP response"},
	"HTTP/1.2":            {"HTTP/1.2 200 OK\r\n\r\n", 0, "", false, false, "malformed HTTP response"},
	"no status":           {"HTTP/1.1 OK\r\n\r\n", 0, "", false, false, "malformed HTTP response"},
	"a status of four":    {"HTTP/1.1 2000 OK\r\n\r\n", 0, "", false, false, "malformed HTTP response"},
	"a signed status":     {"HTTP/1.1 +20 OK\r\n\r\n", 0, "", false, false, "malformed HTTP response"},
	"an empty first line": {"\r\n" + ok + "\r\n", 0, "", false, false, "malformed HTTP response"},
	"a field without end": {ok + "Content-Length\r\n\r\n", 200, "", false, false, "malformed HTTP header line"},
	"a space in a name":   {ok + "Content-Length : 5\r\n\r\nhello", 200, "", false, false, "malformed HTTP header line"},
	"folded first":        {ok + " X: a\r\n\r\n", 200, "", false, false, "malformed HTTP header line"},
	"a negative length":   {ok + "Content-Length: -1\r\n\r\n", 200, "", false, false, "bad Content-Length"},
	"two lengths":         {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", 200, "", false, false, "bad Content-Length"},
	"no length":           {ok + "Content-Length:\r\n\r\n", 200, "", false, false, "bad Content-Length"},
	"compressed transfer": {ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", 200, "", false, false, "transfer encoding \"gzip, chunked\""},
	"chunked twice":       {ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", false, false, "transfer encoding"},
	"a chunk too long":    {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", 200, "he", false, false, "longer than its size"},
	"bare end of a chunk": {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\n0\r\n\r\n", 200, "hi", false, false, "longer than its size"},
	"bare end of a size":  {ok + "Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", 200, "", false, false, "does not end with"},
	"a return in a size":  {ok + "Transfer-Encoding: chunked\r\n\r\n2\r;\r\nhi\r\n0\r\n\r\n", 200, "", false, false, "does not end with"},
	"no size":             {ok + "Transfer-Encoding: chunked\r\n\r\n\r\nhi", 200, "", false, false, "has no size"},
	"only an extension":   {ok + "Transfer-Encoding: chunked\r\n\r\n;x\r\nhi", 200, "", false, false, "has no size"},
	"a size in words":     {ok + "Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n", 200, "", false, false, "not a hexadecimal number"},
	"two sizes":           {ok + "Transfer-Encoding: chunked\r\n\r\n5 6\r\nhello\r\n", 200, "", false, false, "not a hexadecimal number"},
	"a negative size":     {ok + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", 200, "", false, false, "not a hexadecimal number"},
	"a huge size":         {ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 200, "", false, false, "too large"},
	"a trailer in words":  {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nthe end\r\n\r\n", 200, "", false, false, "no header field"},
}

func TestResponsesCutAnywhere(t *testing.T) {
	for name, c := range responses {
		t.Run(name, func(t *testing.T) {
			b := []byte(c.bytes)
			whole := readAll(b)
			if whole.status != c.status || whole.body != c.body || whole.ended != c.ended || whole.keep != c.keep ||
				(whole.err == nil) != (c.err == "") || whole.err != nil && !strings.Contains(whole.err.Error(), c.err) {
				t.Fatalf("got %v", whole)
			}
			check := func(pieces ...[]byte) {
				t.Helper()
				got := readAll(pieces...)
				if strings.HasPrefix(name, "garbage") {
					got.keep = whole.keep // what comes in a read of its own is the connection's matter
				}
				if got.err != nil && whole.err != nil { // its text may show how much had come
					got.err = whole.err
				}
				if got.String() != whole.String() {
					t.Errorf("in %d pieces, the first of %d bytes: %v\nwhole: %v", len(pieces), len(pieces[0]), got, whole)
				}
			}
			for i := range b {
				for j := i; j <= len(b); j++ {
					check(b[:i], b[i:j], b[j:])
				}
			}
			check(append(slices.Collect(slices.Chunk(b, 1)), nil)...)
		})
	}
}

// Whoever answers with something else may wait for an answer, and is known
// from the first bytes.
func TestAnotherProtocolIsKnownAtOnce(t *testing.T) {
	var r response
	r.start()
	if _, _, _, err := r.next([]byte("SSH")); err == nil {
		t.Error("more was waited for")
	}
}

// What has no end is given up before it fills the memory.
func TestResponsesAreBounded(t *testing.T) {
	for name, begin := range map[string]string{
		"status line": "HTTP/1.1 200 ",
		"header":      ok + "X: ",
		"size line":   ok + "Transfer-Encoding: chunked\r\n\r\n1;",
		"trailer":     ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
		"short lines": ok + "\x00",
	} {
		for _, size := range []int{1, 999, readSize} {
			var r response
			r.start()
			filler := bytes.Repeat([]byte("x"), size)
			if name == "short lines" {
				begin, filler = ok, bytes.Repeat([]byte("X: y\r\n"), 1+size/6)
			}
			b, fed := []byte(begin), 0
			var err error
			for ; err == nil && fed < 2*mostHead; fed += len(b) {
				if _, _, _, err = drain(&r, b); err == nil {
					b = filler
				}
			}
			if err == nil || cap(r.head) > 2*(mostHead+readSize) {
				t.Errorf("%s by %d: error %v after %d bytes, of which %d are kept", name, size, err, fed, cap(r.head))
			}
		}
	}
	// A server that says for ever that it is at it is not listened to for ever.
	var r response
	r.start()
	for i := range mostInterim + 1 {
		_, _, _, err := drain(&r, []byte("HTTP/1.1 102 Processing\r\n\r\n"))
		if (err != nil) != (i == mostInterim) {
			t.Fatalf("interim response %d: %v", i+1, err)
		}
	}
}

// readSize is what a socket may give at once.
const readSize = 64 << 10

// drain takes in all of b.
func drain(r *response, b []byte) (part, []byte, []byte, error) {
	for {
		found, piece, rest, err := r.next(b)
		if err != nil || found == nothing || found == end {
			return found, piece, rest, err
		}
		b = rest
	}
}

func TestBodiesCostNoAllocation(t *testing.T) {
	var r response
	r.start()
	drain(&r, []byte(ok+"Transfer-Encoding: chunked\r\n\r\n"))
	chunk := []byte("7\r\nhello, \r\n5;x\r\nworld\r\n")
	if n := testing.AllocsPerRun(100, func() {
		for i := range chunk {
			drain(&r, chunk[i:i+1])
		}
		drain(&r, chunk)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A response is used again, and forgets what it was.
func TestResponseStartsAnew(t *testing.T) {
	var used response
	random := rand.New(rand.NewPCG(1, 2))
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range responses {
			if !yield(name) {
				return
			}
		}
	})
	for range 500 {
		b := []byte(responses[names[random.IntN(len(names))]].bytes)
		used.start()
		drain(&used, b[:random.IntN(len(b)+1)])
	}
	used.start()
	fresh := response{head: used.head, header: used.header}
	if fmt.Sprint(used) != fmt.Sprint(fresh) || len(used.head) > 0 || len(used.header) > 0 {
		t.Errorf("%+v", used)
	}
}

// byNetHTTP reads a response as net/http does, informational ones before it
// aside; left is how many bytes come after it.
func byNetHTTP(b []byte) (resp *http.Response, body []byte, left int, err error) {
	buffered := bufio.NewReaderSize(bytes.NewReader(b), 1<<20) // longer trailers are refused
	for {
		if resp, err = http.ReadResponse(buffered, &http.Request{Method: http.MethodPost}); err != nil {
			return nil, nil, 0, err
		}
		if resp.StatusCode >= 200 {
			break
		}
	}
	body, err = io.ReadAll(resp.Body)
	rest, _ := io.Copy(io.Discard, buffered)
	return resp, body, int(rest), err
}

// FuzzResponse holds that nothing depends on how a response's bytes come
// together, and that what net/http reads too is read alike.
func FuzzResponse(f *testing.F) {
	for _, c := range responses {
		f.Add([]byte(c.bytes), uint16(20), uint16(60))
	}
	f.Fuzz(func(t *testing.T, b []byte, i, j uint16) {
		if len(b) > 64<<10 {
			t.Skip()
		}
		whole := readAll(b)
		n := len(b) + 1
		from, to := min(int(i)%n, int(j)%n), max(int(i)%n, int(j)%n)
		for _, pieces := range [][][]byte{{b[:from], b[from:to], b[to:]}, slices.Collect(slices.Chunk(b, 1))} {
			cut := readAll(pieces...)
			if cut.ended {
				cut.keep = whole.keep // bytes after the end may have come later
			}
			if whole.err != nil && cut.err != nil {
				if errors.Is(whole.err, io.ErrUnexpectedEOF) != errors.Is(cut.err, io.ErrUnexpectedEOF) {
					t.Errorf("%q in %d pieces: %v\nwhole: %v", b, len(pieces), cut, whole)
				}
				cut.err = whole.err
			}
			if cut.String() != whole.String() {
				t.Errorf("%q in %d pieces: %v\nwhole: %v", b, len(pieces), cut, whole)
			}
		}
		resp, body, left, err := byNetHTTP(b)
		if whole.err != nil || err != nil || whole.status == http.StatusSwitchingProtocols {
			return
		}
		if resp.StatusCode != whole.status || string(body) != whole.body {
			t.Errorf("%q: %v\nnet/http: %v with %q", b, whole, resp, body)
		}
		if left == 0 && whole.keep == resp.Close {
			t.Errorf("%q: %v\nnet/http closes: %v", b, whole, resp.Close)
		}
		first := map[string]bool{}
		for line := range strings.Lines(whole.header) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			name = textproto.CanonicalMIMEHeaderKey(name)
			if first[name] {
				continue
			}
			first[name] = true
			switch name { // which ReadResponse takes out
			case "Transfer-Encoding", "Trailer", "Content-Length", "Connection":
				continue
			}
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%q: %s is %q\nnet/http: %q", b, name, value, got)
			}
		}
	})
}

func BenchmarkResponse(b *testing.B) {
	event := `data: {"id":"cmpl-6c1b0a6f","object":"text_completion","created":1760000000,"model":"m","choices":[{"index":0,"text":" word","finish_reason":null}],"usage":null}` + "\n\n"
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event)
	var r response
	r.start()
	drain(&r, []byte(ok+"Transfer-Encoding: chunked\r\n\r\n"))
	b.ReportAllocs()
	for b.Loop() {
		drain(&r, chunk)
	}
}
