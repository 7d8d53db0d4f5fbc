package load_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// answersOnce answers each request with exact bytes and closes the connection.
func answersOnce(t *testing.T, write func(c *conn)) *server {
	return serve(t, func(c *conn) {
		if _, _, ok := c.ask(); ok {
			write(c)
		}
	})
}

func TestOutcomes(t *testing.T) {
	good := body("a", "b")
	begun := load.Stream(load.Text("a"))
	for name, c := range map[string]struct {
		bytes  string
		want   string
		status int64
		says   string
	}{
		"chunked":            {inChunks + load.Chunked(good, 50), sample.OK, 200, ""},
		"with a length":      {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", headSSE, len(good), good), sample.OK, 200, ""},
		"until the end":      {untilEnd + good, sample.OK, 200, ""},
		"HTTP/1.0":           {"HTTP/1.0 200 OK\r\n\r\n" + good, sample.OK, 200, ""},
		"informational":      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + inChunks + load.Chunked(good, 50), sample.OK, 200, ""},
		"extensions":         {inChunks + strings.ReplaceAll(load.Chunked(good, 50), "32\r\n", "0032;a=\"b\"\r\n"), sample.OK, 200, ""},
		"trailers":           {inChunks + strings.TrimSuffix(load.Chunked(good, 50), "\r\n") + "X-A: b\r\nX-C: d\r\n\r\n", sample.OK, 200, ""},
		"a length and more":  {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%sgarbage", headSSE, len(good), good), sample.OK, 200, ""},
		"garbage after it":   {inChunks + load.Chunked(good, 50) + "HTTP/1.1 500 No\r\n\r\n", sample.OK, 200, ""},
		"no end after DONE":  {inChunks + piece(good), sample.OK, 200, ""},
		"bad end after DONE": {inChunks + piece(good) + "zz\r\n", sample.OK, 200, ""},
		"no Content-Type":    {"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n" + load.Chunked(good, 50), sample.OK, 200, ""},

		"chunks cut short":     {inChunks + piece(begun), sample.Truncated, 200, "unexpected EOF"},
		"a chunk cut short":    {inChunks + strings.TrimSuffix(piece(begun), "\n\r\n"), sample.Truncated, 200, "unexpected EOF"},
		"length cut short":     {headSSE + "Content-Length: 9999\r\n\r\n" + load.Stream(load.Text("a"), stop), sample.StreamError, 200, "broke after the finish_reason"},
		"no finish":            {untilEnd + begun, sample.Truncated, 200, "after 1 events"},
		"no finish, a length":  {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", headSSE, len(begun), begun), sample.Truncated, 200, "after 1 events"},
		"no finish, a DONE":    {inChunks + load.Chunked(begun+load.Stream(done), 9), sample.Truncated, 200, "after 1 events"},
		"nothing in the body":  {headSSE + "Content-Length: 0\r\n\r\n", sample.Truncated, 200, "after 0 events"},
		"error in the stream":  {untilEnd + load.Stream(load.Text("a"), `{"error":{"message":"out of memory"}}`, done), sample.StreamError, 200, "out of memory"},
		"error, kept":          {inChunks + load.Chunked(load.Stream(load.Text("a"), `{"error":{"message":"out of memory"}}`, done), 11), sample.StreamError, 200, "out of memory"},
		"bad chunks":           {inChunks + piece(begun) + "hello\r\n", sample.Truncated, 200, "the connection broke after 1 events"},
		"a chunk too long":     {inChunks + piece(begun) + "1\r\n\n\n\r\n0\r\n\r\n", sample.Truncated, 200, "malformed chunked encoding"},
		"a whole completion":   {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + `{"choices": []}`, sample.StreamError, 200, "a whole completion instead of an event stream"},
		"compressed":           {headSSE + "Content-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b\x08\x00", sample.Truncated, 200, "0 events"},
		"compressed transfer":  {headSSE + "Transfer-Encoding: gzip\r\n\r\n", sample.ConnectError, sample.Absent, "transfer encoding"},
		"500":                  {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 30\r\n\r\n" + `{"error":{"message":"engine"}}`, sample.HTTPError, 500, "status 500: engine"},
		"500 in chunks":        {"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n" + load.Chunked(`{"error":{"message":"engine"}}`, 3), sample.HTTPError, 500, "status 500: engine"},
		"500 until the end":    {"HTTP/1.0 500 Internal Server Error\r\n\r\n" + `{"error":{"message":"engine"}}`, sample.HTTPError, 500, "status 500: engine"},
		"500 cut short":        {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 99\r\n\r\nengine is", sample.HTTPError, 500, "status 500: engine is"},
		"500 with a stream":    {"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n" + load.Chunked(good, 50), sample.HTTPError, 500, "status 500: data: "},
		"404 without a body":   {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", sample.HTTPError, 404, "status 404: no message"},
		"204":                  {"HTTP/1.1 204 No Content\r\n\r\n", sample.HTTPError, 204, "status 204: no message"},
		"201":                  {"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", sample.HTTPError, 201, "status 201: ok"},
		"redirect":             {"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", sample.HTTPError, 307, "status 307"},
		"another way":          {"HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 4\r\n\r\ngone", sample.HTTPError, 301, "status 301: gone"},
		"another protocol":     {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", sample.HTTPError, 101, "status 101: no message"},
		"nothing":              {"", sample.ConnectError, sample.Absent, "EOF"},
		"half a head":          {"HTTP/1.1 200 OK\r\nContent-Type: x\r\n", sample.ConnectError, sample.Absent, "unexpected EOF"},
		"informational only":   {"HTTP/1.1 102 Processing\r\n\r\n", sample.ConnectError, sample.Absent, "EOF"},
		"not HTTP":             {"SSH-2.0-OpenSSH\r\n\r\n", sample.ConnectError, sample.Absent, "malformed HTTP"},
		"bad length":           {headSSE + "Content-Length: many\r\n\r\n" + good, sample.ConnectError, sample.Absent, "Content-Length"},
		"a line without colon": {headSSE + "no colon\r\n\r\n" + good, sample.ConnectError, sample.Absent, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(t *testing.T, k kind) {
				for _, dribble := range []bool{false, true} {
					s := answersOnce(t, func(conn *conn) {
						if dribble {
							conn.dribble(c.bytes)
						} else {
							conn.write(c.bytes)
						}
					})
					o := measure(t, k, at(s.url, 1)).Row(0)
					if o.Outcome != c.want || o.Status != c.status || !strings.Contains(o.Error, c.says) || (o.Error == "") != (c.want == sample.OK) {
						t.Errorf("dribble %v: %s, status %d, error %q", dribble, o.Outcome, o.Status, o.Error)
					}
					if o.Outcome == sample.OK && (o.Events != 2 || o.PromptTokens != 7 || o.OutputTokens != 5 || o.TTFT <= 0) {
						t.Errorf("dribble %v: %+v", dribble, o)
					}
					if o.Sent < o.Scheduled || s.connections() != 1 {
						t.Errorf("sent at %d, its schedule was %d; %d connections", o.Sent, o.Scheduled, s.connections())
					}
				}
			})
		})
	}
}

// What comes after a 101 is no body of this protocol, and nothing to wait for.
func TestAnotherProtocolThatStaysOpen(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := answersOnce(t, func(c *conn) {
			c.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nxxxx")
			c.ask() // which the client's end of the connection ends
		})
		if o := measure(t, k, at(s.url, 1)).Row(0); o.Outcome != sample.HTTPError || o.Status != 101 || o.Error != "status 101: no message" {
			t.Errorf("%s, status %d, error %q", o.Outcome, o.Status, o.Error)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		l := listen(t, "127.0.0.1:0")
		l.Close()
		table := measure(t, k, at("http://"+l.Addr().String(), 2))
		for i := range 2 {
			want := fmt.Sprintf("dial tcp %v: connect: connection refused", l.Addr())
			if o := table.Row(i); o.Outcome != sample.ConnectError || o.Sent == sample.Absent || o.Status != sample.Absent || o.Error != want {
				t.Errorf("%+v", o)
			}
		}
		if f := table.Meta.Facts; f["connect_error"] != 2 || f["failed"] != 2 || f["sent"] != 2 {
			t.Errorf("facts %v", f)
		}
	})
}

// Of the body of an error as much is read as a message can need, when it comes.
func TestErrorsWithoutEnd(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			for {
				i, _, ok := c.ask()
				if !ok {
					return
				}
				switch i {
				case 0: // never ends
					c.write("HTTP/1.1 500 No\r\n\r\nengine ")
					for c.write(strings.Repeat("x", 8<<10)) {
					}
					return
				case 1: // never ends, in chunks
					c.write("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n" + piece("engine "))
					for c.write(piece(strings.Repeat("x", 5000))) {
					}
					return
				case 2: // comes slowly
					c.write("HTTP/1.1 500 No\r\nContent-Length: 18\r\n\r\n{\"error\":")
					c.settle()
					c.write(`"engine`)
					c.settle()
					c.write(`"}`)
				case 3: // is large, and kept
					message := `{"error":"engine"}` + strings.Repeat(" ", 60_000)
					c.write(fmt.Sprintf("HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%s", len(message), message))
				}
			}
		})
		table := measure(t, k, at(s.url, 4))
		for i := range 4 {
			o := table.Row(i)
			if o.Outcome != sample.HTTPError || o.Status != 500 || !strings.HasPrefix(o.Error, "status 500: engine") || len(o.Error) > 400 {
				t.Errorf("request %d: %s, %q", i, o.Outcome, o.Error)
			}
		}
	})
}

// A server may answer before it has read the request: one that is too large,
// mostly. It may close the connection then, with much of it unread.
func TestAnswerBeforeTheRequestIsWritten(t *testing.T) {
	const refusal = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large"
	over(t, func(t *testing.T, k kind) {
		for name, write := range map[string]func(c *conn){
			"and waits":                     func(c *conn) { c.write(refusal); c.settle() },
			"and keeps it":                  func(c *conn) { c.write(strings.Replace(refusal, "Connection: close\r\n", "", 1)); c.settle() },
			"and the body comes afterwards": func(c *conn) { c.write(refusal[:len(refusal)-3]); c.settle(); c.write("rge"); c.settle() },
			"and closes at once":            func(c *conn) { c.write(refusal) },
		} {
			s := serve(t, func(c *conn) {
				if _, _, ok := c.askHead(); ok {
					write(c)
				}
			})
			c := at(s.url, 3)
			large(&c, 5<<20)
			table := measure(t, k, c)
			for i := range 3 {
				o := table.Row(i)
				if k.name == netHTTP && o.Outcome == sample.ConnectError && name != "and the body comes afterwards" {
					continue // it may see the end of its writing first, and takes that for the end of all
				}
				if o.Outcome != sample.HTTPError || o.Status != 413 || !strings.HasPrefix(o.Error, "status 413: too large") {
					t.Errorf("%s: %s, %q", name, o.Outcome, o.Error)
				}
			}
		}
	})
}

// A whole answer that came before the request was read counts as one.
func TestStreamBeforeTheRequestIsWritten(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			if _, _, ok := c.askHead(); ok {
				c.write(whole("a"))
				c.settle()
			}
		})
		c := at(s.url, 2)
		large(&c, 5<<20)
		if table := measure(t, k, c); table.Failed() > 0 {
			t.Errorf("%q", table.Error)
		}
	})
}

// A prompt that the socket does not take at once is written as room comes.
func TestLargePrompts(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		plan := &spy{Transport: k.make()}
		s := serve(t, func(c *conn) {
			for {
				i, r, ok := c.askHead()
				if !ok {
					return
				}
				want := plan.plan().Request(i).Body
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != string(want) || len(got) < 5<<20 {
					t.Errorf("request %d: %d of %d bytes, error %v", i, len(got), len(want), err)
				}
				c.write(whole("a"))
			}
		})
		c := at(s.url, 6)
		large(&c, 5<<20)
		c.MaxConcurrency = 2 // the later ones on kept connections
		table, err := load.Run(t.Context(), c, plan, nil)
		if err != nil || table.Failed() > 0 {
			t.Errorf("error %v, %q", err, table.Error)
		}
	})
}

func TestServersOnIPv6(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serveOn(t, listen(t, "[::1]:0"), func(c *conn) {
			for {
				_, r, ok := c.ask()
				if !ok {
					return
				}
				if r.Host != c.LocalAddr().String() {
					t.Errorf("host %q", r.Host)
				}
				c.write(whole("a"))
			}
		})
		if table := measure(t, k, at(s.url, 5)); table.Failed() > 0 {
			t.Errorf("%q", table.Error)
		}
	})
}

func TestServersByName(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, always(whole("a")))
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
		if table := measure(t, k, at("http://localhost:"+port, 5)); table.Failed() > 0 {
			t.Errorf("%q", table.Error)
		}
	})
}
