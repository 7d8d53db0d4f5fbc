package local

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"sync"
	"syscall"

	"vbp/stages/deploy"
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

// row is a source of ports: the first of n in a row.
type row func(n int) int

// planned are the ports, one after the other, at which a deployment called
// seed looks first. Others look elsewhere, so that two that start at once
// hardly meet.
func planned(seed string) row {
	next := firstPort(seed)
	return func(n int) int {
		first := fits(next, n)
		next = first + n
		return first
	}
}

func firstPort(seed string) int {
	h := fnv.New32a()
	h.Write([]byte(seed))
	return lowestPort + int(h.Sum32()%(highestPort-lowestPort))
}

// fits is port, or the lowest one if n in a row would go over the highest.
func fits(port, n int) int {
	if port+n > highestPort {
		return lowestPort
	}
	return port
}

// pickPorts reserves the first n ports in a row from port on (and then from
// the lowest) on which nothing listens, and returns the first of them.
func pickPorts(port, n int) (int, error) {
	reserved.Lock()
	defer reserved.Unlock()
	for range highestPort - lowestPort {
		port = fits(port, n)
		free := 0
		for free < n && !reserved.ports[port+free] && bindable(port+free) == nil {
			free++
		}
		if free == n {
			for i := range n {
				reserved.ports[port+i] = true
			}
			return port, nil
		}
		port += free + 1
	}
	return 0, fmt.Errorf("no %d free ports in a row between %d and %d", n, lowestPort, highestPort)
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

// releasePorts gives back what pickPorts and claimPort reserved.
func releasePorts(ports []int) {
	reserved.Lock()
	defer reserved.Unlock()
	for _, p := range ports {
		delete(reserved.ports, p)
	}
}

// bindable tries whether port can be listened on.
func bindable(port int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort(deploy.Host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
