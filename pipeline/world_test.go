package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// world is what the work of the tests' graphs happens in: what it is told to
// do, and what it did.
type world struct {
	t     *testing.T
	store *cache.Store
	dir   string
	run   string // folder of the last execution
	now   time.Time

	mu      sync.Mutex
	ran     []string                     // IDs of nodes whose work began, in order
	up      map[string]int               // service -> handles not stopped
	starts  map[string]int               // service -> how often it was started
	stops   map[string]int               // service -> how often its handle was stopped
	fails   map[string]error             // node or "stop "+node or "check "+node -> error
	panics  map[string]bool              // node
	env     map[string]map[string]string // service -> environment
	facts   map[string]float64           // load -> schedule_kept; 1 if not named
	counter int                          // makes every measurement another
	during  func(ctx context.Context, id string)
}

func newWorld(t *testing.T) *world {
	dir := tempDir(t)
	s, err := cache.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &world{
		t: t, store: s, dir: dir, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		up: make(map[string]int), starts: make(map[string]int), stops: make(map[string]int),
		fails: make(map[string]error), panics: make(map[string]bool),
		env: make(map[string]map[string]string), facts: make(map[string]float64),
	}
}

// tempDir is a folder in memory where the machine has one: a sync on a disk
// takes milliseconds, and these tests do thousands.
func tempDir(t testing.TB) string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "vbp-test-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

func (w *world) begin(ctx context.Context, id string) error {
	w.mu.Lock()
	w.ran = append(w.ran, id)
	err, bad := w.fails[id], w.panics[id]
	during := w.during
	w.mu.Unlock()
	if during != nil {
		during(ctx, id)
	}
	if bad {
		panic("a bug in " + id)
	}
	return errors.Join(err, ctx.Err())
}

// work writes one file: for a measurement something new each time, for a pure
// node what its needs wrote and its input.
func (w *world) work(id string, kind Kind, text string) func(context.Context, Input, *Runtime) error {
	return func(ctx context.Context, _ Input, rt *Runtime) error {
		if err := w.begin(ctx, id); err != nil || kind == Effect {
			return err
		}
		var b strings.Builder
		b.WriteString(text)
		if kind == Measurement {
			w.mu.Lock()
			w.counter++
			fmt.Fprint(&b, " measured ", w.counter)
			kept, ok := w.facts[id]
			w.mu.Unlock()
			if !ok {
				kept = 1
			}
			r := Record{Facts: map[string]float64{"schedule_kept": kept}}
			if rt.Service != nil {
				r.Environment = rt.Service.Environment()
			}
			rt.Keep(r)
		}
		for _, need := range slices.Sorted(maps.Keys(rt.Needs)) {
			data, err := os.ReadFile(filepath.Join(rt.Needs[need], "out"))
			if kind == Pure && err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n%s: %s", need, data)
		}
		return os.WriteFile(filepath.Join(rt.Dir, "out"), []byte(b.String()), 0o644)
	}
}

// handle is a running service of a world.
type handle struct {
	w    *world
	node string
	env  map[string]string
}

func (h *handle) Environment() map[string]string { return h.env }

func (h *handle) Check(context.Context) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.w.fails["check "+h.node]
}

func (h *handle) Stop(context.Context) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.up[h.node]--
	h.w.stops[h.node]++
	return h.w.fails["stop "+h.node]
}

func (w *world) start(id string) func(context.Context, Input, *Runtime) (Handle, error) {
	return func(ctx context.Context, _ Input, rt *Runtime) (Handle, error) {
		if err := w.begin(ctx, id); err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.up[id]++
		w.starts[id]++
		return &handle{w, id, w.env[id]}, nil
	}
}

func judgeKept(r Record) Verdict {
	if kept := r.Facts["schedule_kept"]; kept <= 0.97 {
		return Verdict{Reason: fmt.Sprintf("schedule_kept > 0.97 (is %g)", kept)}
	}
	return Verdict{Usable: true}
}

// experiment is a small one: each mode is deployed, warmed up and loaded at
// each rate; what comes out is collected, analyzed and plotted.
type experiment struct {
	modes   []string
	rates   []int
	slo     string
	color   string
	code    string // of collect, for whose output it makes no difference
	perLoad bool   // a reset before each load, besides the warm-up
}

func (w *world) graph(e experiment) *Graph {
	g := &Graph{Scope: "test", Capacity: map[string]int{"gpu": 1}}
	add := func(n *Node, input any) string {
		in, err := NewInput(input)
		if err != nil {
			w.t.Fatal(err)
		}
		n.Input = in
		if err := g.Add(n); err != nil {
			w.t.Fatal(err)
		}
		return n.ID
	}
	var loads []string
	for _, m := range e.modes {
		deploy := "deploy " + m
		add(&Node{ID: deploy, Stage: "deploy", Kind: Service, Start: w.start(deploy), Uses: map[string]int{"gpu": 1}}, m)
		warm := "warmup " + m
		add(&Node{ID: warm, Stage: "warmup", Kind: Effect, Needs: []string{deploy}, Work: w.work(warm, Effect, "")}, m)
		for _, r := range e.rates {
			id, needs := fmt.Sprintf("load %s %d", m, r), []string{warm}
			if e.perLoad {
				reset := fmt.Sprintf("reset %s %d", m, r)
				needs = append(needs, add(&Node{ID: reset, Stage: "reset", Kind: Effect, Needs: []string{deploy}, Work: w.work(reset, Effect, "")}, r))
			}
			loads = append(loads, add(&Node{
				ID: id, Stage: "load", Kind: Measurement, Needs: needs, Judge: judgeKept,
				Work: w.work(id, Measurement, id), Uses: map[string]int{"load on " + m: 1}, Place: id,
			}, map[string]any{"mode": m, "qps": r}))
		}
	}
	add(&Node{ID: "collect", Stage: "collect", Kind: Pure, Needs: loads, Tolerant: true, Work: w.work("collect", Pure, "")}, map[string]any{"code": e.code})
	add(
		&Node{ID: "analyze", Stage: "analyze", Kind: Pure, Needs: []string{"collect"}, Work: w.work("analyze", Pure, e.slo), Place: "."},
		map[string]any{"slo": map[string]any{"ttft": "125ms", "tpot": e.slo}},
	)
	add(
		&Node{ID: "plot", Stage: "plot", Kind: Pure, Needs: []string{"analyze"}, Work: w.work("plot", Pure, e.color), Place: "plots"},
		map[string]any{"color": e.color},
	)
	return g
}

func small() experiment {
	return experiment{modes: []string{"simple"}, rates: []int{1, 2}, slo: "200ms", color: "red", code: "1"}
}

func (w *world) plan(g *Graph) *Plan {
	w.t.Helper()
	p, err := Make(g, w.store, PlanOptions{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// apply plans and executes, and forgets what ran before.
func (w *world) apply(g *Graph) *Report {
	w.t.Helper()
	rep, err := w.execute(context.Background(), w.plan(g))
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

func (w *world) execute(ctx context.Context, p *Plan) (*Report, error) {
	w.t.Helper()
	w.mu.Lock()
	w.ran = nil
	w.mu.Unlock()
	dir, err := os.MkdirTemp(w.dir, "run-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.run = dir
	j, err := history.Create(filepath.Join(dir, history.FileName))
	if err != nil {
		w.t.Fatal(err)
	}
	rep, err := Execute(ctx, p, ExecuteOptions{
		Store: w.store, Journal: j, RunDir: dir, Workers: 2, Now: func() time.Time { return w.now },
	})
	if err := j.Close(); err != nil {
		w.t.Error(err)
	}
	w.allStopped()
	return rep, err
}

// allStopped checks that every service that was started was stopped once.
func (w *world) allStopped() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, n := range w.starts {
		if w.stops[id] != n || w.up[id] != 0 {
			w.t.Errorf("%s was started %d times and stopped %d times", id, n, w.stops[id])
		}
	}
}

// didRun is what ran since the last apply, in order.
func (w *world) didRun() string { return strings.Join(w.ran, ", ") }

func (w *world) wantRan(want ...string) {
	w.t.Helper()
	if got := w.didRun(); got != strings.Join(want, ", ") {
		w.t.Errorf("ran: %s\nwant: %s", got, strings.Join(want, ", "))
	}
}

// decisions prints a plan, a line a node.
func decisions(p *Plan) string {
	var b strings.Builder
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s %s: %s\n", d.Action, d.Node.ID, d.Why)
	}
	return b.String()
}

func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	if want := strings.Join(want, "\n") + "\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
