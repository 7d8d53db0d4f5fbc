package pipeline

import (
	"fmt"
	"reflect"
	"testing"
)

// Of nodes that can have what they use, the earliest is next, whatever it
// uses; units come back in their order.
func TestClaims(t *testing.T) {
	g := &Graph{Units: map[string][]string{"gpu": {"0", "1", "2", "3"}}}
	for i, use := range []map[string]int{
		{"gpu": 2}, {"gpu": 3}, nil, {"gpu": 2, "host": 1}, {"host": 1}, {"gpu": 1},
	} {
		kind := Measurement
		if use == nil {
			kind = Pure
		}
		if err := g.Add(&Node{ID: fmt.Sprint(i), Kind: kind, Uses: use}); err != nil {
			t.Fatal(err)
		}
	}
	c := newClaims(g, 1)
	granted := make(map[int][]string)
	begun := func() []int {
		var order []int
		for {
			i, ok := c.next(g.Nodes)
			if !ok {
				return order
			}
			granted[i] = c.take(g.Nodes[i])["gpu"]
			order = append(order, i)
		}
	}
	want := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		c.enqueue(i, g.Nodes[i], 0)
	}
	want("at first", begun(), []int{0, 2, 3})
	want("units", granted, map[int][]string{0: {"0", "1"}, 2: nil, 3: {"2", "3"}})
	c.give(g.Nodes[3], map[string][]string{"gpu": {"2", "3"}})
	want("after 3", begun(), []int{4, 5})
	want("units", granted[5], []string{"2"})
	c.give(g.Nodes[0], map[string][]string{"gpu": {"0", "1"}})
	want("after 0", begun(), []int{1})
	want("units", granted[1], []string{"0", "1", "3"})
	want("left", c.drain(), []int(nil))
}
