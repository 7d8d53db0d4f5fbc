package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Kind says how a node's result may be reused.
type Kind int

// Kinds of node.
const (
	// Pure nodes compute: same key, same result, cached for ever.
	Pure Kind = iota
	// Measurement nodes observe: every attempt is kept, and reused only if
	// Judge finds it usable and the environment has not been contradicted.
	Measurement
	// Service nodes start something with a lifetime. Started when the first
	// measurement that is to run needs it, stopped when the last is done.
	Service
	// Effect nodes act on a service, once after each start.
	Effect
)

// String is how a kind is printed.
func (k Kind) String() string {
	return [...]string{"pure", "measurement", "service", "effect"}[k]
}

// Node is one piece of work.
type Node struct {
	ID    string // unique in the graph: "load mode=simple qps=2 repeat=0"
	Stage string // what the work is: "load", "command"
	Group string // the stage's name in the spec, by which --only and --rerun choose
	Kind  Kind
	Input Input
	Needs []string // IDs of nodes that come first

	// Tolerant nodes run though some of their needs failed, as long as one
	// has a result.
	Tolerant bool

	// Work does what a Pure, Measurement or Effect node is for. It fills
	// Runtime.Dir (not for effects) and returns nil, or returns an error and
	// leaves nothing.
	Work func(ctx context.Context, in Input, rt *Runtime) error

	// Start brings a Service up and returns a Handle or an error, with nothing
	// left running. The end of ctx ends the start, not what was started: the
	// executor stops that, once, when its last measurement is done.
	Start func(ctx context.Context, in Input, rt *Runtime) (Handle, error)

	// Judge decides whether an attempt of a Measurement is usable, from what
	// its work recorded.
	Judge func(Record) Verdict

	// Uses are the exclusive resources that the node holds: a Service while it
	// lives, any other node while it works.
	Uses map[string]int

	// Expect is about how long the work takes, for whoever waits; 0 if that is
	// not known or short.
	Expect time.Duration

	// Restarts is how often a Service may be stopped and started again in an
	// execution because its Check failed.
	Restarts int
	// Retries is how often a Measurement is tried again in an execution that
	// failed or that Judge did not find usable.
	Retries int
	// MaxAge is the age from which an attempt of a Measurement is not reused;
	// 0: any age will do.
	MaxAge time.Duration

	// Files are those whose content is part of Input, as paths of this
	// machine.
	Files []string

	// Place is where the artefact's files appear in the run's folder; "." is
	// its root. "" keeps them in the store only.
	Place string
}

// leavesResult says that what n does is kept in the store.
func (n *Node) leavesResult() bool { return n.Kind == Pure || n.Kind == Measurement }

// Handle is a running service.
type Handle interface {
	// Environment is what was observed of it; measurements under another
	// environment are not reused beside it.
	Environment() map[string]string
	// Check returns an error if it no longer works.
	Check(ctx context.Context) error
	// Stop ends it and returns when nothing of it is left.
	Stop(ctx context.Context) error
}

// Runtime is the circumstances of one piece of work. Nothing in it may
// influence what a pure node makes.
type Runtime struct {
	Dir     string              // empty folder that the node fills
	Needs   map[string]string   // need's ID -> folder of what it made; a tolerant node's failed needs are not there
	Service Handle              // the running service that the node needs, if any
	Granted map[string][]string // resource -> the units that were granted by name
	RunDir  string              // the run's folder, for logs
	Attempt string              // name of this attempt
	// Attempts tells of every measurement among the needs what stands behind
	// its result. It is part of a pure node's key.
	Attempts map[string]Attempts
	Restarts int  // how often Service was started again before
	Before   bool // a service that is started from the same was up before in this execution
	Now      func() time.Time
	Emit     func(Event)

	record Record
}

// Attempts counts what stands behind the result of a measurement: what was made
// for its own slot; if nothing was, what was made for the one whose result it
// shows.
type Attempts struct {
	Total    int `json:"total"`
	Rejected int `json:"rejected"` // of Total: not usable
}

func (a *Attempts) add(rejected bool) {
	a.Total++
	if rejected {
		a.Rejected++
	}
}

// told is what of a enters a key: nothing, where one attempt was made and is
// shown.
func (a Attempts) told() *Attempts {
	if a.Total <= 1 && a.Rejected == 0 {
		return nil
	}
	return &a
}

// Keep stores what was observed beside the artefact.
func (rt *Runtime) Keep(r Record) { rt.record = r }

// Verdict is Judge's answer.
type Verdict struct {
	Usable bool
	Reason string // why not: the rule that failed
	// Lasting says that another attempt beside the same start of the service
	// would end likewise.
	Lasting bool
}

// Graph is nodes in order of preference: of several that could run, the
// earliest does.
type Graph struct {
	Scope string  // name of the experiment: slots of equal nodes of other experiments are apart
	Nodes []*Node // appended by Add only
	// Capacity of each resource, to be set before nodes are added. One that is
	// not named has as many units as it has names, else 1.
	Capacity map[string]int
	// Units are the names of a resource's units, where they have names.
	Units map[string][]string

	index  map[string]int
	serves []int // node -> the service that it stands on, or -1
}

// Grow makes room for n more nodes.
func (g *Graph) Grow(n int) {
	g.Nodes, g.serves = slices.Grow(g.Nodes, n), slices.Grow(g.serves, n)
	if g.index == nil {
		g.index = make(map[string]int, n)
	}
}

// Add appends a node. Its needs must be there already, so a graph cannot
// have cycles.
func (g *Graph) Add(n *Node) error {
	if g.index == nil {
		g.index = make(map[string]int)
	}
	if _, dup := g.index[n.ID]; dup {
		return fmt.Errorf("two nodes are called %q", n.ID)
	}
	service := -1
	for _, id := range n.Needs {
		i, ok := g.index[id]
		if !ok {
			return fmt.Errorf("%s needs %q, which is not there", n.ID, id)
		}
		k, s := g.Nodes[i].Kind, -1
		switch {
		case n.Kind == Pure && (k == Service || k == Effect):
			return fmt.Errorf("%s is pure and cannot need %s, which leaves no result", n.ID, id)
		case n.Kind == Measurement && g.Nodes[i].leavesResult():
			return fmt.Errorf("%s is a measurement and cannot need %s, whose result is not in its key", n.ID, id)
		case k == Service:
			s = i
		case k == Effect:
			s = g.serves[i]
		}
		if s >= 0 && service >= 0 && s != service {
			return fmt.Errorf("%s stands on two services, %s and %s; one is allowed",
				n.ID, g.Nodes[service].ID, g.Nodes[s].ID)
		}
		service = max(service, s)
	}
	if n.Kind == Service && service >= 0 {
		return fmt.Errorf("%s is a service and cannot stand on %s, another one", n.ID, g.Nodes[service].ID)
	}
	if n.Kind == Effect && service < 0 {
		return fmt.Errorf("%s is an effect and stands on no service", n.ID)
	}
	if err := g.fits(n, service); err != nil {
		return err
	}
	g.index[n.ID] = len(g.Nodes)
	g.Nodes = append(g.Nodes, n)
	g.serves = append(g.serves, service)
	return nil
}

// fits returns an error if n could never have what it uses.
func (g *Graph) fits(n *Node, service int) error {
	var few [4]string
	names := few[:0]
	for r := range n.Uses {
		names = append(names, r)
	}
	slices.Sort(names)
	for _, r := range names {
		units, limit := n.Uses[r], g.capacity(r)
		if units < 0 {
			return fmt.Errorf("%s uses %d of %s", n.ID, units, r)
		}
		if units > limit {
			return fmt.Errorf("%s needs %d of %s, and there are %d", n.ID, units, r, limit)
		}
		if service < 0 || units == 0 {
			continue
		}
		if held := g.Nodes[service].Uses[r]; units > limit-held {
			return fmt.Errorf("%s needs %d of %s; there are %d, and %s, which it stands on, holds %d",
				n.ID, units, r, limit, g.Nodes[service].ID, held)
		}
	}
	return nil
}

// Node returns the node called id, or nil.
func (g *Graph) Node(id string) *Node {
	if i, ok := g.index[id]; ok {
		return g.Nodes[i]
	}
	return nil
}

// ServiceOf returns the service that n stands on, or nil.
func (g *Graph) ServiceOf(n *Node) *Node {
	if s := g.serves[g.index[n.ID]]; s >= 0 {
		return g.Nodes[s]
	}
	return nil
}

func (g *Graph) capacity(resource string) int {
	if n, ok := g.Capacity[resource]; ok {
		return n
	}
	if names := g.Units[resource]; len(names) > 0 {
		return len(names)
	}
	return 1
}

func (g *Graph) slot(n *Node) string { return g.Scope + ": " + n.ID }

// isSlot reports whether slot is n's, without making that.
func (g *Graph) isSlot(n *Node, slot string) bool {
	return len(slot) == len(g.Scope)+2+len(n.ID) && slot[:len(g.Scope)] == g.Scope && slot[len(g.Scope):len(g.Scope)+2] == ": " && slot[len(g.Scope)+2:] == n.ID
}

// service returns the index of the service that node i stands on, directly
// or through effects, or -1.
func (g *Graph) service(i int) int { return g.serves[i] }
