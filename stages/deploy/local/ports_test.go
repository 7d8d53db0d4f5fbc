//go:build linux

package local

import (
	"net"
	"slices"
	"strconv"
	"testing"
)

func TestPickPort(t *testing.T) {
	var ports []int
	for range 50 {
		p, err := pickPort()
		if err != nil {
			t.Fatal(err)
		}
		if p < lowestPort || p >= highestPort || slices.Contains(ports, p) {
			t.Errorf("port %d after %v", p, ports)
		}
		ports = append(ports, p)
	}
	if claimPort(ports[0]) == nil {
		t.Error("a reserved port was claimed")
	}
	releasePorts(ports)
	if err := claimPort(ports[0]); err != nil {
		t.Error(err)
	}
	releasePorts(ports[:1])
}

// A server that listens on every address has the port of 127.0.0.1, too.
func TestClaimPortOfServerOnEveryAddress(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	err = claimPort(port)
	if err == nil {
		releasePorts([]int{port})
		t.Fatal("claimed")
	}
	contains(t, err.Error(), "port "+strconv.Itoa(port)+" is already taken by pid ")
}
