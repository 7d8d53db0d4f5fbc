package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vbp/pipeline/cache"
)

// site watches the work of a random graph while it is done.
type site struct {
	mu       sync.Mutex
	faults   []string
	ran      map[string]int
	ended    map[string]bool // work or start that returned
	held     map[string]int
	names    map[string]bool // named units in use
	up       map[string]bool
	starts   int
	stops    int
	fails    map[string]bool
	flaky    map[string]int // measurement -> tries that fail before one works
	sick     map[string]int // service -> checks that find it broken
	leased   int            // leases that were not given back
	cancel   func()
	cancelAt int // number of the piece of work that interrupts; 0: none does
	begun    int
}

func (s *site) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// claim notes what n holds from now on, and checks that there was enough.
func (s *site) claim(g *Graph, n *Node, granted map[string][]string, sign int) {
	for r, units := range n.Uses {
		s.held[r] += sign * units
		if s.held[r] > g.capacity(r) {
			s.fault("%s: %d of %s are held, and there are %d", n.ID, s.held[r], r, g.capacity(r))
		}
		if len(g.Units[r]) > 0 && len(granted[r]) != units {
			s.fault("%s was granted %v, not %d", n.ID, granted[r], units)
		}
		for _, name := range granted[r] {
			if s.names[name] != (sign < 0) {
				s.fault("unit %s has two holders", name)
			}
			s.names[name] = sign > 0
		}
	}
}

func (s *site) begin(g *Graph, n *Node, rt *Runtime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran[n.ID]++
	s.claim(g, n, rt.Granted, 1)
	for _, id := range n.Needs {
		need := g.Node(id)
		if s.ran[id] > 0 && !s.ended[id] {
			s.fault("%s began before %s ended", n.ID, id)
		}
		if need.Kind == Service && !s.up[id] {
			s.fault("%s works and %s is not up", n.ID, id)
		}
	}
	if n.Kind != Pure && n.Kind != Service && rt.Service == nil && g.service(g.index[n.ID]) >= 0 {
		s.fault("%s has no service", n.ID)
	}
	if s.begun++; s.begun == s.cancelAt {
		s.cancel()
	}
}

func (s *site) end(g *Graph, n *Node, rt *Runtime) error {
	for range 3 {
		runtime.Gosched() // let others in, if they can come
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[n.ID] = true
	if i := g.service(g.index[n.ID]); i >= 0 && !s.up[g.Nodes[i].ID] {
		s.fault("%s was stopped while %s worked on it", g.Nodes[i].ID, n.ID)
	}
	failed := s.fails[n.ID] || s.ran[n.ID] <= s.flaky[n.ID]
	if n.Kind != Service || failed {
		s.claim(g, n, rt.Granted, -1)
	}
	if failed && len(n.ID)%2 == 0 {
		panic("panic in " + n.ID)
	}
	if failed {
		return errors.New("fails")
	}
	return nil
}

func (s *site) work(g *Graph, n *Node) func(context.Context, Input, *Runtime) error {
	return func(ctx context.Context, _ Input, rt *Runtime) error {
		s.begin(g, n, rt)
		if err := s.end(g, n, rt); err != nil || n.Kind == Effect {
			return err
		}
		return os.WriteFile(filepath.Join(rt.Dir, "out"), []byte(n.ID), 0o644)
	}
}

func (s *site) start(g *Graph, n *Node) func(context.Context, Input, *Runtime) (Handle, error) {
	return func(ctx context.Context, _ Input, rt *Runtime) (Handle, error) {
		s.begin(g, n, rt)
		if err := s.end(g, n, rt); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.up[n.ID] = true
		s.starts++
		return ailing{s, n.ID, stub{
			func() map[string]string { return nil },
			func(context.Context) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if !s.up[n.ID] {
					s.fault("%s was stopped twice", n.ID)
				}
				s.up[n.ID] = false
				s.stops++
				s.claim(g, n, rt.Granted, -1)
				return nil
			},
		}}, nil
	}
}

// ailing is a service whose first checks fail: one after each start, as often
// as the site says.
type ailing struct {
	s  *site
	id string
	stub
}

func (a ailing) Check(context.Context) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.sick[a.id] == 0 {
		return nil
	}
	a.s.sick[a.id]--
	return errors.New("sick")
}

// lease counts what is leased and not given back.
func (s *site) lease(_ context.Context, n *Node, _ func(string)) (map[string][]string, func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leased++
	return nil, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leased--
		if s.up[n.ID] {
			s.fault("the lease of %s was given back while it is up", n.ID)
		}
		return nil
	}, nil
}

// drawGraph makes a random graph that Add accepts.
func drawGraph(rt *rapid.T, s *site) *Graph {
	g := &Graph{Capacity: map[string]int{"a": 1, "b": 2, "gpu": 3, "load": 1, "net": 2}}
	if rapid.Bool().Draw(rt, "GPUs have names") {
		g.Units = map[string][]string{"gpu": {"gpu 0", "gpu 1", "gpu 2"}}
	}
	for i := range rapid.IntRange(1, 24).Draw(rt, "nodes") {
		kind := rapid.SampledFrom([]Kind{Pure, Pure, Measurement, Measurement, Measurement, Service, Effect}).Draw(rt, "kind")
		n := &Node{ID: fmt.Sprint(kind, " ", i), Kind: kind, Stage: kind.String(), Tolerant: rapid.Bool().Draw(rt, "tolerant") && kind == Pure}
		n.Input, _ = NewInput(i)
		if kind == Service {
			n.Input, _ = NewInput(rapid.IntRange(0, 2).Draw(rt, "input")) // some are kin
			n.Start = s.start(g, n)
		} else {
			n.Work = s.work(g, n)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "needs") {
			if len(g.Nodes) > 0 {
				need := rapid.SampledFrom(g.Nodes).Draw(rt, "need")
				// What is on a service and waits for something that needs what
				// the service holds can block for ever; TestDeadlockIsAnError
				// is about that.
				outside := need.leavesResult() && (kind == Measurement || kind == Effect)
				if id := need.ID; !outside && !slices.Contains(n.Needs, id) {
					n.Needs = append(n.Needs, id)
				}
			}
		}
		resources := []string{"a", "b", "gpu"}
		if kind == Measurement || kind == Effect {
			// Two services whose nodes want what the other one holds would
			// block each other in the same way.
			resources = []string{"load", "net"}
		}
		for _, r := range rapid.SliceOfNDistinct(rapid.SampledFrom(resources), 0, 2, rapid.ID[string]).Draw(rt, "uses") {
			if n.Uses == nil {
				n.Uses = make(map[string]int)
			}
			n.Uses[r] = rapid.IntRange(1, g.capacity(r)).Draw(rt, "units")
		}
		n.Retries, n.Restarts = rapid.IntRange(0, 2).Draw(rt, "retries"), rapid.IntRange(0, 2).Draw(rt, "restarts")
		if g.Add(n) != nil {
			continue
		}
		switch rapid.IntRange(0, 11).Draw(rt, "trouble") {
		case 0, 1:
			s.fails[n.ID] = true
		case 2, 3:
			if kind == Measurement {
				s.flaky[n.ID] = rapid.IntRange(1, 3).Draw(rt, "flaky")
			}
		case 4, 5:
			if kind == Service { // no more often than it may be started again
				s.sick[n.ID] = rapid.IntRange(0, n.Restarts).Draw(rt, "sick")
			}
		}
	}
	return g
}

// expected is how each node ends if nothing interrupts: computed node by
// node from its needs, knowing nothing of time.
func expected(g *Graph, s *site) map[string]State {
	out := make(map[string]State)
	for _, n := range g.Nodes {
		bad, good := 0, 0
		for _, id := range n.Needs {
			if end := out[id]; end == StateFailed || end == StateSkipped {
				bad++
			} else {
				good++
			}
		}
		switch {
		case bad > 0 && !(n.Tolerant && good > 0):
			out[n.ID] = StateSkipped
		case s.fails[n.ID] || s.flaky[n.ID] > n.Retries:
			out[n.ID] = StateFailed
		default:
			out[n.ID] = StateDone
		}
	}
	return out
}

func TestRandomGraphs(t *testing.T) {
	dir := tempDir(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := &site{
			ran: make(map[string]int), ended: make(map[string]bool), held: make(map[string]int),
			names: make(map[string]bool), up: make(map[string]bool), fails: make(map[string]bool),
			flaky: make(map[string]int), sick: make(map[string]int),
		}
		g := drawGraph(rt, s)
		s.cancelAt = max(0, rapid.IntRange(-12, 12).Draw(rt, "cancel at"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.cancel = cancel
		folder, err := os.MkdirTemp(dir, "store-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(folder)
		store, err := cache.Open(folder)
		if err != nil {
			rt.Fatal(err)
		}
		defer store.Close()
		o := ExecuteOptions{Store: store, Workers: rapid.IntRange(1, 4).Draw(rt, "workers"), RetryStarts: true}
		named := len(g.Units) > 0 // names are the executor's to grant then
		if !named {
			o.Lease = s.lease
		}
		run := func(ctx context.Context) *Report {
			p, err := Make(g, store, PlanOptions{Now: time.Now()})
			if err != nil {
				rt.Fatal(err)
			}
			rep, err := Execute(ctx, p, o)
			if err != nil {
				rt.Fatal(err)
			}
			for _, f := range s.faults {
				rt.Error(f)
			}
			for id, times := range s.ran {
				n, most := g.Node(id), 1
				switch i := g.service(g.index[id]); {
				case n.Kind == Measurement:
					most += n.Retries
				case n.Kind == Service:
					most += n.Restarts
				case n.Kind == Effect:
					most += g.Nodes[i].Restarts
				}
				if times > most {
					rt.Errorf("%s ran %d times", id, times)
				}
			}
			if s.leased != 0 {
				rt.Errorf("%d leases were not given back", s.leased)
			}
			if s.starts != s.stops {
				rt.Errorf("%d services were started and %d stopped", s.starts, s.stops)
			}
			for r, n := range s.held {
				if n != 0 {
					rt.Errorf("%d of %s are still held", n, r)
				}
			}
			return rep
		}

		rep := run(ctx)
		want := expected(g, s)
		done := make(map[string]bool)
		for _, r := range rep.Results {
			switch {
			case r.State == StateStopped && ctx.Err() != nil:
			case r.State == StateUnused:
				if r.Node.leavesResult() {
					rt.Errorf("%s is unused", r.Node.ID)
				}
			case r.State != want[r.Node.ID] && ctx.Err() == nil && r.Node.leavesResult():
				rt.Errorf("%s: %s, want %s", r.Node.ID, r.State, want[r.Node.ID])
			}
			done[r.Node.ID] = r.State == StateDone && r.Node.leavesResult() && !r.Node.Tolerant
		}
		if ctx.Err() == nil && rep.Interrupted {
			rt.Error("interrupted by nothing")
		}

		// Once nothing fails any more, the rest is done and only that.
		clear(s.fails)
		clear(s.flaky)
		clear(s.sick)
		clear(s.ran)
		clear(s.ended)
		s.cancelAt = 0
		rep = run(t.Context())
		for _, r := range rep.Results {
			if r.Node.leavesResult() && r.State != StateDone && r.State != StateReused {
				rt.Errorf("%s: %s after everything works: %v", r.Node.ID, r.State, r.Err)
			}
			if done[r.Node.ID] && r.State != StateReused {
				rt.Errorf("%s was done already and is %s", r.Node.ID, r.State)
			}
		}
		p, err := Make(g, store, PlanOptions{Now: time.Now()})
		if err != nil {
			rt.Fatal(err)
		}
		if p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
			rt.Errorf("still to do:\n%s", decisions(p))
		}
	})
}
