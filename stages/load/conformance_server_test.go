package load_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// server accepts connections and does on each what its script says.
type server struct {
	url  string
	over chan struct{} // closed at the end of the test

	mu    sync.Mutex
	conns map[*conn]bool // open
	total int            // ever
}

// conn is the server's side of a connection.
type conn struct {
	net.Conn
	number int // from 0, in order of their coming
	server *server
	in     *bufio.Reader
}

// serve starts a server on a port of 127.0.0.1. The connection is closed when
// the script returns.
func serve(t *testing.T, script func(c *conn)) *server {
	t.Helper()
	return serveOn(t, listen(t, "127.0.0.1:0"), script)
}

func serveOn(t *testing.T, l net.Listener, script func(c *conn)) *server {
	s := &server{url: "http://" + l.Addr().String(), over: make(chan struct{}), conns: map[*conn]bool{}}
	var working sync.WaitGroup
	working.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := &conn{Conn: nc, server: s, in: bufio.NewReaderSize(nc, 64<<10)}
			s.mu.Lock()
			c.number = s.total
			s.total++
			s.conns[c] = true
			s.mu.Unlock()
			working.Go(func() {
				script(c)
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		close(s.over)
		l.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		working.Wait()
	})
	return s
}

// always is the script that answers every request alike, and keeps the
// connection.
func always(answer string) func(c *conn) {
	return func(c *conn) {
		for {
			if _, _, ok := c.ask(); !ok {
				return
			}
			c.write(answer)
		}
	}
}

// connections is how many there were.
func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// ask reads the next request, with its body, and returns its number; false if
// there is none.
func (c *conn) ask() (i int, r *http.Request, ok bool) {
	i, r, ok = c.askHead()
	if !ok {
		return 0, nil, false
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return i, r, true
}

// askHead reads the next request without its body.
func (c *conn) askHead() (i int, r *http.Request, ok bool) {
	r, err := http.ReadRequest(c.in)
	fence.Add(1)
	if err != nil {
		return 0, nil, false
	}
	id := r.Header.Get("X-Request-Id")
	n, err := strconv.ParseInt(id[max(0, len(id)-8):], 16, 32) // see load.RequestID
	return int(n), r, err == nil
}

// write reports whether all of it was taken.
func (c *conn) write(s string) bool {
	fence.Add(1)
	_, err := io.WriteString(c, s)
	return err == nil
}

// dribble writes byte by byte.
func (c *conn) dribble(s string) {
	for i := range len(s) {
		if !c.write(s[i : i+1]) {
			return
		}
	}
}

// reset closes the connection as a process does that dies with bytes unread.
func (c *conn) reset() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// gone returns when the client has closed the connection.
func (c *conn) gone() { io.Copy(io.Discard, c.in) }

// wait returns when ch is closed, or the test is over.
func (c *conn) wait(ch <-chan struct{}) {
	select {
	case <-ch:
	case <-c.server.over:
	}
}
