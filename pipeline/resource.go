package pipeline

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// claims keeps the exclusive resources of an execution and the nodes that
// wait for them.
type claims struct {
	free  map[string]int
	units map[string][]string // names of free units, in the graph's order
	order map[string]map[string]int

	// Nodes that could run but for what they use, in one queue for each
	// distinct use: if its first node must wait, so must the others, and they
	// need not be looked at.
	queues map[string]*intHeap
	nodes  int // a node that waits for its n-th time ranks n x nodes later
}

func newClaims(g *Graph, workers int) *claims {
	c := &claims{
		free:   map[string]int{poolOfWorkers: workers},
		units:  make(map[string][]string),
		order:  make(map[string]map[string]int),
		queues: make(map[string]*intHeap),
		nodes:  len(g.Nodes),
	}
	for _, n := range g.Nodes {
		for r := range n.Uses {
			c.free[r] = g.capacity(r)
		}
	}
	for r, names := range g.Units {
		c.units[r] = slices.Clone(names)
		c.order[r] = make(map[string]int)
		for i, name := range names {
			c.order[r][name] = i
		}
	}
	return c
}

// poolOfWorkers is the resource of which each pure node uses one; no spec can
// name it.
const poolOfWorkers = "\x00workers"

// uses is what n claims while it works.
func uses(n *Node) map[string]int {
	if n.Kind != Pure {
		return n.Uses
	}
	if len(n.Uses) == 0 {
		return oneWorker
	}
	all := map[string]int{poolOfWorkers: 1}
	for r, units := range n.Uses {
		all[r] = units
	}
	return all
}

var oneWorker = map[string]int{poolOfWorkers: 1}

// enqueue lets node i wait for what it uses; one that ran before and is to be
// tried again comes after those that did not.
func (c *claims) enqueue(i int, n *Node, tries int) {
	key := ""
	if u := uses(n); len(u) == 1 {
		for r, units := range u {
			key = fmt.Sprint(r, "=", units)
		}
	} else if len(u) > 1 {
		parts := make([]string, 0, len(u))
		for r, units := range u {
			parts = append(parts, fmt.Sprint(r, "=", units))
		}
		slices.Sort(parts)
		key = strings.Join(parts, "\n")
	}
	q := c.queues[key]
	if q == nil {
		q = new(intHeap)
		c.queues[key] = q
	}
	heap.Push(q, tries*c.nodes+i)
}

// next returns the earliest waiting node that can have what it uses, and
// takes it from its queue.
func (c *claims) next(nodes []*Node) (int, bool) {
	best, from := -1, ""
	for key, q := range c.queues {
		if rank := (*q)[0]; (best < 0 || rank < best) && c.available(uses(nodes[rank%c.nodes])) {
			best, from = rank, key
		}
	}
	if best < 0 {
		return 0, false
	}
	q := c.queues[from]
	heap.Pop(q)
	if q.Len() == 0 {
		delete(c.queues, from)
	}
	return best % c.nodes, true
}

// drain empties the queues and returns what waited, in order.
func (c *claims) drain() []int {
	var all []int
	for _, q := range c.queues {
		for _, rank := range *q {
			all = append(all, rank%c.nodes)
		}
	}
	clear(c.queues)
	slices.Sort(all)
	return all
}

func (c *claims) available(u map[string]int) bool {
	for r, units := range u {
		if c.free[r] < units {
			return false
		}
	}
	return true
}

// take claims what n uses and returns the names of units that have names.
func (c *claims) take(n *Node) map[string][]string {
	granted := make(map[string][]string)
	for r, units := range uses(n) {
		c.free[r] -= units
		if names := c.units[r]; units > 0 && len(names) >= units {
			granted[r] = slices.Clone(names[:units])
			c.units[r] = names[units:]
		}
	}
	return granted
}

// give returns what take claimed.
func (c *claims) give(n *Node, granted map[string][]string) {
	for r, units := range uses(n) {
		c.free[r] += units
		if len(granted[r]) > 0 {
			c.units[r] = append(slices.Clone(c.units[r]), granted[r]...)
			slices.SortFunc(c.units[r], func(a, b string) int { return c.order[r][a] - c.order[r][b] })
		}
	}
}

// intHeap is a heap of node indices: the earliest node is on top.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(a, b int) bool { return h[a] < h[b] }
func (h intHeap) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *intHeap) Push(v any)        { *h = append(*h, v.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}
