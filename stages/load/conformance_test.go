package load_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vbp/stages/load"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// The conformance suite: what every transport does alike, over real sockets,
// against a server that does exactly what a test tells it to. Order is made by
// channels and by what the server sees, never by sleeping.

// kind is a transport under test.
type kind struct {
	name string
	make func() load.Transport
}

const netHTTP, epoll = "net/http", "epoll"

// over runs a test with each transport that this system has.
func over(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// at is n requests of a server, due at the instants told, the last one for all
// that are left; none: at once.
func at(url string, n int, due ...time.Duration) load.Config {
	c := load.Point(n)
	c.URL, c.Timeout = url, time.Minute
	for i := range c.Arrivals {
		c.Arrivals[i] = 0
		if len(due) > 0 {
			c.Arrivals[i] = due[min(i, len(due)-1)]
		}
	}
	return c
}

// large makes the prompt of each of n requests some bytes long.
func large(c *load.Config, size int) {
	list := c.Prompts.(workload.List)
	for i := range list {
		text := make([]byte, size)
		for j := range text {
			text[j] = 'a' + byte((j*7+i)%26)
		}
		list[i].Text = string(text)
	}
}

// measure runs a point to its end, which must be a good one.
func measure(t *testing.T, k kind, c load.Config) *sample.Table {
	t.Helper()
	table, err := load.Run(t.Context(), c, k.make(), nil)
	if err != nil || table.Len() != len(c.Arrivals) {
		t.Fatalf("%d rows for %d requests, error %v", rows(table), len(c.Arrivals), err)
	}
	return table
}

func rows(t *sample.Table) int {
	if t == nil {
		return -1
	}
	return t.Len()
}

// running is a point under way, with what has been told of it.
type running struct {
	table *sample.Table
	err   error
	ended chan struct{}

	mu   sync.Mutex
	told map[moment]chan struct{} // closed once it has been
	log  []load.Event
}

// moment is something that is told of a request.
type moment struct {
	kind  load.Kind
	index int
}

// start runs a point in the background.
func start(ctx context.Context, t *testing.T, k kind, c load.Config) *running {
	r := &running{ended: make(chan struct{}), told: map[moment]chan struct{}{}}
	go func() {
		defer close(r.ended)
		r.table, r.err = load.Run(ctx, c, k.make(), func(e load.Event) {
			r.mu.Lock()
			r.log = append(r.log, e)
			r.mu.Unlock()
			close(r.when(e.Kind, e.Index))
		})
	}()
	t.Cleanup(func() { <-r.ended })
	return r
}

// when is closed once something was told of a request.
func (r *running) when(kind load.Kind, index int) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := moment{kind, index}
	if r.told[m] == nil {
		r.told[m] = make(chan struct{})
	}
	return r.told[m]
}

// await waits for what must happen.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("still waiting for %s", what)
	}
}

// end waits for the end of the point.
func (r *running) end(t *testing.T) (*sample.Table, error) {
	t.Helper()
	await(t, "the end of the point", r.ended)
	return r.table, r.err
}

// fence is passed by whoever sends or receives on a side of the suite: the race
// detector does not see that what the event loop sends comes before what the
// server does then, and the other way round.
var fence atomic.Int64

// fenced is a transport whose runs pass the fence.
type fenced struct{ load.Transport }

func (f fenced) Run(ctx context.Context, plan load.Plan, rec load.Recorder) (load.Stats, error) {
	fence.Add(1)
	defer fence.Add(1)
	return f.Transport.Run(ctx, plan, rec)
}

// spy is a transport that keeps the plan it was given, and the start of its run,
// which is the origin of all instants. The server may ask for them.
type spy struct {
	load.Transport
	kept  load.Plan
	start atomic.Pointer[time.Time]
}

func (s *spy) plan() *load.Plan { return &s.kept }

func (s *spy) Run(ctx context.Context, plan load.Plan, rec load.Recorder) (load.Stats, error) {
	s.kept = plan
	begin := plan.Begin
	plan.Begin = func() time.Time {
		start := begin()
		s.start.Store(&start)
		return start
	}
	return s.Transport.Run(ctx, plan, rec)
}

// since is the instant at which this is called, on a plan's clock.
func (s *spy) since() int64 { return int64(time.Since(*s.start.Load())) }

// Answers in parts.
const (
	headSSE  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	inChunks = headSSE + "Transfer-Encoding: chunked\r\n\r\n"
	untilEnd = headSSE + "Connection: close\r\n\r\n"

	stop = load.Stop
	used = load.Used
	done = load.End
)

// whole is a complete answer after which the connection is kept.
func whole(tokens ...string) string {
	return inChunks + load.Chunked(body(tokens...), 1<<20)
}

// body is a complete answer as events.
func body(tokens ...string) string {
	var events []string
	for _, s := range tokens {
		events = append(events, load.Text(s))
	}
	return load.Stream(append(events, stop, used, done)...)
}

// piece is some of a body as a chunk.
func piece(s string) string {
	c := load.Chunked(s, 1<<20)
	return c[:len(c)-len("0\r\n\r\n")]
}

func TestRequestsAsTheServerSeesThem(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		var mu sync.Mutex
		got := map[int]string{}
		s := serve(t, func(c *conn) {
			for {
				i, r, ok := c.ask()
				if !ok {
					return
				}
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				for name, want := range map[string]string{
					"X-Request-Id": load.RequestID("p", i), "Authorization": "Bearer k", "Accept": "text/event-stream",
					"Content-Type": "application/json", "Accept-Encoding": "", "Connection": "", "Host": "",
				} {
					if r.Header.Get(name) != want {
						t.Errorf("%s is %q", name, r.Header.Get(name))
					}
				}
				if _, sent := r.Header["Idempotency-Key"]; sent || r.Host != c.LocalAddr().String() || r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" || r.ContentLength != int64(len(b)) {
					t.Errorf("%+v", r)
				}
				mu.Lock()
				got[i] += string(b)
				mu.Unlock()
				c.write(whole("x"))
			}
		})
		c := at(s.url, 40)
		c.URL, c.API, c.Headers = s.url+"/v1", load.Chat, map[string]string{"authorization": "Bearer k"}
		c.Body = map[string]any{"temperature": 0.5}
		c.MaxConcurrency = 4
		plan := &spy{Transport: k.make()}
		table, err := load.Run(t.Context(), c, plan, nil)
		if err != nil || table.Failed() != 0 {
			t.Fatalf("error %v, %q", err, table.Error)
		}
		for i := range 40 {
			if want := string(plan.plan().Request(i).Body); got[i] != want {
				t.Errorf("request %d has the body %q, want %q", i, got[i], want)
			}
			if table.ID[i] != load.RequestID("p", i) {
				t.Errorf("row %d is called %s", i, table.ID[i])
			}
		}
		if len(got) != 40 || table.Meta.Extra["client"] != plan.Protocol() {
			t.Errorf("%d requests, by %s", len(got), table.Meta.Extra["client"])
		}
	})
}

func TestAnotherHost(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		s := serve(t, func(c *conn) {
			if _, r, ok := c.ask(); ok {
				if r.Host != "model.example" || len(r.Header["Host"]) > 0 {
					t.Errorf("host %q, %v", r.Host, r.Header)
				}
				c.write(whole("x"))
			}
		})
		c := at(s.url, 1)
		c.Headers = map[string]string{"Host": "model.example"}
		if table := measure(t, k, c); table.Failed() > 0 {
			t.Error(table.Error)
		}
	})
}

// Instants are those at which the server wrote, in its order.
func TestInstantsAreTheServers(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		plan := &spy{Transport: k.make()}
		var before, after [5]int64 // when the server wrote, by part
		first, ended := make(chan struct{}), make(chan struct{})
		s := serve(t, func(c *conn) {
			defer close(ended)
			if _, _, ok := c.ask(); !ok {
				return
			}
			for i, part := range []string{
				inChunks, piece(load.Stream(load.Delta(`"role":"assistant"`))), piece(load.Stream(load.Text("a"))),
				piece(load.Stream(load.Text("b"))), load.Chunked(load.Stream(load.Text("c"), stop, done), 1<<20),
			} {
				before[i] = plan.since()
				c.write(part)
				c.settle()
				if i == 2 {
					<-first
				}
				after[i] = plan.since()
			}
		})
		c := at(s.url, 1)
		table, err := load.Run(t.Context(), c, plan, func(e load.Event) {
			if e.Kind == load.First {
				close(first)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		<-ended
		o := table.Row(0)
		if o.Outcome != sample.OK || o.Events != 3 || len(o.Gaps) != 2 {
			t.Fatalf("%+v", o)
		}
		if !(0 <= o.Sent && o.Sent < before[0] && before[1] < o.FirstEvent && o.FirstEvent < o.FirstToken && before[2] < o.FirstToken && o.FirstToken < after[2] && before[4] < o.LastToken) {
			t.Errorf("sent at %d, first event %d, first token %d, last %d; the server wrote at %d, was done at %d", o.Sent, o.FirstEvent, o.FirstToken, o.LastToken, before, after)
		}
		// The second token came after the client had told of the first.
		if second := o.FirstToken + int64(o.Gaps[0])*1000; second < before[3]-1000 || second > o.LastToken+1000 {
			t.Errorf("second token at %d, the server wrote it at %d", second, before[3])
		}
	})
}

var errKey = errors.New("somebody pressed a key")

// listen opens a port of this machine.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %v", address, err)
	}
	return l
}
