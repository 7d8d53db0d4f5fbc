package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// Picked ports lie below every usual range of ephemeral ports (Linux begins
// at 32768), so that no outgoing connection can take one between its picking
// and the server's bind, and no poll of a server that does not listen yet can
// be connected to itself.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// reserved are the ports that deployments of this process hold. Another
// process is noticed by binding, and by the server's own failure to bind.
var reserved = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// pickPort reserves a port on which nothing listens.
func pickPort() (int, error) {
	reserved.Lock()
	defer reserved.Unlock()
	span := highestPort - lowestPort
	first := rand.IntN(span) // apart from other vbp processes that pick now
	for i := range span {
		port := lowestPort + (first+i)%span
		if !reserved.ports[port] && bindable(port) == nil {
			reserved.ports[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", lowestPort, highestPort)
}

// claimPort reserves the fixed port, or says who has it.
func claimPort(port int) error {
	reserved.Lock()
	defer reserved.Unlock()
	if reserved.ports[port] {
		return fmt.Errorf("port %d is already taken by another deployment of this run; give each mode a port of its own, or none", port)
	}
	switch err := bindable(port); {
	case errors.Is(err, syscall.EADDRINUSE):
		who := ""
		if pid, command := listener(port); pid != 0 {
			who = fmt.Sprintf(" by pid %d (%s)", pid, command)
		}
		return fmt.Errorf("port %d is already taken%s; stop that, or choose another port (0 picks a free one)", port, who)
	case err != nil:
		return fmt.Errorf("port %d cannot be used: %w; choose another port (0 picks a free one)", port, err)
	}
	reserved.ports[port] = true
	return nil
}

// releasePorts gives back what pickPort and claimPort reserved.
func releasePorts(ports []int) {
	reserved.Lock()
	defer reserved.Unlock()
	for _, p := range ports {
		delete(reserved.ports, p)
	}
}

// bindable tries whether port can be listened on.
func bindable(port int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
