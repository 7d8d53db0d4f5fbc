package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
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
	Skip    Action = "skip"    // left out by wish: PlanOptions.Only
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
	Attempts    Attempts        // of a measurement: what there is of it
	Verdict     Verdict         // of a measurement that is reused

	needs []need            // of a pure node, when Key was worked out
	seen  []*cache.Artefact // attempts under Key that were there then, or were made since
	own   Attempts          // those that were made for the node's own slot
}

// note adds an attempt that was made since the decision, for the node itself or
// by another process for another experiment.
func (d *Decision) note(a *cache.Artefact, usable, own bool) {
	d.seen = append(slices.Clone(d.seen), a)
	count := &d.Attempts
	if own {
		count = &d.own
	}
	count.add(!usable)
	if d.own.Total > 0 {
		d.Attempts = d.own
	}
}

// knows reports whether a was there when d was decided, or was noted since.
func (d *Decision) knows(a *cache.Artefact) bool {
	return slices.ContainsFunc(d.seen, func(b *cache.Artefact) bool { return a.Attempt == b.Attempt })
}

// Plan is a decision for every node of a graph, in the graph's order.
type Plan struct {
	Graph     *Graph
	Decisions []Decision

	options PlanOptions
	listing *cache.Listing
	read    map[string]error // artefact's folder -> what Make found its content to be
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
	// Hold keeps what the plan is about from being pruned until the store is
	// closed, which must be open for writing.
	Hold bool
	// Only, if set, chooses the nodes that may run; services and effects also
	// run where a chosen measurement needs them.
	Only func(*Node) bool
	// Rerun, if set, chooses nodes that run though they have a result, unless
	// that was made after RerunSince.
	Rerun      func(*Node) bool
	RerunSince time.Time
}

// leavesOut reports whether n must not run.
func (o *PlanOptions) leavesOut(n *Node) bool { return o.Only != nil && !o.Only(n) }

// chosen reports whether Only names n.
func (o *PlanOptions) chosen(n *Node) bool { return o.Only != nil && o.Only(n) }

// rerun reports whether n is to run in any case.
func (o *PlanOptions) rerun(n *Node) bool { return o.Rerun != nil && o.Rerun(n) }

// Make decides for every node of g what is to be done, without doing any of
// it.
func Make(g *Graph, store *cache.Store, o PlanOptions) (*Plan, error) {
	pl := planner{g: g, store: store, o: o, slots: sync.OnceValues(store.Slots), read: make(map[string]error)}
	if err := pl.identifyMeasurements(); err != nil {
		return nil, err
	}
	if err := pl.hold(pl.keys); err != nil {
		return nil, err
	}
	if err := pl.list(); err != nil {
		return nil, err
	}
	for {
		p, err := pl.pass()
		if err != nil {
			return nil, err
		}
		// What will be read is read now: a damaged need is made again, and
		// whatever that changes is in the plan.
		if consumed := p.consumed(); few(consumed) && !pl.verify(consumed) || !pl.verify(p.shown()) || !pl.present(p.measured()) {
			continue
		}
		gone, err := pl.holdPure(p)
		if err != nil {
			return nil, err
		}
		if !gone {
			p.options, p.listing, p.read = o, pl.listing, pl.read
			return p, nil
		}
		if err := pl.list(); err != nil {
			return nil, err
		}
	}
}

// list lists the store, and judges what measurements of the graph left.
func (pl *planner) list() (err error) {
	pl.listing, err = pl.store.ListSeen(func() func(*cache.Artefact) any {
		records := &recordReader{}
		last := &judged{}
		return func(a *cache.Artefact) any {
			i, known := pl.first[a.Key]
			if !known || pl.twins[a.Key] != nil {
				return nil // judged when it is asked for
			}
			rec, err := records.of(a)
			j := judge(pl.g.Nodes[i], rec, err)
			if j.same(last) {
				return last // of 100,000, most are alike
			}
			last = &j
			return last
		}
	})
	return err
}

// hold keeps what lies under keys from being pruned.
func (pl *planner) hold(keys []cache.Key) error {
	if !pl.o.Hold {
		return nil
	}
	return pl.store.Hold(slices.DeleteFunc(slices.Clone(keys), func(k cache.Key) bool { return k == "" })...)
}

// holdPure holds what pure nodes are to reuse, and reports whether some of it
// was pruned before that.
func (pl *planner) holdPure(p *Plan) (gone bool, err error) {
	var keys []cache.Key
	for _, d := range p.Decisions {
		if d.Node.Kind == Pure && d.Action == Reuse {
			keys = append(keys, d.Key)
		}
	}
	if err := pl.hold(keys); err != nil || !pl.o.Hold {
		return false, err
	}
	for _, d := range p.Decisions {
		if d.Node.Kind == Pure && d.Action == Reuse {
			if _, err := os.Lstat(d.Artefact.Dir); errors.Is(err, fs.ErrNotExist) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Took returns how long the work of nodes took that has a result, or had one
// of other inputs: the latest in its slot.
func (p *Plan) Took() func(n *Node) (took time.Duration, known bool) {
	last := make(map[string]*cache.Artefact)
	for a := range p.listing.All() {
		if b := last[a.Slot]; a.Damage == nil && (b == nil || b.Created.Before(a.Created)) {
			last[a.Slot] = a
		}
	}
	return func(n *Node) (time.Duration, bool) {
		a := last[p.Graph.slot(n)]
		if a == nil {
			return 0, false
		}
		return time.Duration(a.Seconds * float64(time.Second)), true
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

// fingerprint is the same in whatever order things were done.
func fingerprint(rows []string) string {
	slices.Sort(rows)
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

// These bound how much is looked at by a plan: a second or so, and some
// seconds where it is going to be read. The rest is checked when it is read, or
// by cache verify.
const (
	shownBytes = 256 << 20
	shownNodes = 1000 // measurements
	readBytes  = 4 << 30
)

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
		if left -= d.Artefact.Bytes; left < 0 || len(d.Node.Needs) > shownNodes {
			break
		}
		out = append(out, d.Artefact)
	}
	return out
}

// few reports whether artefacts can be read by a plan. If they cannot, whoever
// reads them checks them: see executor.intact.
func few(artefacts []*cache.Artefact) bool {
	bytes := int64(0)
	for _, a := range artefacts {
		bytes += a.Bytes
	}
	return len(artefacts) <= shownNodes && bytes <= readBytes
}

// measured lists the measurements that are reused, if they are few.
func (p *Plan) measured() []*cache.Artefact {
	var out []*cache.Artefact
	for _, d := range p.Decisions {
		if d.Node.Kind == Measurement && d.Action == Reuse {
			if len(out) == shownNodes {
				return nil
			}
			out = append(out, d.Artefact)
		}
	}
	return out
}
