package load

import (
	"net"
	"sync"
)

// conns counts the connections that are open.
type conns struct {
	mu         sync.Mutex
	open, most int
}

// count has c counted until it is closed.
func (n *conns) count(c net.Conn) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open++
	n.most = max(n.most, n.open)
	return &countedConn{Conn: c, of: n}
}

// mostOpen is how many were open at a time, at most.
func (n *conns) mostOpen() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most
}

type countedConn struct {
	net.Conn
	of   *conns
	once sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		c.of.open--
	})
	return c.Conn.Close()
}
