package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"vbp/pipeline/cache"
)

// Action is what a plan intends for a node.
type Action string

// Actions.
const (
	Run     Action = "run"
	Reuse   Action = "reuse"
	Pending Action = "pending" // decided when what it waits for has been made
	Leave   Action = "leave"   // a service or effect that nothing needs
)

// Decision is what is to be done about one node, and why.
type Decision struct {
	Node   *Node
	Action Action
	Why    string
	// Conditional says that Action holds unless the environment of a service
	// that starts for other points turns out to differ: what is reused may be
	// made again, and an effect that is left may be needed.
	Conditional bool
	Key         cache.Key       // "" while pending
	Artefact    *cache.Artefact // what is reused; else the latest attempt that is not, or nil

	behind json.RawMessage // the value that Key is the hash of; nil if reused
}

// Plan is a decision for every node of a graph, in the graph's order.
type Plan struct {
	Graph     *Graph
	Decisions []Decision
}

// PlanOptions are the circumstances of a plan.
type PlanOptions struct {
	Now time.Time
	// Environment, if set, is what is known of a service without starting
	// it: measurements that were made under other values of what is in it are
	// not reused.
	Environment map[string]map[string]string // service's ID -> observed
	// CheckEnvironment starts every service, so that what is reused is held
	// against the environment that is then observed.
	CheckEnvironment bool
}

// Make decides for every node of g what is to be done, without doing any of
// it.
func Make(g *Graph, store *cache.Store, o PlanOptions) (*Plan, error) {
	pl := planner{g: g, store: store, o: o, read: make(map[string]error)}
	var err error
	if pl.keys, err = store.Keys(); err != nil {
		return nil, err
	}
	if pl.slots, err = store.Slots(); err != nil {
		return nil, err
	}
	if err := pl.identifyMeasurements(); err != nil {
		return nil, err
	}
	for {
		p, err := pl.pass()
		if err != nil {
			return nil, err
		}
		// What will be read is read now: a damaged need is made again, and
		// whatever that changes is in the plan.
		if pl.verify(p.consumed()) && pl.verify(p.shown()) {
			return p, nil
		}
	}
}

// Unchecked reports whether measurements are reused though no service starts
// that would show whether their environment is still the same.
func (p *Plan) Unchecked() bool {
	for i, d := range p.Decisions {
		if d.Node.Kind == Measurement && d.Action == Reuse && !d.Conditional && p.Graph.service(i) >= 0 {
			return true
		}
	}
	return false
}

// Todo counts the nodes with a result that are to run or wait for one that is.
func (p *Plan) Todo() int {
	n := 0
	for _, d := range p.Decisions {
		if d.Node.leavesResult() && (d.Action == Run || d.Action == Pending) {
			n++
		}
	}
	return n
}

// Fingerprint names the whole of what a finished run would hold. It is only
// known when nothing is left to do.
func (p *Plan) Fingerprint() string {
	var rows []string
	for _, d := range p.Decisions {
		if d.Artefact != nil && d.Action == Reuse {
			rows = append(rows, fingerprintRow(d.Node, d.Artefact))
		}
	}
	return fingerprint(rows)
}

func fingerprintRow(n *Node, a *cache.Artefact) string {
	return strings.Join([]string{n.ID, n.Place, string(a.Key), a.Attempt}, "\x00")
}

func fingerprint(rows []string) string {
	sum := sha256.Sum256([]byte(strings.Join(rows, "\n")))
	return hex.EncodeToString(sum[:16])
}

// consumed lists the reused artefacts whose content a node that runs, or may,
// will read.
func (p *Plan) consumed() []*cache.Artefact {
	var out []*cache.Artefact
	seen := make(map[int]bool)
	for _, d := range p.Decisions {
		if d.Action != Run && d.Action != Pending && !d.Conditional {
			continue
		}
		for _, id := range d.Node.Needs {
			i := p.Graph.index[id]
			if e := p.Decisions[i]; e.Action == Reuse && !seen[i] {
				seen[i] = true
				out = append(out, e.Artefact)
			}
		}
	}
	return out
}

// shownBytes bounds how much of what only people will read is checksummed by a
// plan: a second or so of reading.
const shownBytes = 256 << 20

// shown lists the reused artefacts that appear in a run's folder, in order, as
// far as they are small enough together: people take what lies there for what
// was made.
func (p *Plan) shown() []*cache.Artefact {
	var out []*cache.Artefact
	left := int64(shownBytes)
	for i := len(p.Decisions) - 1; i >= 0; i-- { // the last is what people open first
		d := p.Decisions[i]
		if d.Action != Reuse || d.Node.Kind != Pure || d.Node.Place == "" {
			continue
		}
		for _, f := range d.Artefact.Files {
			left -= f.Size
		}
		if left < 0 {
			break
		}
		out = append(out, d.Artefact)
	}
	return out
}

// pass decides about every node: in order, since a pure node's key holds what
// its needs made.
func (pl *planner) pass() (*Plan, error) {
	p := &Plan{Graph: pl.g, Decisions: make([]Decision, len(pl.g.Nodes))}
	pl.taken = make(map[string]bool)
	for i, n := range pl.g.Nodes {
		d := &p.Decisions[i]
		d.Node = n
		switch n.Kind {
		case Service, Effect:
			d.Action = Leave
		case Measurement:
			if err := pl.decide(d, nil); err != nil {
				return nil, err
			}
		case Pure:
			if wait := p.waitsFor(n); wait != "" {
				d.Action, d.Why = Pending, "waits for "+wait
			} else if err := pl.decide(d, p.digests(n)); err != nil {
				return nil, err
			}
		}
	}
	p.demand(pl.o.CheckEnvironment)
	p.condition()
	return p, nil
}

// demand makes the services and effects run that a measurement needs which is
// to run, and with check the services of all. Needs come earlier, so one walk
// from the end is enough.
func (p *Plan) demand(check bool) {
	needed := make([]bool, len(p.Decisions))
	for i := len(p.Decisions) - 1; i >= 0; i-- {
		d := &p.Decisions[i]
		if d.Node.leavesResult() {
			needed[i] = d.Action == Run
		} else if needed[i] {
			d.Action, d.Why = Run, "a measurement needs it"
		} else if check && d.Node.Kind == Service {
			d.Action, d.Why = Run, "its environment is to be checked"
			needed[i] = true
		} else {
			d.Why = "not needed: every measurement of it is reused"
		}
		if needed[i] {
			for _, id := range d.Node.Needs {
				needed[p.Graph.index[id]] = true
			}
		}
	}
}

const unlessEnvironment = ", unless the environment differs"

// condition marks what a service that starts anyway may contradict.
func (p *Plan) condition() {
	g := p.Graph
	for i := range p.Decisions {
		d := &p.Decisions[i]
		if d.Action != Reuse {
			continue
		}
		switch d.Node.Kind {
		case Measurement:
			if s := g.service(i); s >= 0 && p.Decisions[s].Action == Run {
				d.Conditional = true
				d.Why += unlessEnvironment
			}
		case Pure:
			for _, id := range d.Node.Needs {
				if p.Decisions[g.index[id]].Conditional {
					d.Conditional = true
					d.Why += ", unless what it reads is measured again"
					break
				}
			}
		}
	}
	maybe := make([]bool, len(p.Decisions))
	for i := len(p.Decisions) - 1; i >= 0; i-- {
		d := &p.Decisions[i]
		if d.Node.leavesResult() {
			maybe[i] = d.Node.Kind == Measurement && d.Conditional
		} else if maybe[i] && d.Action == Leave {
			d.Conditional = true
			d.Why = "only needed if the environment differs"
		}
		if maybe[i] {
			for _, id := range d.Node.Needs {
				maybe[g.index[id]] = true
			}
		}
	}
}

func (p *Plan) waitsFor(n *Node) string {
	first, more := "", 0
	for _, id := range n.Needs {
		switch a := p.Decisions[p.Graph.index[id]].Action; {
		case a != Run && a != Pending:
		case first == "":
			first = id
		default:
			more++
		}
	}
	if more > 0 {
		return fmt.Sprintf("%s and %d more", first, more)
	}
	return first
}

func (p *Plan) digests(n *Node) []need {
	needs := make([]need, 0, len(n.Needs))
	for _, id := range n.Needs {
		needs = append(needs, need{ID: id, Digest: p.Decisions[p.Graph.index[id]].Artefact.Digest})
	}
	return needs
}
