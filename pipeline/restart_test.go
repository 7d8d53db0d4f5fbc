package pipeline

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"vbp/pipeline/history"
)

// sick lets the service of a small experiment fail its checks from the work of
// one node on, until it is started again.
func (w *world) sick(from string) {
	w.during = func(_ context.Context, id string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch id {
		case from:
			w.fails["check deploy simple"] = errors.New("it died\nof a cold")
		case "deploy simple":
			delete(w.fails, "check deploy simple")
		}
	}
}

// forgiving is the graph of e whose service may be started again and whose
// measurements may be tried again.
func (w *world) forgiving(e experiment, restarts, retries int) *Graph {
	g := w.graph(e)
	for _, n := range g.Nodes {
		n.Restarts, n.Retries = restarts, retries
	}
	return g
}

func three() experiment {
	e := small()
	e.rates = []int{1, 2, 3}
	return e
}

// A service that no longer works is started and warmed up again, and the rest
// is measured there.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.sick("load simple 1")
	g := w.forgiving(three(), 1, 0)
	var seen []int
	for _, n := range g.Nodes {
		if n.Kind == Measurement {
			inner := n.Work
			n.Work = func(ctx context.Context, in Input, rt *Runtime) error {
				seen = append(seen, rt.Restarts)
				return inner(ctx, in, rt)
			}
		}
	}
	rep := w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "deploy simple", "warmup simple", "load simple 2", "load simple 3", "collect", "analyze", "plot")
	for _, r := range rep.Results {
		if r.State != StateDone {
			t.Errorf("%s: %s, %v", r.Node.ID, r.State, r.Err)
		}
	}
	if len(seen) != 3 || seen[0] != 0 || seen[1] != 1 || seen[2] != 1 {
		t.Errorf("points were told of %v restarts", seen)
	}
	if p := w.plan(g); p.Todo() != 0 {
		t.Errorf("still to do:\n%s", decisions(p))
	}
	records, _, err := history.Read(filepath.Join(w.run, history.FileName))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, r := range records {
		if r.Kind == history.ServiceStarted || r.Kind == history.ServiceStopped {
			told = append(told, r.Kind+" "+r.Text)
		}
	}
	want := "service_started , service_stopped no longer works: it died, service_started again (1 of 1), service_stopped "
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("the journal tells: %s\nwant: %s", got, want)
	}
}

// What cannot be mended by as many restarts as there may be fails, and takes
// nothing with it that was measured.
func TestRestartInVain(t *testing.T) {
	for _, tc := range []struct {
		name     string
		restarts int
		harm     func(w *world)
		ran      string
		err      string // of load simple 2
	}{
		{"none allowed", 0, func(w *world) { w.sick("load simple 1") }, "deploy simple, warmup simple, load simple 1, collect, analyze, plot", "deploy simple no longer works: it died\nof a cold"},
		{"dies again", 1, func(w *world) {
			w.during = func(_ context.Context, id string) {
				if id == "load simple 1" {
					w.mu.Lock()
					w.fails["check deploy simple"] = errors.New("it died")
					w.mu.Unlock()
				}
			}
		}, "deploy simple, warmup simple, load simple 1, deploy simple, warmup simple, collect, analyze, plot", "deploy simple no longer works, and was started again once before: it died"},
		{"does not start", 2, func(w *world) {
			n := 0
			w.during = func(_ context.Context, id string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if id == "load simple 1" {
					w.fails["check deploy simple"] = errors.New("it died")
					w.panics["deploy simple"] = true
				}
				n++
			}
		}, "deploy simple, warmup simple, load simple 1, deploy simple, collect, analyze, plot", "deploy simple no longer works (it died), and could not be started again: internal error: a bug in deploy simple"},
		{"comes back as another", 2, func(w *world) {
			w.during = func(_ context.Context, id string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if id == "load simple 1" {
					w.fails["check deploy simple"] = errors.New("it died")
					w.env["deploy simple"] = map[string]string{"engine_version": "2"}
				}
			}
		}, "deploy simple, warmup simple, load simple 1, deploy simple, collect, analyze, plot", "could not be started again: it came back as another server: engine_version: none -> 2"},
		{"cannot be warmed up", 2, func(w *world) {
			w.during = func(_ context.Context, id string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if id == "load simple 1" {
					w.fails["check deploy simple"] = errors.New("it died")
					w.fails["warmup simple"] = errors.New("cold")
				}
			}
		}, "deploy simple, warmup simple, load simple 1, deploy simple, warmup simple, collect, analyze, plot", "could not be started again: warmup simple: cold"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.harm(w)
			rep := w.apply(w.forgiving(small(), tc.restarts, 0))
			w.wantRan(strings.Split(tc.ran, ", ")...)
			if r := rep.Result("load simple 2"); r.State != StateFailed || !strings.Contains(r.Err.Error(), tc.err) {
				t.Errorf("%s: %v\nwant %s", r.State, r.Err, tc.err)
			}
			if r := rep.Result("load simple 1"); r.State != StateDone {
				t.Errorf("what was measured before is %s: %v", r.State, r.Err)
			}
		})
	}
}

// An interrupt during a restart ends it, and leaves nothing up.
func TestRestartInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	starts := 0
	w.during = func(_ context.Context, id string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch id {
		case "load simple 1":
			w.fails["check deploy simple"] = errors.New("it died")
		case "deploy simple":
			if starts++; starts == 2 {
				cancel()
			}
		}
	}
	g := w.forgiving(small(), 1, 0)
	rep, err := w.execute(ctx, w.plan(g)) // checks that all is stopped
	if err != nil {
		t.Fatal(err)
	}
	if r := rep.Result("load simple 2"); !rep.Interrupted || r.State != StateStopped {
		t.Errorf("interrupted %v, load simple 2: %s, %v", rep.Interrupted, r.State, r.Err)
	}
}
