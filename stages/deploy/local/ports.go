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

// reserved are the ports that deployments of this process hold, each with its
// lock against those of others.
var reserved = struct {
	sync.Mutex
	ports map[int]*portLock
}{ports: map[int]*portLock{}}

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
// the lowest) on which nothing listens and that no other vbp has reserved, and
// returns the first of them.
func pickPorts(port, n int) (int, error) {
	reserved.Lock()
	defer reserved.Unlock()
	for range highestPort - lowestPort {
		port = fits(port, n)
		taken := 0
		for taken < n {
			ok, err := take(port + taken)
			if err != nil {
				giveBack(port, taken)
				return 0, err
			}
			if !ok {
				break
			}
			taken++
		}
		if taken == n {
			return port, nil
		}
		giveBack(port, taken)
		port += taken + 1
	}
	return 0, fmt.Errorf("no %d free ports in a row between %d and %d", n, lowestPort, highestPort)
}

// take reserves one port, if it is free. reserved is locked.
func take(port int) (bool, error) {
	if reserved.ports[port] != nil {
		return false, nil
	}
	l, err := lockPort(port)
	if l == nil || err != nil {
		return false, err
	}
	if bindable(port) != nil {
		l.release()
		return false, nil
	}
	reserved.ports[port] = l
	return true, nil
}

// giveBack gives back n ports in a row. reserved is locked.
func giveBack(port, n int) {
	for p := port; p < port+n; p++ {
		if l := reserved.ports[p]; l != nil {
			l.release()
			delete(reserved.ports, p)
		}
	}
}

// claimPort reserves the fixed port, or says who has it.
func claimPort(port int) error {
	reserved.Lock()
	defer reserved.Unlock()
	if reserved.ports[port] != nil {
		return fmt.Errorf("port %d is already taken by another deployment of this run; give each mode a port of its own, or none", port)
	}
	l, err := lockPort(port)
	switch {
	case err != nil:
		return err
	case l == nil:
		return fmt.Errorf("port %d is already taken by a deployment of another vbp; wait for it to end, or choose another port (0 picks a free one)", port)
	}
	switch err := bindable(port); {
	case err == nil:
		reserved.ports[port] = l
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		who := ""
		if pid, command := listener(port); pid != 0 {
			who = fmt.Sprintf(" by pid %d (%s)", pid, command)
		}
		l.release()
		return fmt.Errorf("port %d is already taken%s; stop that, or choose another port (0 picks a free one)", port, who)
	default:
		l.release()
		return fmt.Errorf("port %d cannot be used: %w; choose another port (0 picks a free one)", port, err)
	}
}

// releasePorts gives back what pickPorts and claimPort reserved.
func releasePorts(ports []int) {
	reserved.Lock()
	defer reserved.Unlock()
	for _, p := range ports {
		giveBack(p, 1)
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
