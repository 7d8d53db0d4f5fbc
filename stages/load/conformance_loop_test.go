//go:build linux && (amd64 || arm64)

package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/load/loop"
	"vbp/stages/sample"
)

// open names the sockets, pollers, timers and files that this process has open.
func open(t *testing.T) []string {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		if to, err := os.Readlink("/proc/self/fd/" + name.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return out
}

func threads(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// After a run, however it ended, nothing of it is left: no file, no goroutine,
// no growing number of threads, and GOMAXPROCS as it was.
func TestNothingIsLeft(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		asked := make(chan struct{}, 100)
		s := serve(t, func(c *conn) {
			for {
				i, _, ok := c.ask()
				if !ok {
					return
				}
				switch i % 5 {
				case 0: // kept
					c.write(whole("a"))
				case 1: // left open
					c.write(inChunks + piece(body("a")))
				case 2:
					c.reset()
					return
				case 3: // never answered
					asked <- struct{}{}
				case 4:
					c.write("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nno")
				}
			}
		})
		run := func(end string) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := at(s.url, 20)
			c.Timeout = time.Minute
			if end == "time out" {
				c.Timeout = 50 * time.Millisecond
			}
			abort := make(chan struct{})
			c.Abort = abort
			r := start(ctx, t, k, c)
			for range 4 {
				<-asked
			}
			switch end {
			case "cancel":
				cancel()
			case "abort":
				close(abort)
			}
			r.end(t)
		}
		ends := []string{"cancel", "abort", "time out"}
		for _, end := range ends { // whatever Go keeps for later is there afterwards
			run(end)
		}
		settled := func() bool { // the server sees its connections end a little later
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.conns) == 0
		}
		for !settled() {
			runtime.Gosched()
		}
		files, goroutines, workers, procs := open(t), runtime.NumGoroutine(), threads(t), runtime.GOMAXPROCS(0)
		for range 5 {
			for _, end := range ends {
				run(end)
			}
		}
		for !settled() {
			runtime.Gosched()
		}
		if got := open(t); !slices.Equal(got, files) {
			t.Errorf("open before: %q\nafterwards: %q", files, got)
		}
		// Those that have been waited for may not be off the list yet.
		for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			b := make([]byte, 1<<20)
			t.Errorf("%d goroutines, %d before\n%s", n, goroutines, b[:runtime.Stack(b, true)])
		}
		if n := threads(t); n > workers+8 {
			t.Errorf("%d threads after 15 runs, %d before", n, workers)
		}
		if n := runtime.GOMAXPROCS(0); n != procs {
			t.Errorf("GOMAXPROCS %d, before %d", n, procs)
		}
	})
}

// A connection that does not come about, since the server's queue is full, is
// waited for until the request's time is up.
func TestServersThatDoNotAccept(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		address := addrPort(name).String()
		for full := false; !full; { // fill the queue
			c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
			if full = err != nil; !full {
				defer c.Close()
			}
		}
		c := at("http://"+address, 3)
		c.Timeout = 300 * time.Millisecond
		table := measure(t, k, c)
		for i := range 3 {
			if o := table.Row(i); o.Outcome != sample.Timeout || o.Status != sample.Absent || o.Sent == sample.Absent || !strings.Contains(o.Error, "0 events") {
				t.Errorf("%+v", o)
			}
		}
		// Nor does such a connection hold up the end.
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if table, err := load.Run(ctx, at("http://"+address, 3), k.make(), nil); !errors.Is(err, context.DeadlineExceeded) || rows(table) != 0 {
			t.Errorf("%d rows, error %v", rows(table), err)
		}
	})
}

// nameServer has this process resolve names by answers of its own.
func nameServer(t *testing.T, of map[string][]netip.Addr) {
	t.Helper()
	before := net.DefaultResolver
	var serving sync.WaitGroup
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe() // no packets: a length stands before each message
		serving.Go(func() {
			defer there.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(there, size[:]); err != nil {
					return
				}
				q := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := io.ReadFull(there, q); err != nil {
					return
				}
				a := resolve(q, of)
				if _, err := there.Write(append([]byte{byte(len(a) >> 8), byte(len(a))}, a...)); err != nil {
					return
				}
			}
		})
		return here, nil
	}}
	t.Cleanup(func() { net.DefaultResolver = before; serving.Wait() })
}

// resolve answers one question (RFC 1035, section 4) for addresses.
func resolve(q []byte, of map[string][]netip.Addr) []byte {
	name, end := "", 12
	for q[end] != 0 {
		name += string(q[end+1:end+1+int(q[end])]) + "."
		end += 1 + int(q[end])
	}
	end++
	kind := q[end+1] // 1: A, 28: AAAA
	a := slices.Clone(q[:end+4])
	a[2], a[3] = 0x81, 0x80
	copy(a[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	for _, address := range of[name] {
		if b := address.AsSlice(); address.Is4() == (kind == 1) && (kind == 1 || kind == 28) {
			a = append(a, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, byte(len(b)))
			a = append(a, b...)
			a[7]++
		}
	}
	if of[name] == nil {
		a[3] |= 3 // no such name
	}
	return a
}

// Of a name's addresses all are tried, and whichever answers will do.
func TestNamesWithSeveralAddresses(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		here := netip.MustParseAddr("127.0.0.1")
		nameServer(t, map[string][]netip.Addr{
			"first.test.": {here, netip.MustParseAddr("127.0.0.3")},
			"last.test.":  {netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.2"), here},
			"six.test.":   {netip.MustParseAddr("::1"), here},
			"none.test.":  {netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.2")},
		})
		s := serve(t, func(c *conn) {
			for {
				_, r, ok := c.ask()
				if !ok {
					return
				}
				if !strings.HasSuffix(r.Host, fmt.Sprintf(".test:%d", c.LocalAddr().(*net.TCPAddr).Port)) {
					t.Errorf("host %q", r.Host)
				}
				c.write(whole("a"))
			}
		})
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
		for _, name := range []string{"first.test", "last.test", "six.test"} {
			c := at("http://"+name+":"+port, 6)
			c.MaxConcurrency = 2
			if table := measure(t, k, c); table.Failed() > 0 {
				t.Errorf("%s: %q", name, table.Error)
			}
		}
		table := measure(t, k, at("http://none.test:"+port, 3))
		for i := range 3 {
			if o := table.Row(i); o.Outcome != sample.ConnectError || !strings.Contains(o.Error, "refused") {
				t.Errorf("%+v", o)
			}
		}
	})
}

// A name that has no address fails a point before it begins, or each request.
func TestNamesThatAreNotKnown(t *testing.T) {
	over(t, func(t *testing.T, k kind) {
		nameServer(t, map[string][]netip.Addr{})
		table, err := load.Run(t.Context(), at("http://nobody.test:1", 2), k.make(), nil)
		switch {
		case err != nil && (rows(table) != 0 || !strings.Contains(err.Error(), "nobody.test")):
			t.Errorf("%d rows, error %v", rows(table), err)
		case err == nil && (table.Failed() != 2 || !strings.Contains(table.Error[0], "nobody.test")):
			t.Errorf("%q", table.Error)
		}
	})
}

// Several loops do what one does.
func TestSeveralLoops(t *testing.T) {
	var most, flying atomic.Int64
	var all atomic.Pointer[sync.WaitGroup] // the first 30 requests of a run
	together := func() {
		all.Store(&sync.WaitGroup{})
		all.Load().Add(30)
	}
	s := serve(t, func(c *conn) {
		for {
			i, _, ok := c.ask()
			if !ok {
				return
			}
			most.Store(max(most.Load(), flying.Add(1)))
			if i < 30 {
				all.Load().Done()
				all.Load().Wait()
			}
			flying.Add(-1)
			c.write(whole("a", "b"))
		}
	})
	const n = 200
	c := at(s.url, n)
	for i := 30; i < n; i++ {
		c.Arrivals[i] = time.Duration(i) * time.Millisecond
	}
	for _, loops := range []int{1, 3, 7} {
		together()
		table := measure(t, kind{epoll, func() load.Transport { return newLoop(loop.Options{Loops: loops}) }}, c)
		if f := table.Meta.Facts; table.Failed() > 0 || table.Len() != n || f["streams_max"] < 30 || f["sent"] != n || f["client_busy"] < 0 || f["client_busy"] > 1 {
			t.Errorf("%d loops: %d failed, facts %v", loops, table.Failed(), f)
		}
		for i := range n {
			if o := table.Row(i); o.Sent < o.Scheduled || o.Events != 2 {
				t.Errorf("%d loops: %+v", loops, o)
			}
		}
	}
	// A limit is that of all.
	most.Store(0)
	together()
	c.MaxConcurrency = 30
	measure(t, kind{epoll, func() load.Transport { return newLoop(loop.Options{Loops: 3}) }}, c)
	if most.Load() > 30 {
		t.Errorf("%d in flight", most.Load())
	}
	// More loops than requests, and an end before all was sent.
	measure(t, kind{epoll, func() load.Transport { return newLoop(loop.Options{Loops: 5}) }}, at(s.url, 0))
	ctx, cancel := context.WithCancel(t.Context())
	r := start(ctx, t, kind{epoll, func() load.Transport { return newLoop(loop.Options{Loops: 3}) }}, at(s.url, 9, time.Hour))
	cancel()
	if table, err := r.end(t); !errors.Is(err, context.Canceled) || rows(table) != 0 {
		t.Errorf("%d rows, error %v", rows(table), err)
	}
}

// Source addresses are used in turn.
func TestSourceAddresses(t *testing.T) {
	var mu sync.Mutex
	from := map[string]int{}
	s := serve(t, func(c *conn) {
		if _, _, ok := c.ask(); ok {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			mu.Lock()
			from[host]++
			mu.Unlock()
			c.write(headSSE + "Connection: close\r\n\r\n" + body("a"))
		}
	})
	c := at(s.url, 30)
	with := func(addresses ...string) kind {
		var o loop.Options
		for _, a := range addresses {
			o.Sources = append(o.Sources, netip.MustParseAddr(a))
		}
		return kind{epoll, func() load.Transport { return newLoop(o) }}
	}
	if table := measure(t, with("127.0.0.2"), c); table.Failed() > 0 || from["127.0.0.2"] != 30 || len(from) != 1 {
		t.Errorf("%q, from %v", table.Error, from)
	}
	clear(from)
	if table := measure(t, with("127.0.0.2", "127.0.0.4", "127.0.0.6"), c); table.Failed() > 0 || from["127.0.0.2"] != 10 || from["127.0.0.4"] != 10 || from["127.0.0.6"] != 10 {
		t.Errorf("%q, from %v", table.Error, from)
	}
	for source, want := range map[string]string{
		"192.0.2.1": "source address 192.0.2.1: cannot assign requested address: it must be an address of this machine",
		"::1":       "source address ::1 is of another kind",
	} {
		table, err := load.Run(t.Context(), c, with("127.0.0.2", source).make(), nil)
		if err == nil || !strings.Contains(err.Error(), want) || rows(table) > 0 {
			t.Errorf("%s: %d rows, error %v", source, rows(table), err)
		}
	}
}

func TestLoopsSpeakPlainHTTPOnly(t *testing.T) {
	table, err := load.Run(t.Context(), at("https://127.0.0.1:1", 1), newLoop(loop.Options{}), nil)
	if err == nil || rows(table) > 0 || !strings.Contains(err.Error(), "net/http") {
		t.Errorf("%d rows, error %v", rows(table), err)
	}
}

// Bytes are known to have waited from when the kernel received them. It tells
// that from some ms after it was first asked.
func TestReceiveTimes(t *testing.T) {
	s := answersOnce(t, func(c *conn) { c.write(untilEnd + body("a")) })
	var f map[string]float64
	for range 1000 {
		table := measure(t, kind{epoll, func() load.Transport { return newLoop(loop.Options{}) }}, at(s.url, 20))
		if f = table.Meta.Facts; table.Meta.Extra["transport"] != "" {
			t.Fatalf("extra %q", table.Meta.Extra)
		}
		if _, ok := f["read_lag_p99_us"]; ok {
			break
		}
	}
	if _, ok := f["read_lag_p99_us"]; !ok || f["read_lag_p50_us"] > f["read_lag_p99_us"] {
		t.Errorf("facts %v", f)
	}
}
