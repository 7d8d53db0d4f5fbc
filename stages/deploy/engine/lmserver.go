package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
)

// ServeLMCache is an LMCache server (`lmcache_server HOST PORT`) on ln until
// ctx ends: a store of objects by key in memory, in LMCache's own protocol.
// Simulated engines share KV through it as vLLM's instances do through
// LMCache's. It returns when all of its goroutines have ended and ln is
// closed; the end of ctx is no error.
func ServeLMCache(ctx context.Context, ln net.Listener, logTo io.Writer) error {
	s := &lmServer{log: log.New(logTo, "lmcache: ", log.LstdFlags|log.Lmicroseconds|log.Lmsgprefix), objects: map[string]lmObject{}, open: map[net.Conn]bool{}}
	s.log.Printf("listens on %s", ln.Addr())
	stop := context.AfterFunc(ctx, func() {
		ln.Close()
		s.closeAll()
	})
	var clients sync.WaitGroup
	var err error
	for {
		var conn net.Conn
		if conn, err = ln.Accept(); err != nil {
			break
		}
		if !s.opened(conn) {
			continue
		}
		clients.Go(func() {
			defer s.closed(conn)
			if err := s.serve(conn); err != nil && ctx.Err() == nil {
				s.log.Printf("%s: %v; the connection is closed", conn.RemoteAddr(), err)
			}
		})
	}
	stop()
	ln.Close()
	s.closeAll()
	clients.Wait()
	s.log.Printf("ends: %d objects, %d stored, %d found, %d asked for in vain", len(s.objects), s.stored, s.found, s.missed)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("LMCache server: accepting connections on %s: %w", ln.Addr(), err)
}

type lmServer struct {
	log *log.Logger

	mu                    sync.Mutex // guards what follows
	objects               map[string]lmObject
	stored, found, missed int64
	open                  map[net.Conn]bool
	ending                bool
}

// opened notes a connection; false, with it closed, if the server is ending.
func (s *lmServer) opened(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		conn.Close()
		return false
	}
	s.open[conn] = true
	return true
}

func (s *lmServer) closed(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.Close()
	delete(s.open, conn)
}

func (s *lmServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for conn := range s.open {
		conn.Close()
	}
}

// serve answers one client until it leaves.
func (s *lmServer) serve(conn net.Conn) error {
	for {
		r, err := readLMRequest(conn)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var answer []byte
		switch r.command {
		case lmPut:
			// Read piece by piece, so that a length alone allocates nothing.
			data, err := io.ReadAll(io.LimitReader(conn, int64(r.length)))
			if err != nil {
				return err
			}
			if len(data) < int(r.length) {
				return errors.New("it left in the middle of an object")
			}
			s.put(r.key, lmObject{r.format, r.dtype, r.shape, data})
			continue
		case lmGet:
			answer = lmAnswer(lmFail, lmObject{})
			if o, ok := s.get(r.key); ok {
				answer = lmAnswer(lmSuccess, o)
			}
		case lmExist:
			answer = lmAnswer(lmFail, lmObject{})
			if s.has(r.key) {
				answer = lmAnswer(lmSuccess, lmObject{})
			}
		case lmHealth:
			answer = lmAnswer(lmSuccess, lmObject{})
		default:
			return fmt.Errorf("command %d is not known", r.command)
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}

func (s *lmServer) put(key string, o lmObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = o
	s.stored++
}

func (s *lmServer) get(key string) (lmObject, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if ok {
		s.found++
	} else {
		s.missed++
	}
	return o, ok
}

func (s *lmServer) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[key]
	return ok
}
