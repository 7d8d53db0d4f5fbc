package load_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// A connection that ends in the middle tells by where how the request fared.
func TestConnectionsThatEnd(t *testing.T) {
	begun, finished := piece(load.Stream(load.Text("a"))), piece(load.Stream(load.Text("a"), stop))
	for name, c := range map[string]struct {
		bytes string
		want  string
		says  string
	}{
		"before the head":       {"", sample.ConnectError, ""},
		"in the head":           {headSSE + "X: y\r\n", sample.ConnectError, ""},
		"after informational":   {"HTTP/1.1 100 Continue\r\n\r\n", sample.ConnectError, ""},
		"before the body":       {inChunks, sample.Truncated, "after 0 events"},
		"in the first event":    {inChunks + "100\r\ndata: {", sample.Truncated, "after 0 events"},
		"after a token":         {inChunks + begun, sample.Truncated, "the connection broke after 1 events with tokens, before a finish_reason: "},
		"after the finish":      {inChunks + finished, sample.StreamError, "the connection broke after the finish_reason, before the end of the stream: "},
		"after DONE":            {inChunks + piece(body("a")), sample.OK, ""},
		"in the body, a length": {headSSE + "Content-Length: 9999\r\n\r\n" + load.Stream(load.Text("a")), sample.Truncated, "broke after 1 events"},
		"in an error":           {"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nbusy", sample.HTTPError, "status 503: busy"},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(t *testing.T, k kind) {
				for how, end := range map[string]func(c *conn){
					"unexpected EOF":           func(c *conn) {},
					"connection reset by peer": func(c *conn) { c.settle(); c.reset() },
				} {
					s := answersOnce(t, func(conn *conn) { conn.write(c.bytes); end(conn) })
					o := measure(t, k, at(s.url, 1)).Row(0)
					if o.Outcome != c.want || !strings.Contains(o.Error, c.says) {
						t.Errorf("%s: %s, %q", how, o.Outcome, o.Error)
					}
					if strings.HasSuffix(c.says, ": ") && !strings.HasSuffix(o.Error, how) {
						t.Errorf("%s: %q", how, o.Error)
					}
					if s.connections() != 1 {
						t.Errorf("%s: %d connections", how, s.connections())
					}
				}
			})
		})
	}
}

// A body without a length that is reset has not ended.
func TestResetIsNoEnd(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := answersOnce(t, func(c *conn) {
			c.write(untilEnd + load.Stream(load.Text("a"), stop))
			c.settle()
			c.reset()
		})
		if o := measure(t, k, at(s.url, 1)).Row(0); o.Outcome != sample.StreamError || !strings.Contains(o.Error, "reset by peer") {
			t.Errorf("%s: %q", o.Outcome, o.Error)
		}
	})
}

func TestServersThatHang(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			i, _, ok := c.ask()
			if !ok {
				return
			}
			c.write([]string{
				"",
				"HTTP/1.1 102 Processing\r\n\r\n",
				"HTTP/1.1 200 OK\r\nContent-",
				inChunks,
				inChunks + piece(load.Stream(load.Text("a"))),
				inChunks + piece(load.Stream(load.Text("a"), stop)),
				"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nbusy",
				"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\n",
				inChunks + piece(body("a")), // only the end is missing: that is an answer
				untilEnd + body("a"),        // and so it is here
			}[i])
			c.gone()
		})
		c := at(s.url, 10)
		c.Timeout = time.Second
		r := start(t.Context(), t, k, c)
		table, err := r.end(t)
		if err != nil || table.Len() != 10 {
			t.Fatalf("%d rows, error %v", rows(table), err)
		}
		for i, want := range []string{
			"timeout: no complete answer within 1s; 0 events with tokens had come",
			"timeout: no complete answer within 1s; 0 events with tokens had come",
			"timeout: no complete answer within 1s; 0 events with tokens had come",
			"timeout: no complete answer within 1s; 0 events with tokens had come",
			"timeout: no complete answer within 1s; 1 events with tokens had come",
			"timeout: no complete answer within 1s; 1 events with tokens had come",
			"http_error: status 503: busy",
			"http_error: status 503: no message",
			"ok: ",
			"ok: ",
		} {
			o := table.Row(i)
			if got := o.Outcome + ": " + o.Error; got != want {
				t.Errorf("request %d: got %q, want %q", i, got, want)
			}
			if i < 3 && o.Status != sample.Absent || i == 4 && o.FirstToken == sample.Absent || o.Failed() && !math.IsNaN(o.E2E) {
				t.Errorf("request %d: %+v", i, o)
			}
		}
	})
}

// A request that is not yet written when its time is up, since the server
// does not read it, is one that timed out.
func TestServersThatDoNotRead(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			if _, _, ok := c.askHead(); ok {
				c.wait(nil)
			}
		})
		c := at(s.url, 2)
		large(&c, 8<<20)
		c.Timeout = time.Second
		table := measure(t, k, c)
		for i := range 2 {
			if o := table.Row(i); o.Outcome != sample.Timeout || o.Status != sample.Absent || o.Sent == sample.Absent {
				t.Errorf("%+v", o)
			}
		}
	})
}

// inFlight is what request i has got when a point ends before its time.
func inFlight(i int) string {
	switch i {
	case 0:
		return whole("a")
	case 1: // begun
		return inChunks + piece(load.Stream(load.Text("a"), load.Text("b")))
	case 2: // all but the end
		return inChunks + piece(load.Stream(load.Text("a"), stop))
	case 3: // refused
		return "HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nbusy"
	}
	return ""
}

// holding is a point of 100 requests of which five have been sent, at the
// moment when one has its answer and the others have what inFlight says.
func holding(ctx context.Context, t *testing.T, k kind, change func(c *load.Config)) *running {
	refused, asked := make(chan struct{}), make(chan struct{})
	s := serve(t, func(c *conn) {
		for {
			i, _, ok := c.ask()
			if !ok {
				return
			}
			c.write(inFlight(i))
			switch i {
			case 3:
				c.settle()
				close(refused)
			case 4:
				close(asked)
			}
		}
	})
	c := at(s.url, 100, 0, 0, 0, 0, 0, time.Hour)
	c.Timeout = 2 * time.Hour
	change(&c)
	r := start(ctx, t, k, c)
	await(t, "the answer of the first", r.when(load.Done, 0))
	await(t, "a token of the second", r.when(load.First, 1))
	await(t, "a token of the third", r.when(load.First, 2))
	await(t, "the fourth to be refused", refused)
	await(t, "the fifth", asked)
	return r
}

func TestCancelCutsOff(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		r := holding(ctx, t, k, func(*load.Config) {})
		cancel(errKey)
		table, err := r.end(t)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errKey) || !strings.Contains(err.Error(), "stopped when 1 of 100 requests had ended") {
			t.Errorf("error %v", err)
		}
		if table.Len() != 1 || table.Failed() != 0 || table.Meta.Facts["sent"] != 1 || table.Meta.Facts["planned"] != 100 {
			t.Errorf("%d rows, %q, facts %v", table.Len(), table.Error, table.Meta.Facts)
		}
		var told []string
		for _, e := range r.log {
			told = append(told, fmt.Sprint(e.Index, " ", e.Kind))
		}
		slices.Sort(told)
		if want := []string{"0 done", "0 first", "0 sent", "1 first", "1 sent", "2 first", "2 sent", "3 sent", "4 sent"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// A server that ends takes what it was answering with it.
func TestAbortFailsWhatIsInFlight(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		died := errors.New("decode-1 died (exit status 3)\n  log: ends here")
		abort := make(chan struct{})
		r := holding(t.Context(), t, k, func(c *load.Config) {
			c.Abort, c.AbortErr = abort, func() error { return died }
		})
		close(abort)
		table, err := r.end(t)
		var aborted *load.Aborted
		if !errors.As(err, &aborted) || !errors.Is(err, died) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the server ended when 5 of 100 requests had been sent") {
			t.Errorf("error %v", err)
		}
		if table.Len() != 5 {
			t.Fatalf("%d rows", table.Len())
		}
		for i, want := range []string{
			"ok: ",
			"truncated: the connection broke after 2 events with tokens, before a finish_reason: the server ended: decode-1 died (exit status 3)",
			"stream_error: the connection broke after the finish_reason, before the end of the stream: the server ended: decode-1 died (exit status 3)",
			"http_error: status 503: busy",
			"connect_error: the server ended before it answered: decode-1 died (exit status 3)",
		} {
			if k.name == netHTTP && i == 3 && table.Outcome[i] == sample.ConnectError {
				continue // what has been read has not been handed to the request yet
			}
			if got := table.Outcome[i] + ": " + table.Error[i]; got != want {
				t.Errorf("row %d says %q, want %q", i, got, want)
			}
		}
		if f := table.Meta.Facts; f["sent"] != 5 || f["planned"] != 100 || f["failed"] != 4 {
			t.Errorf("facts %v", f)
		}
		select {
		case <-r.when(load.Done, 4):
		default:
			t.Error("the last failure was not told")
		}
	})
}

// An end that comes before anything was sent leaves nothing, and one that comes
// when all has been answered changes nothing.
func TestEndsAtTheEdges(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, always(whole("a")))
		c := at(s.url, 2)
		c.Abort = make(chan struct{})
		if table := measure(t, k, c); table.Failed() > 0 {
			t.Errorf("%q", table.Error)
		}
		later := at(s.url, 2, time.Hour)
		gone := make(chan struct{})
		close(gone)
		later.Abort = gone
		var aborted *load.Aborted
		if table, err := load.Run(t.Context(), later, k.make(), nil); !errors.As(err, &aborted) || rows(table) != 0 || !strings.Contains(err.Error(), "the server ended") {
			t.Errorf("%d rows, error %v", rows(table), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if table, err := load.Run(ctx, at(s.url, 2, time.Hour), k.make(), nil); !errors.Is(err, context.Canceled) || rows(table) != 0 {
			t.Errorf("%d rows, error %v", rows(table), err)
		}
		if table := measure(t, k, at(s.url, 0)); table.Len() != 0 {
			t.Errorf("%d rows", table.Len())
		}
	})
}

// An end is not held up by connections that do not come about, by requests that
// are not read, or by requests that wait for a slot.
func TestEndsAreNotHeldUp(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		asked := make(chan struct{})
		s := serve(t, func(c *conn) {
			if i, _, ok := c.askHead(); ok && i == 0 {
				close(asked)
			}
			c.wait(nil)
		})
		c := at(s.url, 5)
		c.MaxConcurrency = 1
		large(&c, 5<<20)
		r := start(ctx, t, k, c)
		await(t, "the first request", asked)
		cancel()
		if table, err := r.end(t); !errors.Is(err, context.Canceled) || table.Len() != 0 {
			t.Errorf("%d rows, error %v", rows(table), err)
		}
		if len(r.log) != 1 || r.log[0].Kind != load.Sent || r.log[0].Index != 0 {
			t.Errorf("told %v", r.log)
		}
	})
}
