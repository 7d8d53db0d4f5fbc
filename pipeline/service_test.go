package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func two() experiment {
	e := small()
	e.modes = []string{"simple", "nixl"}
	return e
}

// However its loads end, a service is stopped once (execute checks that), and
// of two services on one GPU only one is up.
func TestServiceLifetime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		setup func(w *world, cancel func())
		state map[string]State
		says  string // error of load simple 1
	}{
		{"success", func(*world, func()) {}, map[string]State{"load simple 2": StateDone, "load nixl 2": StateDone}, ""},
		{
			"failing load",
			func(w *world, _ func()) { w.fails["load simple 1"] = errors.New("no") },
			map[string]State{"load simple 1": StateFailed, "load simple 2": StateDone, "load nixl 2": StateDone},
			"no",
		},
		{
			"failing warm-up",
			func(w *world, _ func()) { w.fails["warmup simple"] = errors.New("no") },
			map[string]State{"load simple 1": StateSkipped, "load nixl 2": StateDone},
			"warmup simple failed: no",
		},
		{
			"panic",
			func(w *world, _ func()) { w.panics["load simple 1"] = true },
			map[string]State{"load simple 1": StateFailed, "load simple 2": StateDone, "load nixl 2": StateDone},
			"internal error: a bug in load simple 1",
		},
		{
			"panic in start",
			func(w *world, _ func()) { w.panics["deploy simple"] = true },
			map[string]State{"load simple 1": StateSkipped, "load nixl 2": StateDone},
			"deploy simple failed: internal error: a bug",
		},
		{
			"dead server",
			func(w *world, _ func()) { w.fails["check deploy simple"] = errors.New("exit status 1") },
			map[string]State{"load simple 1": StateFailed, "load simple 2": StateFailed, "load nixl 2": StateDone},
			"exit status 1",
		},
		{
			"interrupted load",
			func(w *world, cancel func()) {
				w.during = func(_ context.Context, id string) {
					if id == "load simple 1" {
						cancel()
					}
				}
			},
			map[string]State{"load simple 1": StateStopped, "load simple 2": StateStopped, "load nixl 2": StateStopped, "collect": StateStopped},
			"context canceled",
		},
		{
			"interrupted start",
			func(w *world, cancel func()) {
				w.during = func(ctx context.Context, id string) {
					if id == "deploy simple" {
						cancel()
						<-ctx.Done()
					}
				}
			},
			map[string]State{"deploy simple": StateStopped, "load simple 1": StateStopped},
			"",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tc.setup(w, cancel)
			most := 0
			inner := w.during
			w.during = func(ctx context.Context, id string) {
				w.mu.Lock()
				up := 0
				for _, n := range w.up {
					up += n
				}
				most = max(most, up)
				w.mu.Unlock()
				if inner != nil {
					inner(ctx, id)
				}
			}
			rep, err := w.execute(ctx, w.plan(w.graph(two())))
			if err != nil {
				t.Fatal(err)
			}
			for id, want := range tc.state {
				if got := rep.Result(id).State; got != want {
					t.Errorf("%s: %s, want %s", id, got, want)
				}
			}
			if r := rep.Result("load simple 1"); tc.says != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), tc.says)) {
				t.Errorf("load simple 1: %v, want %s", r.Err, tc.says)
			}
			if most > 1 {
				t.Errorf("%d services were up at once", most)
			}
			if rep.Interrupted != (ctx.Err() != nil) {
				t.Errorf("interrupted: %v", rep.Interrupted)
			}
		})
	}
}

// The loads that an interruption did not reach are kept.
func TestInterruptedApplyGoesOn(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.during = func(_ context.Context, id string) {
		if id == "load simple 2" {
			cancel()
		}
	}
	g := w.graph(two())
	if rep, err := w.execute(ctx, w.plan(g)); err != nil || !rep.Interrupted {
		t.Fatal(rep, err)
	}
	w.during = nil
	w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 2", "deploy nixl", "warmup nixl", "load nixl 1", "load nixl 2", "collect", "analyze", "plot")
}

// stub is a Handle whose methods are given.
type stub struct {
	env  func() map[string]string
	stop func(context.Context) error
}

func (s stub) Environment() map[string]string { return s.env() }
func (s stub) Check(context.Context) error    { return nil }
func (s stub) Stop(ctx context.Context) error { return s.stop(ctx) }

// served is a graph of one service with one load on it.
func served(t *testing.T, w *world, start func() (Handle, error)) *Plan {
	t.Helper()
	g := &Graph{}
	for _, n := range []*Node{
		{ID: "deploy", Kind: Service, Start: func(context.Context, Input, *Runtime) (Handle, error) { return start() }},
		{ID: "load", Kind: Measurement, Needs: []string{"deploy"}, Work: w.work("load", Measurement, "")},
	} {
		n.Input, _ = NewInput(n.ID)
		if err := g.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	return w.plan(g)
}

// A start that breaks its contract leaves nothing running.
func TestOddStarts(t *testing.T) {
	none := func() map[string]string { return nil }
	for _, tc := range []struct {
		name  string
		start func(s stub) (Handle, error)
		stops int
		says  string
	}{
		{"nothing", func(stub) (Handle, error) { return nil, nil }, 0, "its start returned nothing that could be stopped"},
		{"a handle and an error", func(s stub) (Handle, error) { return s, errors.New("half up") }, 1, "half up"},
		{"a panic afterwards", func(s stub) (Handle, error) {
			s.env = func() map[string]string { panic("no environment") }
			return s, nil
		}, 1, "internal error: no environment"},
	} {
		w := newWorld(t)
		stops := 0
		s := stub{none, func(context.Context) error { stops++; return nil }}
		rep, err := w.execute(t.Context(), served(t, w, func() (Handle, error) { return tc.start(s) }))
		if err != nil {
			t.Fatal(err)
		}
		if r := rep.Result("deploy"); r.State != StateFailed || !strings.Contains(r.Err.Error(), tc.says) {
			t.Errorf("%s: %s, %v", tc.name, r.State, r.Err)
		}
		if stops != tc.stops || rep.Result("load").State != StateSkipped {
			t.Errorf("%s: stopped %d times, want %d; load %s", tc.name, stops, tc.stops, rep.Result("load").State)
		}
	}
}

// A service that does not stop in time ends the execution: what it holds may
// not be given to others. What was measured on it is kept.
func TestServiceThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := served(t, w, func() (Handle, error) {
			return stub{
				func() map[string]string { return nil },
				func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			}, nil
		})
		begun := time.Now()
		rep, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, Now: time.Now, StopTimeout: time.Minute})
		if err == nil || err.Error() != "deploy did not stop: context deadline exceeded" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("took %s", took)
		}
		if rep.Interrupted || rep.Result("load").State != StateDone {
			t.Errorf("interrupted %v; load %s", rep.Interrupted, rep.Result("load").State)
		}
	})
}

// Events tell how long a start and a service took, and come one at a time.
func TestServiceEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := served(t, w, func() (Handle, error) {
			time.Sleep(3 * time.Second)
			return stub{func() map[string]string { return nil }, func(context.Context) error { return nil }}, nil
		})
		w.during = func(context.Context, string) { time.Sleep(5 * time.Second) }
		var got []string
		var busy sync.Mutex
		_, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, Now: time.Now, Emit: func(e Event) {
			if !busy.TryLock() {
				t.Error("two events at once")
			}
			defer busy.Unlock()
			got = append(got, fmt.Sprintf("%s %s %s", e.Kind, e.Node.ID, e.Took))
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := "began deploy 0s, started deploy 3s, began load 0s, done load 5s, stopped deploy 5s"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("got  %s\nwant %s", s, want)
		}
	})
}

// A service whose measurements wait for another that needs what it holds:
// nothing could go on, so the other fails and says why.
func TestDeadlockIsAnError(t *testing.T) {
	w := newWorld(t)
	g := &Graph{}
	gpu := map[string]int{"gpu": 1}
	for _, n := range []*Node{
		{ID: "deploy a", Kind: Service, Start: w.start("deploy a"), Uses: gpu},
		{ID: "deploy b", Kind: Service, Start: w.start("deploy b"), Uses: gpu},
		{ID: "load b", Kind: Measurement, Needs: []string{"deploy b"}, Work: w.work("load b", Measurement, "")},
		{ID: "warmup a", Kind: Effect, Needs: []string{"deploy a", "load b"}, Work: w.work("warmup a", Effect, "")},
		{ID: "load a", Kind: Measurement, Needs: []string{"warmup a"}, Work: w.work("load a", Measurement, "")},
		{ID: "innocent", Kind: Pure, Uses: gpu, Work: w.work("innocent", Pure, "")},
	} {
		n.Input, _ = NewInput(n.ID)
		if err := g.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	rep := w.apply(g)
	want := "waits for what deploy a holds, whose measurements wait for this node; let them not need it"
	if r := rep.Result("deploy b"); r.State != StateFailed || r.Err.Error() != want {
		t.Errorf("%s: %v", r.State, r.Err)
	}
	if r := rep.Result("load a"); r.State != StateSkipped {
		t.Errorf("load a: %s", r.State)
	}
	if r := rep.Result("innocent"); r.State != StateDone {
		t.Errorf("innocent: %s", r.State)
	}
}
