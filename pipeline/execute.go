package pipeline

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// ExecuteOptions are the circumstances of an execution.
type ExecuteOptions struct {
	Store   *cache.Store
	Journal *history.Journal
	RunDir  string
	Workers int // pure nodes at a time; 0: 1
	Now     func() time.Time
	Emit    func(Event) // called from one goroutine at a time; may be nil
	// StopTimeout bounds how long a service may take to stop.
	StopTimeout time.Duration

	// Lease, if set, is called for every service before it starts and waits
	// for what this machine has to give to all processes together, telling of
	// whom through emit. What it grants by name takes the place of what the
	// executor would; release is called when the service is gone.
	Lease Lease
	// Deadline, unless zero, is when no more measurements and services are
	// begun.
	Deadline time.Time
	// FailFast lets no measurement or service begin once a node has failed. A
	// failure to keep a result does so in any case.
	FailFast bool
	// RetryStarts lets a service start though an equal one, of another block,
	// could not be started before.
	RetryStarts bool
}

// Lease takes what service n uses and other processes may use too.
type Lease func(ctx context.Context, n *Node, emit func(text string)) (granted map[string][]string, release func() error, err error)

// Execute does what the plan says, and leaves the plan as it is. An error is
// one of the executor's own (a journal that cannot be written, say); what went
// wrong with nodes is in the Report. When ctx ends, running work is cancelled,
// services are stopped, and the Report says Interrupted.
func Execute(ctx context.Context, p *Plan, o ExecuteOptions) (*Report, error) {
	x := newExecutor(p, o)
	err := x.loop(ctx)
	rep := &Report{Results: x.results, OutOfBudget: x.outOfBudget}
	var rows []string
	for _, r := range x.results {
		if r.Artefact != nil {
			rows = append(rows, fingerprintRow(r.Node, r.Artefact))
		}
		if r.State == StateStopped && ctx.Err() != nil {
			rep.Interrupted = true
		}
	}
	rep.Fingerprint = fingerprint(rows)
	return rep, err
}

// executor is one loop that owns all state, and goroutines that do the work
// and report back.
type executor struct {
	p *Plan
	g *Graph
	o ExecuteOptions

	decisions []Decision // the plan's, and what turned out since
	results   []Result
	waiting   []int   // number of needs not settled yet
	inverse   [][]int // node -> nodes that need it
	ready     intHeap // settled needs, not looked at yet
	claims    *claims
	running   int
	// done brings what a goroutine has to say, as a function that the loop
	// calls: the only way in which state changes.
	done chan func()

	services    map[int]*service
	up          map[int]*service  // those with a handle
	kin         map[int]*kin      // service -> those that are started from the same
	tries       map[int]int       // measurements that ran -> how often
	notMade     map[int]bool      // measurements that show an earlier result and were to be made again
	kept        map[int]Result    // measurements that ran -> the last attempt that left something
	vain        map[string]string // startKey -> how a service failed to start
	waits       context.Context   // of waiting for others: ends when nothing more is to begin
	stopWaiting context.CancelFunc
	timeUp      atomic.Bool // ExecuteOptions.Deadline has come
	halted      string      // why nothing that measures begins any more
	outOfBudget bool
	twins       map[cache.Key][]string
	fatal       error
	emitting    sync.Mutex
}

func newExecutor(p *Plan, o ExecuteOptions) *executor {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 30 * time.Second // a vLLM instance takes a few seconds
	}
	g := p.Graph
	x := &executor{
		p: p, g: g, o: o,
		decisions: slices.Clone(p.Decisions),
		results:   make([]Result, len(g.Nodes)),
		waiting:   make([]int, len(g.Nodes)),
		inverse:   make([][]int, len(g.Nodes)),
		claims:    newClaims(g, max(1, o.Workers)),
		done:      make(chan func()),
		services:  make(map[int]*service),
		up:        make(map[int]*service),
		tries:     make(map[int]int),
		kept:      make(map[int]Result),
		notMade:   make(map[int]bool),
		vain:      make(map[string]string),
		kin:       make(map[int]*kin),
	}
	x.findKin()
	x.twins, _ = twinsOf(g, func(i int) cache.Key { return x.decisions[i].Key })
	for i, n := range g.Nodes {
		x.results[i].Node = n
		x.waiting[i] = len(n.Needs)
		for _, id := range n.Needs {
			j := g.index[id]
			x.inverse[j] = append(x.inverse[j], i)
		}
		if n.Kind == Service {
			x.services[i] = &service{i: i}
		}
	}
	for i := range g.Nodes {
		if s := x.usedBy(i); s != nil {
			s.users++
			if x.decisions[i].Conditional {
				s.conditional = append(s.conditional, i)
			}
		}
	}
	return x
}

// usedBy is the service that lives for node i: a measurement that runs on it
// or may, or an effect that was planned to. Nil if there is none.
func (x *executor) usedBy(i int) *service {
	d := &x.p.Decisions[i]
	switch {
	case d.Node.Kind == Measurement && (d.Action == Run || d.Conditional), d.Node.Kind == Effect && d.Action == Run:
		return x.services[x.g.service(i)]
	}
	return nil
}

func (x *executor) loop(ctx context.Context) error {
	x.waits, x.stopWaiting = context.WithCancel(ctx)
	defer x.stopWaiting()
	if !x.o.Deadline.IsZero() {
		end := time.AfterFunc(x.o.Deadline.Sub(x.o.Now()), func() {
			x.timeUp.Store(true)
			x.stopWaiting()
		})
		defer end.Stop()
	}
	for i := range x.g.Nodes {
		if x.waiting[i] == 0 {
			heap.Push(&x.ready, i)
		}
	}
	for {
		x.dispatch(ctx)
		if x.running > 0 {
			then := <-x.done
			x.running--
			then()
		} else if !x.unblock() {
			break
		}
	}
	for i := range x.results {
		if x.results[i].State == "" {
			x.results[i].State = StateStopped
		}
	}
	return x.fatal
}

// dispatch settles every ready node that needs no work and begins those that
// can have what they use, earliest first.
func (x *executor) dispatch(ctx context.Context) {
	for ctx.Err() == nil && x.fatal == nil {
		if x.ready.Len() > 0 {
			x.consider(heap.Pop(&x.ready).(int))
			continue
		}
		i, ok := x.claims.next(x.g.Nodes)
		if !ok {
			return
		}
		switch s := x.services[x.g.service(i)]; {
		case s != nil && s.rewarms(i) && x.halts(i):
			s.rewarm = nil // nothing will be measured on it
			x.rewarmNext(s)
		case s != nil && s.rewarms(i):
			x.begin(ctx, i)
		case x.halts(i):
			x.giveUp(i, Result{State: StateSkipped, Err: errors.New(x.halted)})
		case s != nil && s.dead != nil:
			x.giveUp(i, Result{State: StateSkipped, Err: s.dead})
		case s != nil && s.down:
			s.parked = append(s.parked, i)
		default:
			x.begin(ctx, i)
		}
	}
	// It is over. What did not begin ends as StateStopped.
	x.ready = nil
	x.claims.drain()
	for _, s := range x.up {
		x.stop(s)
	}
}

// consider settles node i, whose needs are settled, or lets it wait for what
// it uses.
func (x *executor) consider(i int) {
	n, d := x.g.Nodes[i], &x.decisions[i]
	switch unmet := x.unmet(n); {
	case d.Action == Skip:
		x.settle(i, Result{State: StateLeft, Err: errors.New(d.Why)})
		return
	case d.Action == Leave && n.Kind == Service && d.Conditional && x.awaits(x.kin[i]):
		x.kin[i].parked = append(x.kin[i].parked, i)
		return
	case d.Action == Leave:
		x.settle(i, Result{State: StateUnused})
		return
	case n.Kind == Measurement && d.Action == Reuse:
		if why, open := strings.CutSuffix(d.Why, unlessEnvironment); open {
			d.Why = why + "; its environment was not checked, for its service did not start"
		}
		x.reuse(i)
		return
	case unmet != "":
		x.settle(i, Result{State: StateSkipped, Err: errors.New(unmet)})
		return
	case n.Kind == Pure && (d.Action == Pending || d.Conditional):
		if err := x.resolve(i); err != nil {
			x.settle(i, Result{State: StateFailed, Err: err})
			return
		}
	}
	if d.Action == Skip { // as it turned out
		x.settle(i, Result{State: StateLeft, Err: errors.New(d.Why)})
		return
	}
	if d.Action == Reuse {
		x.reuse(i)
		return
	}
	x.claims.enqueue(i, n, x.tries[i])
}

// begin starts the work of node i.
func (x *executor) begin(ctx context.Context, i int) {
	n := x.g.Nodes[i]
	granted := x.claims.take(n)
	if n.Kind == Service {
		x.lease(ctx, i, granted)
		return
	}
	x.running++
	x.began(i)
	x.work(ctx, i, granted)
}

// began tells that the work of node i begins.
func (x *executor) began(i int) {
	n, d := x.g.Nodes[i], x.decisions[i]
	x.emit(Event{Kind: Began, Node: n, Text: d.Why})
	x.journal(history.Record{Kind: history.NodeBegun, Node: n.ID, Key: string(d.Key), Text: d.Why})
}

// unmet says why n cannot run: a need of it has no result. Tolerant nodes ask
// for one result only.
func (x *executor) unmet(n *Node) string {
	bad := ""
	for _, id := range n.Needs {
		if r := x.results[x.g.index[id]]; r.ok() {
			if n.Tolerant {
				return ""
			}
		} else if bad == "" {
			bad = r.why()
		}
	}
	return bad
}

// resolve decides about a pure node now that its needs are settled.
func (x *executor) resolve(i int) error {
	d := &x.decisions[i]
	needs := make([]need, 0, len(d.Node.Needs))
	for _, id := range d.Node.Needs {
		nd := need{ID: id}
		if r := x.results[x.g.index[id]]; r.Artefact != nil {
			nd.Digest, nd.Attempts = r.Artefact.Digest, r.Attempts.told()
		}
		needs = append(needs, nd)
	}
	d.Conditional = false
	pl := x.planner()
	pl.check = true
	// Held first: what is found then is not pruned.
	key, err := keyOf(d.Node, needs)
	if err == nil {
		err = x.o.Store.Hold(key)
	}
	if err != nil {
		return err
	}
	return pl.decide(d, i, needs)
}

// settle notes how node i ended and readies what waited for it.
func (x *executor) settle(i int, r Result) {
	n := x.g.Nodes[i]
	r.Node, r.Why = n, x.decisions[i].Why
	x.results[i] = r
	switch r.State {
	case StateFailed:
		x.emit(Event{Kind: Failed, Node: n, Text: r.Err.Error()})
		x.journal(history.Record{Kind: history.NodeFailed, Node: n.ID, Error: r.Err.Error()})
		x.haltAfter(r)
	case StateSkipped, StateLeft:
		x.emit(Event{Kind: Skipped, Node: n, Text: r.Err.Error()})
		x.journal(history.Record{Kind: history.NodeSkipped, Node: n.ID, Text: r.Err.Error()})
	}
	for _, j := range x.inverse[i] {
		if x.waiting[j]--; x.waiting[j] == 0 {
			heap.Push(&x.ready, j)
		}
	}
	if n.Kind == Service {
		x.unpark(i)
	}
	if s := x.usedBy(i); s != nil {
		if s.users--; s.users == 0 {
			x.stop(s)
		}
	}
}

// planner decides about single nodes now.
func (x *executor) planner() *planner {
	o := x.p.options
	o.Now = x.o.Now()
	return &planner{g: x.g, store: x.o.Store, o: o, twins: x.twins, taken: make(map[string]bool), read: x.p.read}
}

func (x *executor) fail(err error) {
	if x.fatal == nil {
		x.fatal = err
	}
}

func (x *executor) journal(r history.Record) {
	r.At = x.o.Now()
	if err := x.o.Journal.Append(r); err != nil {
		x.fail(err)
	}
}

func (x *executor) emit(e Event) {
	if x.o.Emit != nil {
		x.emitting.Lock()
		defer x.emitting.Unlock()
		e.At = x.o.Now()
		x.o.Emit(e)
	}
}
