package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// When the time is up nothing is begun that measures; what is measured then is
// evaluated, and the next execution goes on.
func TestDeadline(t *testing.T) {
	w := newWorld(t)
	begun := w.now
	w.during = func(_ context.Context, id string) {
		if id == "load simple 1" {
			w.now = begun.Add(3 * time.Hour)
		}
	}
	e := two()
	g := w.forgiving(e, 0, 3)
	w.facts["load simple 1"] = 0.5
	limited := func() *Report {
		t.Helper()
		w.mu.Lock()
		w.ran = nil
		w.mu.Unlock()
		rep, err := Execute(t.Context(), w.plan(g), ExecuteOptions{
			Store: w.store, Now: func() time.Time { return w.now }, Deadline: begun.Add(3 * time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.allStopped()
		return rep
	}
	rep := limited()
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "collect", "analyze", "plot")
	if !rep.OutOfBudget || rep.Interrupted {
		t.Errorf("out of budget %v, interrupted %v", rep.OutOfBudget, rep.Interrupted)
	}
	for _, id := range []string{"load simple 2", "deploy nixl", "load nixl 1", "load nixl 2"} {
		if r := rep.Result(id); !r.OutOfBudget() {
			t.Errorf("%s: %s, %v", id, r.State, r.Err)
		}
	}
	if r := rep.Result("load simple 1"); r.State != StateDone || r.Attempts != (Attempts{1, 1}) {
		t.Errorf("it is not tried again: %s, %+v", r.State, r.Attempts)
	}
	// With no time at all, nothing is begun, and nothing lost.
	rep = limited()
	w.wantRan()
	if !rep.OutOfBudget || rep.Result("collect").State != StateReused && rep.Result("collect").State != StateSkipped {
		t.Errorf("collect: %s", rep.Result("collect").State)
	}
	delete(w.facts, "load simple 1")
	w.during = nil
	rep = w.apply(g)
	if w.didRun() != "deploy simple, warmup simple, load simple 1, load simple 2, deploy nixl, warmup nixl, load nixl 1, load nixl 2, collect, analyze, plot" || rep.OutOfBudget {
		t.Errorf("ran %s", w.didRun())
	}
}

// A lease that is waited for ends with the time.
func TestDeadlineEndsLease(t *testing.T) {
	w := newWorld(t)
	rep, err := Execute(t.Context(), w.plan(w.graph(small())), ExecuteOptions{
		Store: w.store, Deadline: time.Now().Add(time.Millisecond),
		Lease: func(ctx context.Context, _ *Node, _ func(string)) (map[string][]string, func() error, error) {
			<-ctx.Done()
			return nil, nil, context.Cause(ctx)
		},
	})
	if err != nil || !rep.OutOfBudget || !rep.Result("load simple 1").OutOfBudget() {
		t.Errorf("%v, %+v", err, rep.Result("deploy simple"))
	}
}

// Once something failed, nothing that measures begins, if that is the wish.
func TestFailFast(t *testing.T) {
	w := newWorld(t)
	w.fails["load simple 1"] = errors.New("no route")
	rep, err := Execute(t.Context(), w.plan(w.graph(two())), ExecuteOptions{Store: w.store, FailFast: true})
	if err != nil {
		t.Fatal(err)
	}
	w.wantRan("deploy simple", "warmup simple", "load simple 1")
	if r := rep.Result("load nixl 2"); r.State != StateSkipped || r.Err.Error() != "not begun, for load simple 1 failed: no route" {
		t.Errorf("%s: %v", r.State, r.Err)
	}
	w.allStopped()
}

// What could not be started is not started again where an equal service comes
// later, unless that is the wish.
func TestStartedInVain(t *testing.T) {
	for _, again := range []bool{false, true} {
		w := newWorld(t)
		w.fails["deploy simple"] = errors.New("no such model")
		g := w.graph(two())
		first, second := g.Node("deploy simple"), g.Node("deploy nixl")
		second.Input = first.Input
		rep, err := Execute(t.Context(), w.plan(g), ExecuteOptions{Store: w.store, RetryStarts: again})
		if err != nil {
			t.Fatal(err)
		}
		r := rep.Result("load nixl 1")
		if again && r.State != StateDone || !again && (r.State != StateSkipped || r.Err.Error() != "deploy simple failed: no such model") {
			t.Errorf("again %v: %s, %v", again, r.State, r.Err)
		}
	}
}

// Only what is chosen runs, with the services that it needs.
func TestOnly(t *testing.T) {
	for _, tc := range []struct {
		only string // stages
		done bool   // all was done before
		ran  string
		left string // a node that is left out, and why
	}{
		{"load", false, "deploy simple, warmup simple, load simple 1, load simple 2", "collect: left out, as asked for (waits for load simple 1 and 1 more)"},
		{"load collect", false, "deploy simple, warmup simple, load simple 1, load simple 2, collect", "analyze: left out, as asked for (waits for collect)"},
		{"collect", false, "", "collect: needs load simple 1, which is left out"},
		{"deploy", false, "deploy simple", "load simple 1: left out, as asked for (not done yet)"},
		{"warmup", true, "deploy simple, warmup simple", ""},
		{"plot", true, "", ""},
	} {
		w := newWorld(t)
		g := w.graph(small())
		if tc.done {
			w.apply(g)
		}
		p, err := Make(g, w.store, PlanOptions{Now: w.now, Only: func(n *Node) bool { return strings.Contains(tc.only, n.Stage) }})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := w.execute(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if w.didRun() != tc.ran {
			t.Errorf("only %s: ran %s", tc.only, w.didRun())
		}
		id, why, _ := strings.Cut(tc.left, ": ")
		if r := rep.Result(id); tc.left != "" && (r.State != StateLeft || r.Err.Error() != why) {
			t.Errorf("only %s: %s is %s: %v", tc.only, id, r.State, r.Err)
		}
		w.apply(g) // the rest can be done
		if p := w.plan(g); p.Todo() != 0 {
			t.Errorf("still to do:\n%s", decisions(p))
		}
	}
}

// What waits for others does not wait on once nothing is to begin any more.
func TestHaltEndsWaiting(t *testing.T) {
	w := newWorld(t)
	w.fails["load simple 1"] = errors.New("no route")
	g := w.graph(two())
	for _, n := range g.Nodes {
		n.Uses = nil // both services at a time
	}
	waiting := make(chan struct{})
	w.during = func(_ context.Context, id string) {
		if id == "load simple 1" {
			<-waiting
		}
	}
	rep, err := Execute(t.Context(), w.plan(g), ExecuteOptions{
		Store: w.store, FailFast: true,
		Lease: func(ctx context.Context, n *Node, _ func(string)) (map[string][]string, func() error, error) {
			if n.ID == "deploy nixl" {
				close(waiting)
				<-ctx.Done()
				return nil, nil, context.Cause(ctx)
			}
			return nil, nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := rep.Result("deploy nixl"); r.State != StateSkipped || !strings.HasPrefix(r.Err.Error(), "not begun, for load simple 1 failed") {
		t.Errorf("%s: %v", r.State, r.Err)
	}
	w.allStopped()
}

// A key that another process holds is not waited for beyond the deadline.
func TestDeadlineEndsTurn(t *testing.T) {
	w := newWorld(t)
	g := w.graph(small())
	p := w.plan(g)
	lock, err := w.store.LockKey(t.Context(), p.Decisions[g.index["load simple 1"]].Key, "measure it", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	rep, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, Deadline: time.Now().Add(100 * time.Millisecond)})
	if err != nil || !rep.OutOfBudget || !rep.Result("load simple 1").OutOfBudget() || !rep.Result("load simple 2").OutOfBudget() {
		t.Errorf("%v, %+v", err, rep.Result("load simple 1"))
	}
	w.allStopped()
}

// What a service that was only to be looked at shows starts no measurement
// that is left out.
func TestOnlyWithAnotherEnvironment(t *testing.T) {
	w := newWorld(t)
	w.env["deploy simple"] = map[string]string{"engine_version": "1"}
	g := w.graph(small())
	w.apply(g)
	w.env["deploy simple"] = map[string]string{"engine_version": "2"}
	p, err := Make(g, w.store, PlanOptions{Now: w.now, Only: func(n *Node) bool { return n.Stage == "deploy" }, CheckEnvironment: true})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := w.execute(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	w.wantRan("deploy simple")
	if r := rep.Result("load simple 1"); r.State != StateLeft || !strings.Contains(r.Err.Error(), "left out, as asked for (the environment differs: engine_version: 1 -> 2)") {
		t.Errorf("%s: %v", r.State, r.Err)
	}
}
