package loop

import (
	"net/netip"
	"testing"
)

func TestSourcesGivenAreUsedInTurn(t *testing.T) {
	given := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	s := sources{given: given}
	seen := map[netip.Addr]int{}
	for range 10 {
		from, bound := s.pick(0)
		if !bound {
			t.Fatal("none was picked")
		}
		seen[from]++
	}
	if seen[given[0]] != 5 || seen[given[1]] != 5 {
		t.Errorf("%v", seen)
	}
	if !s.exhausted(0) || s.exhausted(1) {
		t.Error("each is to be tried once")
	}
}

// Towards a server of this machine, its other addresses take over once many
// connections are open or the ports of one are used up; elsewhere there are no
// others.
func TestSourcesOfThisMachine(t *testing.T) {
	s := sources{loopback: true}
	if _, bound := s.pick(0); bound {
		t.Error("the system's choice would have done")
	}
	second := netip.MustParseAddr("127.0.0.2")
	if from, bound := s.pick(easyPorts); !bound || from != second {
		t.Errorf("%v with many open", from)
	}
	if !s.exhausted(0) {
		t.Error("there are others to try")
	}
	if from, bound := s.pick(0); !bound || from != second {
		t.Errorf("%v after the first was used up", from)
	}
	if s.exhausted(mostLoopback - 1) {
		t.Error("all have been tried")
	}
	var far sources
	if _, bound := far.pick(1 << 20); bound || far.exhausted(0) {
		t.Error("a machine elsewhere knows no other address of this one")
	}
}
