//go:build linux

package local

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestPickPorts(t *testing.T) {
	var ports []int
	defer func() { releasePorts(ports) }()
	next := firstPort("a test")
	for i := range 50 {
		n := i%4 + 1
		first, err := pickPorts(next, n)
		if err != nil {
			t.Fatal(err)
		}
		for p := first; p < first+n; p++ {
			if p < lowestPort || p >= highestPort || slices.Contains(ports, p) {
				t.Errorf("port %d after %v", p, ports)
			}
			ports = append(ports, p)
		}
	}
	if claimPort(ports[0]) == nil {
		t.Error("a reserved port was claimed")
	}
	releasePorts(ports)
	if err := claimPort(ports[0]); err != nil {
		t.Error(err)
	}
	ports = ports[:1]
}

// A row of ports goes around what is taken in the middle of it, and around the
// end of the range.
func TestPickPortsInARow(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := pickPorts(25000, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer releasePorts([]int{a})
	b, err := pickPorts(a-2, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer releasePorts([]int{b, b + 1, b + 2, b + 3})
	if b <= a {
		t.Errorf("4 ports in a row from %d on begin at %d, over the reserved %d", a-2, b, a)
	}
	c, err := pickPorts(highestPort-2, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer releasePorts([]int{c, c + 1, c + 2, c + 3})
	if c >= highestPort-4 {
		t.Errorf("4 ports from the last two on begin at %d", c)
	}
}

// What a plan shows is where a start looks first.
func TestPlannedPortsAreTaken(t *testing.T) {
	ports := planned("results\x00simple")
	want := []int{ports(1), ports(3), ports(1)}
	next := firstPort("results\x00simple")
	for i, n := range []int{1, 3, 1} {
		got, err := pickPorts(next, n)
		if err != nil {
			t.Fatal(err)
		}
		for p := got; p < got+n; p++ {
			defer releasePorts([]int{p})
		}
		if next = got + n; got != want[i] {
			t.Skipf("port %d of the plan is taken on this machine", want[i])
		}
	}
	if other := planned("results\x00nixl")(1); other == want[0] {
		t.Errorf("two names look first at port %d", other)
	}
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

// TestPortLock holds that a port that another vbp has reserved is left to it,
// though nothing listens there yet: a descriptor of its own locks as another
// process does.
func TestPortLock(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	port, err := pickPorts(firstPort("port lock"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := lockPort(port + 1); l != nil || err != nil {
		t.Errorf("a reserved port is free for others: %v", err)
	}
	releasePorts([]int{port, port + 1})
	other, err := lockPort(port + 1)
	if err != nil || other == nil {
		t.Fatal(err)
	}
	if got, err := pickPorts(port, 2); err != nil || got == port || got == port+1 {
		t.Errorf("picked %d beside the other's %d, %v", got, port+1, err)
	} else {
		releasePorts([]int{got, got + 1})
	}
	if err := claimPort(port + 1); err == nil || !strings.Contains(err.Error(), "taken by a deployment of another vbp") {
		t.Errorf("claimed the other's port: %v", err)
	}
	other.release()
	if err := claimPort(port + 1); err != nil {
		t.Error(err)
	}
	releasePorts([]int{port + 1})
}
