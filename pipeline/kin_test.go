package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// blocks is a graph of one deployment in n blocks, each with a point of its
// own.
func (w *world) blocks(n int) *Graph {
	g := &Graph{Scope: "test", Capacity: map[string]int{"gpu": 1}}
	in, err := NewInput("the same")
	if err != nil {
		w.t.Fatal(err)
	}
	add := func(n *Node) {
		if err := g.Add(n); err != nil {
			w.t.Fatal(err)
		}
	}
	var loads []string
	for i := range n {
		deploy, warm, load := fmt.Sprint("deploy ", i), fmt.Sprint("warmup ", i), fmt.Sprint("load ", i)
		own, err := NewInput(i)
		if err != nil {
			w.t.Fatal(err)
		}
		add(&Node{ID: deploy, Stage: "deploy", Kind: Service, Input: in, Start: w.start(deploy), Uses: map[string]int{"gpu": 1}, Restarts: 1})
		add(&Node{ID: warm, Stage: "warmup", Kind: Effect, Input: in, Needs: []string{deploy}, Work: w.work(warm, Effect, "")})
		add(&Node{ID: load, Stage: "load", Kind: Measurement, Input: own, Needs: []string{warm}, Judge: judgeKept, Work: w.work(load, Measurement, load)})
		loads = append(loads, load)
	}
	add(&Node{ID: "collect", Stage: "collect", Kind: Pure, Input: in, Needs: loads, Tolerant: true, Work: w.work("collect", Pure, "")})
	return g
}

// all sets what every block's service shows.
func (w *world) all(version string) {
	for i := range 4 {
		w.env[fmt.Sprint("deploy ", i)] = map[string]string{"engine_version": version}
	}
}

// What one block's service shows holds for what was measured in others.
func TestKin(t *testing.T) {
	lease := func(context.Context, *Node, func(string)) (map[string][]string, func() error, error) {
		return nil, nil, nil
	}
	for _, tc := range []struct {
		version, ran string
		lease        Lease
	}{
		{"1", "deploy 2, warmup 2, load 2, collect", nil},
		{"2", "deploy 2, warmup 2, load 2, deploy 0, warmup 0, load 0, deploy 1, warmup 1, load 1, collect", nil},
		{"2", "deploy 2, warmup 2, load 2, deploy 0, warmup 0, load 0, deploy 1, warmup 1, load 1, collect", lease},
	} {
		w := newWorld(t)
		w.all("1")
		w.apply(w.blocks(2))
		w.all(tc.version)
		g := w.blocks(3)
		p := w.plan(g)
		if d := p.Decisions[g.index["load 0"]]; d.Action != Reuse || !strings.HasSuffix(d.Why, unlessEnvironment) {
			t.Errorf("%s: %s, %s", tc.version, d.Action, d.Why)
		}
		w.ran = nil
		rep, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, Now: func() time.Time { return w.now }, Lease: tc.lease})
		if err != nil {
			t.Fatal(err)
		}
		w.allStopped()
		w.wantRan(strings.Split(tc.ran, ", ")...)
		for i := range 3 {
			r := rep.Result(fmt.Sprint("load ", i))
			if rec, err := RecordOf(r.Artefact); err != nil || rec.Environment["engine_version"] != tc.version {
				t.Errorf("%s: load %d shows %+v", tc.version, i, rec)
			}
		}
		if p := w.plan(g); p.Todo() != 0 {
			t.Errorf("still to do:\n%s", decisions(p))
		}
	}
}

// Nothing is shown: what is reused is, and says that it was not checked.
func TestKinThatDoNotStart(t *testing.T) {
	w := newWorld(t)
	w.apply(w.blocks(1))
	w.fails["deploy 1"] = errors.New("no GPU")
	rep := w.apply(w.blocks(3))
	w.wantRan("deploy 1", "collect")
	if r := rep.Result("load 0"); r.State != StateReused || !strings.Contains(r.Why, "its environment was not checked") {
		t.Errorf("%s: %s", r.State, r.Why)
	}
	if r := rep.Result("deploy 0"); r.State != StateUnused {
		t.Errorf("deploy 0 is %s", r.State)
	}
}

// One run does not mix two servers.
func TestKinDiffer(t *testing.T) {
	w := newWorld(t)
	w.all("1")
	w.env["deploy 1"] = map[string]string{"engine_version": "2"}
	rep := w.apply(w.blocks(3))
	w.wantRan("deploy 0", "warmup 0", "load 0", "deploy 1", "deploy 2", "warmup 2", "load 2", "collect")
	if r := rep.Result("deploy 1"); r.State != StateFailed || r.Err.Error() != "it is another server than before in this run: engine_version: 1 -> 2" {
		t.Errorf("%s: %v", r.State, r.Err)
	}
}

// A service that could be started before is tried again, and one that fails
// then does not end the later blocks.
func TestKinStartAgain(t *testing.T) {
	for _, times := range []int{1, 2} {
		w := newWorld(t)
		starts := 0
		w.during = func(_ context.Context, id string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if id == "load 0" {
				w.fails["deploy 1"] = errors.New("its memory is not free yet")
			}
			if id == "deploy 1" {
				if starts++; starts == times {
					delete(w.fails, id)
				}
			}
		}
		rep := w.apply(w.blocks(3))
		want := "deploy 0, warmup 0, load 0, deploy 1, deploy 1, warmup 1, load 1, deploy 2, warmup 2, load 2, collect"
		if times == 2 {
			want = "deploy 0, warmup 0, load 0, deploy 1, deploy 1, deploy 2, warmup 2, load 2, collect"
		}
		w.wantRan(strings.Split(want, ", ")...)
		if r := rep.Result("load 1"); (r.State == StateDone) != (times == 1) {
			t.Errorf("fails %d times: load 1 is %s: %v", times, r.State, r.Err)
		}
	}
}
