package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// unblock is called when nothing is at work and nodes wait for resources that
// services hold. Of them, it fails those for which the services' own
// measurements wait: neither could ever go on.
func (x *executor) unblock() bool {
	if x.unparkAll() {
		return true
	}
	blocked := x.claims.drain()
	awaited := make([]bool, len(x.results))
	for i := len(x.results) - 1; i >= 0; i-- {
		s := x.usedBy(i)
		if x.results[i].State == "" && (awaited[i] || s != nil && s.handle != nil) {
			for _, id := range x.g.Nodes[i].Needs {
				awaited[x.g.index[id]] = true
			}
		}
	}
	some := slices.ContainsFunc(blocked, func(i int) bool { return awaited[i] })
	for _, i := range blocked {
		n := x.g.Nodes[i]
		if some && !awaited[i] {
			x.claims.enqueue(i, n, x.tries[i])
			continue
		}
		err := fmt.Errorf("waits for what %s holds, whose measurements wait for this node; let them not need it", x.holders(n))
		if s := x.services[x.g.service(i)]; s != nil && s.rewarms(i) {
			x.abandon(s, err)
			continue
		}
		x.settle(i, Result{State: StateFailed, Err: err})
	}
	return len(blocked) > 0
}

// holders names the services that hold something that n uses.
func (x *executor) holders(n *Node) string {
	var ids []string
	for j := range x.up {
		for r := range x.g.Nodes[j].Uses {
			if n.Uses[r] > 0 {
				ids = append(ids, x.g.Nodes[j].ID)
				break
			}
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " and ")
}
