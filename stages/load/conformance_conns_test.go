package load_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// Requests that follow each other go over one connection.
func TestConnectionsAreKept(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, always(whole("a", "b")))
		c := at(s.url, 50)
		c.MaxConcurrency = 1
		table := measure(t, k, c)
		if f := table.Meta.Facts; table.Failed() > 0 || f["resent"] != 0 || f["streams_max"] != 1 || f["open_files_max"] > 2 {
			t.Errorf("%q, facts %v", table.Error, f)
		}
		// net/http gives the slot back before the connection.
		if n := s.connections(); n > 1 && k.name != netHTTP || n > 25 {
			t.Errorf("%d connections for 50 requests in sequence", n)
		}
	})
}

// What a server says of its connections is heeded.
func TestConnectionsThatAreNotKept(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		good := body("a")
		for name, answer := range map[string]string{
			"said so":           headSSE + "Connection: close\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(good)) + good,
			"HTTP/1.0":          fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n", len(good)) + good,
			"more than was due": whole("a") + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"error, said so":    "HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
		} {
			s := serve(t, func(c *conn) {
				for n := 0; ; n++ {
					if _, _, ok := c.ask(); !ok {
						return
					}
					if n > 0 {
						t.Errorf("%s: asked again", name)
					}
					c.write(answer)
				}
			})
			c := at(s.url, 5)
			c.MaxConcurrency = 1
			if table := measure(t, k, c); table.Failed() > 0 != strings.HasPrefix(name, "error") || s.connections() != 5 || table.Meta.Facts["resent"] != 0 {
				t.Errorf("%s: %q, %d connections", name, table.Error, s.connections())
			}
		}
	})
}

// llama.cpp's server closes the connection after every stream without having
// said so. The next request may have been given that connection.
func TestServerThatClosesUnannounced(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		for _, reset := range []bool{false, true} {
			s := serve(t, func(c *conn) {
				if _, _, ok := c.ask(); ok {
					c.write(strings.Replace(whole("a"), "\r\n", "\r\nKeep-Alive: timeout=5, max=100\r\n", 1))
					if reset {
						c.settle()
						c.reset()
					}
				}
			})
			c := at(s.url, 400)
			for i := range c.Arrivals {
				c.Arrivals[i] = time.Duration(i) * 100 * time.Microsecond
			}
			table := measure(t, k, c)
			if table.Failed() != 0 {
				t.Fatalf("%d rows failed: %q", table.Failed(), slices.Compact(slices.Sorted(slices.Values(table.Error))))
			}
			t.Logf("%v requests were sent again", table.Meta.Facts["resent"])
		}
	})
}

// A request that was dropped with its kept connection is sent again, once, and
// counts as sent when it first was. Prompts that the socket does not take at
// once are dropped while they are written.
func TestDroppedRequestsAreSentAgain(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		for _, size := range []int{1, 5 << 20} {
			if size > 1 && k.name == netHTTP {
				continue // it does not send again what it could not write
			}
			plan := &spy{Transport: k.make()}
			var dropped atomic.Int64 // when
			s := serve(t, func(c *conn) {
				for n := 0; ; n++ {
					i, r, ok := c.askHead()
					if !ok {
						return
					}
					if n == 1 {
						if i != 1 {
							t.Errorf("request %d was the second on its connection", i)
						}
						if dropped.Swap(plan.since()) != 0 {
							t.Error("dropped twice")
						}
						return
					}
					io.Copy(io.Discard, r.Body)
					c.write(whole("a"))
					if c.number > 0 {
						return
					}
				}
			})
			c := at(s.url, 2)
			c.MaxConcurrency = 1
			large(&c, size)
			var log []load.Event
			// net/http may not have put the connection aside yet.
			c.Arrivals[1] = 100 * time.Millisecond
			table, err := load.Run(t.Context(), c, plan, func(e load.Event) { log = append(log, e) })
			if err != nil || table.Failed() > 0 {
				t.Fatalf("%d bytes: error %v, %q", size, err, table.Error)
			}
			if f := table.Meta.Facts; f["resent"] != 1 || s.connections() != 2 || f["sent"] != 2 {
				t.Errorf("%d connections, facts %v", s.connections(), f)
			}
			if o := table.Row(1); !(c.Arrivals[1] <= time.Duration(o.Sent) && o.Sent < dropped.Load() && dropped.Load() < o.FirstToken) {
				t.Errorf("dropped at %d: %+v", dropped.Load(), o)
			}
			sent := 0
			for _, e := range log {
				if e.Kind == load.Sent && e.Index == 1 {
					sent++
					if int64(e.At) != table.Sent[1] {
						t.Errorf("told as sent at %v, in its row at %d", e.At, table.Sent[1])
					}
				}
			}
			if sent != 1 {
				t.Errorf("told as sent %d times", sent)
			}
		}
	})
}

// A new connection that ends before any answer is a failure of the server, and
// so is a kept one once an answer has begun: nothing is sent again.
func TestOthersAreNotSentAgain(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		var requests atomic.Int32
		s := serve(t, func(c *conn) {
			for n := 0; ; n++ {
				if _, _, ok := c.ask(); !ok {
					return
				}
				requests.Add(1)
				switch {
				case c.number > 0:
					return
				case n == 1:
					c.write("HTTP/1.1 200")
					return
				}
				c.write(whole("a"))
			}
		})
		c := at(s.url, 3)
		c.MaxConcurrency = 1
		for i := range c.Arrivals {
			c.Arrivals[i] = time.Duration(i) * 100 * time.Millisecond
		}
		table := measure(t, k, c)
		want := []string{sample.OK, sample.ConnectError, sample.ConnectError}
		if !slices.Equal(table.Outcome, want) || requests.Load() != 3 || table.Meta.Facts["resent"] != 0 {
			t.Errorf("outcomes %q, %q, %d requests", table.Outcome, table.Error, requests.Load())
		}
	})
}

// Servers close connections that have been idle for long, and say something on
// them first, perhaps. No request is lost by it, and no answer made of it.
func TestIdleConnectionsThatAreClosed(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		for name, end := range map[string]func(c *conn){
			"closed":       func(c *conn) {},
			"reset":        func(c *conn) { c.reset() },
			"told":         func(c *conn) { c.write("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n") },
			"an answer":    func(c *conn) { c.write(whole("x", "y")); c.gone() },
			"some garbage": func(c *conn) { c.write("\r\n"); c.gone() },
		} {
			s := serve(t, func(c *conn) {
				if _, _, ok := c.ask(); !ok {
					return
				}
				c.write(whole("a"))
				c.settle() // what comes now comes on an idle connection
				end(c)
			})
			c := at(s.url, 4)
			for i := range c.Arrivals {
				c.Arrivals[i] = time.Duration(i) * 50 * time.Millisecond
			}
			table := measure(t, k, c)
			for i := range 4 {
				if o := table.Row(i); o.Outcome != sample.OK || o.Events != 1 {
					t.Errorf("%s: %s, %q, %d events", name, o.Outcome, o.Error, o.Events)
				}
			}
			if s.connections() < 4 {
				t.Errorf("%s: %d connections", name, s.connections())
			}
		}
	})
}

// A server that never ends its stream after [DONE] costs a connection, and
// neither the point nor its length.
func TestStreamLeftOpenAfterDone(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			if _, _, ok := c.ask(); ok {
				c.write(inChunks + piece(body("a")))
				c.gone()
			}
		})
		c := at(s.url, 3)
		c.MaxConcurrency = 1
		table := measure(t, k, c)
		if f := table.Meta.Facts; table.Failed() > 0 || s.connections() != 3 || f["streams_max"] != 1 {
			t.Errorf("%q, %d connections, facts %v", table.Error, s.connections(), f)
		}
		// The length is that of the answers, not of waiting for the ends.
		if last := slices.Max(table.LastToken); table.Meta.Length < float64(last)/1e9 {
			t.Errorf("length %v s, last token at %d", table.Meta.Length, last)
		}
	})
}

// Thousands of requests at one instant are thousands of connections at once.
func TestCrowds(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		const n = 3000
		var asked sync.WaitGroup
		asked.Add(n)
		s := serve(t, func(c *conn) {
			if _, _, ok := c.ask(); !ok {
				return
			}
			asked.Done()
			asked.Wait() // nobody is answered before all have asked
			c.write(whole("a", "b"))
			c.gone()
		})
		table := measure(t, k, at(s.url, n))
		if table.Failed() > 0 {
			t.Errorf("%d failed: %q", table.Failed(), slices.Compact(slices.Sorted(slices.Values(table.Error))))
		}
		if f := table.Meta.Facts; f["streams_max"] != n || f["open_files_max"] != n || s.connections() != n {
			t.Errorf("%d connections, facts %v", s.connections(), f)
		}
	})
}
