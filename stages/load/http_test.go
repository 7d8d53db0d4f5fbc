package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vbp/stages/sample"
)

// rawServer answers each request on a real socket with exact bytes and closes
// the connection; dribble writes them one by one.
func rawServer(t *testing.T, dribble bool, answer func(r *http.Request) string) string {
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
				b := []byte(answer(r))
				if !dribble {
					c.Write(b)
					return
				}
				for i := range b {
					if _, err := c.Write(b[i : i+1]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return "http://" + l.Addr().String()
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

func TestHTTPOutcomes(t *testing.T) {
	good := stream(text("a"), text("b"), stop, used, done)
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	for name, c := range map[string]struct {
		bytes  string
		want   string
		status int64
		says   string
	}{
		"chunked":             {ok + "Transfer-Encoding: chunked\r\n\r\n" + chunked(good, 50), sample.OK, 200, ""},
		"with a length":       {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(good), good), sample.OK, 200, ""},
		"until the end":       {ok + "Connection: close\r\n\r\n" + good, sample.OK, 200, ""},
		"HTTP/1.0":            {"HTTP/1.0 200 OK\r\n\r\n" + good, sample.OK, 200, ""},
		"chunks cut short":    {ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(stream(text("a"))), stream(text("a"))), sample.Truncated, 200, "unexpected EOF"},
		"length cut short":    {ok + "Content-Length: 9999\r\n\r\n" + stream(text("a"), stop), sample.StreamError, 200, "broke after the finish_reason"},
		"no finish":           {ok + "Connection: close\r\n\r\n" + stream(text("a")), sample.Truncated, 200, "after 1 events"},
		"error in the stream": {ok + "Connection: close\r\n\r\n" + stream(text("a"), `{"error":{"message":"out of memory"}}`, done), sample.StreamError, 200, "out of memory"},
		"500":                 {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 30\r\n\r\n" + `{"error":{"message":"engine"}}`, sample.HTTPError, 500, "status 500: engine"},
		"404 without a body":  {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", sample.HTTPError, 404, "status 404: no message"},
		"redirect":            {"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", sample.HTTPError, 307, "status 307"},
		"nothing":             {"", sample.ConnectError, sample.Absent, "EOF"},
		"not HTTP":            {"SSH-2.0-OpenSSH\r\n\r\n", sample.ConnectError, sample.Absent, "malformed HTTP"},
		"compressed":          {ok + "Content-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b\x08\x00", sample.Truncated, 200, "0 events"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, dribble := range []bool{false, true} {
				config := point(1)
				config.URL = rawServer(t, dribble, func(*http.Request) string { return c.bytes })
				table, err := Run(t.Context(), config, NewHTTP(), nil)
				if err != nil || table.Len() != 1 {
					t.Fatalf("%d rows, error %v", table.Len(), err)
				}
				o := table.Row(0)
				if o.Outcome != c.want || o.Status != c.status || !strings.Contains(o.Error, c.says) || (o.Error == "") != (c.want == sample.OK) {
					t.Errorf("dribble %v: %s, status %d, error %q", dribble, o.Outcome, o.Status, o.Error)
				}
				if o.Outcome == sample.OK && (o.Events != 2 || o.PromptTokens != 7 || o.OutputTokens != 5 || o.TTFT <= 0) {
					t.Errorf("dribble %v: %+v", dribble, o)
				}
				if o.Sent < o.Scheduled {
					t.Errorf("sent at %d, before its schedule %d", o.Sent, o.Scheduled)
				}
			}
		})
	}
}

// llama.cpp's server closes the connection after every stream without having
// said so. The next request may have been given that connection.
func TestServerThatClosesUnannounced(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n" +
		chunked(stream(text("a"), stop, used, done), 1<<20)
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.Copy(io.Discard, r.Body)
					io.WriteString(c, answer)
				}
			})
		}
	})
	defer conns.Wait()
	defer l.Close()
	c := point(400)
	c.URL = "http://" + l.Addr().String()
	for i := range c.Arrivals {
		c.Arrivals[i] = time.Duration(i) * 100 * time.Microsecond
	}
	table, err := Run(t.Context(), c, NewHTTP(), nil)
	if err != nil || table.Len() != 400 || table.Failed() != 0 {
		t.Fatalf("%d of %d rows failed, error %v: %q", table.Failed(), table.Len(), err, slices.Compact(slices.Sorted(slices.Values(table.Error))))
	}
	t.Logf("%v requests were sent again", table.Meta.Facts["resent"])
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := point(2)
	c.URL = "http://" + l.Addr().String()
	c.Arrivals = make([]time.Duration, 2)
	table, err := Run(t.Context(), c, NewHTTP(), nil)
	if err != nil || table.Len() != 2 {
		t.Fatalf("%d rows, error %v", table.Len(), err)
	}
	for i := range 2 {
		if o := table.Row(i); o.Outcome != sample.ConnectError || o.Sent == sample.Absent || !strings.Contains(o.Error, "refused") {
			t.Errorf("%+v", o)
		}
	}
	if f := table.Meta.Facts; f["connect_error"] != 2 || f["failed"] != 2 {
		t.Errorf("facts %v", f)
	}
}

func TestRequestsAsTheServerSeesThem(t *testing.T) {
	type seen struct {
		path, id, auth, accept, encoding, body string
	}
	var mu sync.Mutex
	got := map[string]seen{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		id := r.Header.Get("X-Request-Id")
		if _, sent := r.Header["Idempotency-Key"]; sent {
			t.Error("a header for net/http was sent")
		}
		got[id] = seen{r.URL.Path, id, r.Header.Get("Authorization"), r.Header.Get("Accept"), r.Header.Get("Accept-Encoding"), string(b)}
		mu.Unlock()
		send(w, delta(`"content":"x"`), stop, used, done)
	}))
	defer server.Close()
	c := point(40)
	c.URL, c.API, c.Headers = server.URL+"/v1", Chat, map[string]string{"authorization": "Bearer k"}
	c.Body = map[string]any{"temperature": 0.5}
	for i := range c.Arrivals {
		c.Arrivals[i] = time.Duration(i/4) * time.Millisecond // four at a time
	}
	table, err := Run(t.Context(), c, NewHTTP(), nil)
	if err != nil || table.Failed() != 0 {
		t.Fatalf("error %v, %q", err, table.Error)
	}
	if len(got) != 40 {
		t.Fatalf("%d different requests arrived", len(got))
	}
	for i := range 40 {
		id := RequestID("p", i)
		s := got[id]
		if table.ID[i] != id || s.path != "/v1/chat/completions" || s.auth != "Bearer k" || s.accept != "text/event-stream" || s.encoding != "" {
			t.Errorf("row %s: %+v", table.ID[i], s)
		}
		var body struct {
			Model       string
			Messages    []struct{ Content string }
			Temperature float64
			Stream      bool
		}
		if err := json.Unmarshal([]byte(s.body), &body); err != nil || body.Model != "m" || len(body.Messages) != 1 || body.Messages[0].Content != fmt.Sprint("prompt ", i) || body.Temperature != 0.5 || !body.Stream {
			t.Errorf("%s: error %v, body %s", id, err, s.body)
		}
	}
}

// BenchmarkLoadHTTP measures what the transport adds to a server of known
// timing in the same process: 100 requests a second for 3 s, first token after
// 20 ms, then 31 tokens every 10 ms.
func BenchmarkLoadHTTP(b *testing.B) {
	const first, gap, tokens = 20 * time.Millisecond, 10 * time.Millisecond, 32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		due := time.Now().Add(first)
		io.Copy(io.Discard, r.Body)
		for range tokens {
			time.Sleep(time.Until(due))
			send(w, text("a"))
			due = due.Add(gap)
		}
		send(w, stop, done)
	}))
	defer server.Close()
	c := point(300)
	c.URL = server.URL
	for i := range c.Arrivals {
		c.Arrivals[i] = time.Duration(i+1) * 10 * time.Millisecond
	}
	for b.Loop() {
		table, err := Run(b.Context(), c, NewHTTP(), nil)
		if err != nil || table.Failed() > 0 {
			b.Fatal(err, table.Error)
		}
		for _, name := range []string{"send_lag_p50_ms", "send_lag_p99_ms", "schedule_kept", "client_cpu_share"} {
			b.ReportMetric(table.Meta.Facts[name], name)
		}
		errors := make([]float64, table.Len())
		for i, s := range table.TTFT {
			errors[i] = (s - first.Seconds()) * 1e3
		}
		slices.Sort(errors)
		b.ReportMetric(percentile(errors, 0.5), "ttft_over_p50_ms")
		b.ReportMetric(percentile(errors, 0.99), "ttft_over_p99_ms")
	}
}
