package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
)

// attempts is how often measurements keep to the schedule: one value for each
// attempt at a node.
func (w *world) attempts(kept map[string][]float64) {
	n := make(map[string]int)
	w.during = func(_ context.Context, id string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if v := kept[id]; len(v) > 0 {
			w.facts[id] = v[min(n[id], len(v)-1)]
			n[id]++
		}
	}
}

// A measurement that is not usable is tried again after the others, as often
// as it may; all attempts are kept, the first usable one is shown, and what is
// made of it is told how many there were.
func TestRetry(t *testing.T) {
	w := newWorld(t)
	w.attempts(map[string][]float64{"load simple 1": {0.5, 0.6, 1}, "load simple 2": {0.5}})
	g := w.forgiving(three(), 0, 2)
	var told map[string]Attempts
	collect := g.Node("collect")
	inner := collect.Work
	collect.Work = func(ctx context.Context, in Input, rt *Runtime) error {
		told = rt.Attempts
		return inner(ctx, in, rt)
	}
	rep := w.apply(g)
	w.wantRan("deploy simple", "warmup simple",
		"load simple 1", "load simple 2", "load simple 3", "load simple 1", "load simple 2", "load simple 1", "load simple 2",
		"collect", "analyze", "plot")
	for id, want := range map[string]Attempts{"load simple 1": {3, 2}, "load simple 2": {3, 3}, "load simple 3": {1, 0}} {
		r := rep.Result(id)
		if r.State != StateDone || r.Attempts != want || told[id] != want || r.Verdict.Usable != (want.Rejected < want.Total) {
			t.Errorf("%s: %s, %+v, told %+v, %+v; want %+v", id, r.State, r.Attempts, told[id], r.Verdict, want)
		}
		if all, err := w.store.Find(r.Artefact.Key); err != nil || len(all) != want.Total {
			t.Errorf("%s: %d attempts are kept, %v", id, len(all), err)
		}
	}

	// Another apply counts the same, and tries only what is not usable.
	w.during = nil
	delete(w.facts, "load simple 2")
	rep = w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 2", "collect", "analyze", "plot")
	if got := rep.Result("load simple 2").Attempts; got != (Attempts{4, 3}) {
		t.Errorf("%+v", got)
	}
	if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("still to do:\n%s", decisions(p))
	}
}

// What fails is tried again too, and what fails for good is an error.
func TestRetryOfFailures(t *testing.T) {
	w := newWorld(t)
	n := 0
	w.during = func(_ context.Context, id string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if id == "load simple 1" {
			if n++; n == 1 {
				delete(w.fails, id) // after it was seen
			}
		}
	}
	w.fails["load simple 1"], w.panics["load simple 2"] = errors.New("no route"), true
	rep := w.apply(w.forgiving(small(), 0, 1))
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "load simple 2", "load simple 1", "load simple 2", "collect", "analyze", "plot")
	if r := rep.Result("load simple 1"); r.State != StateDone || r.Why != "again, for it failed: no route" {
		t.Errorf("%s: %s, %v", r.State, r.Why, r.Err)
	}
	if r := rep.Result("load simple 2"); r.State != StateFailed || !strings.Contains(r.Err.Error(), "a bug in load simple 2") {
		t.Errorf("%s: %v", r.State, r.Err)
	}
}

// What is made again by wish replaces what was shown, if it is usable; if not,
// the earlier one is shown again, and both are counted.
func TestRerun(t *testing.T) {
	w := newWorld(t)
	g := w.forgiving(small(), 0, 0)
	first := w.apply(g)
	rerun := func(id string, kept float64) *Report {
		t.Helper()
		w.facts[id] = kept
		p, err := Make(g, w.store, PlanOptions{Now: w.now, Rerun: func(n *Node) bool { return n.ID == id }})
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Decisions[g.index[id]]; d.Action != Run || d.Why != "to be made again, as asked for" {
			t.Errorf("%s: %s, %s", id, d.Action, d.Why)
		}
		w.now = w.now.Add(time.Minute)
		rep, err := w.execute(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	const id = "load simple 2"
	rep := rerun(id, 0.5)
	w.wantRan("deploy simple", "warmup simple", id, "collect") // which says the same as before
	if r := rep.Result(id); r.State != StateReused || r.Artefact.Attempt != first.Result(id).Artefact.Attempt || r.Attempts != (Attempts{2, 1}) {
		t.Errorf("not usable: %s %s, %+v", r.State, r.Artefact.Attempt, r.Attempts)
	}
	if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("still to do:\n%s", decisions(p))
	}
	rep = rerun(id, 1)
	if r := rep.Result(id); r.State != StateDone || r.Attempts != (Attempts{3, 1}) {
		t.Errorf("usable: %s, %+v", r.State, r.Attempts)
	}
	if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("still to do:\n%s", decisions(p))
	}
	// A pure node makes the same again, or replaces what it made.
	rerun("collect", 1)
	w.wantRan("collect")
	was := rep.Result("analyze").Artefact.Digest
	g.Node("analyze").Work = func(_ context.Context, _ Input, rt *Runtime) error {
		return os.WriteFile(filepath.Join(rt.Dir, "out"), []byte("another"), 0o644)
	}
	rep = rerun("analyze", 1)
	w.wantRan("plot") // analyze's own work does not tell
	if is := rep.Result("analyze").Artefact.Digest; is == was {
		t.Error("the new analysis was not kept")
	}
	if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("still to do:\n%s", decisions(p))
	}
}

// A measurement that is too old is measured again.
func TestMaxAge(t *testing.T) {
	w := newWorld(t)
	g := w.graph(small())
	for _, n := range g.Nodes {
		n.MaxAge = 48 * time.Hour
	}
	w.apply(g)
	w.now = w.now.Add(48 * time.Hour)
	if p := w.plan(g); p.Todo() != 0 {
		t.Errorf("at that age:\n%s", decisions(p))
	}
	w.now = w.now.Add(time.Second)
	d := w.plan(g).Decisions[g.index["load simple 1"]]
	if d.Action != Run || d.Why != "measured 2 days ago, and only what is younger than 2d is reused" {
		t.Errorf("%s: %s", d.Action, d.Why)
	}
	rep := w.apply(g)
	if r := rep.Result("load simple 1"); r.State != StateDone || r.Attempts != (Attempts{2, 0}) {
		t.Errorf("%s: %+v", r.State, r.Attempts)
	}
}

// What another process has measured since the plan is not measured again:
// before the service starts, or while the measurement waits for its turn.
func TestMeasuredMeanwhile(t *testing.T) {
	for _, when := range []string{"before the lease", "while a point runs"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			g := w.graph(small())
			p := w.plan(g)
			other, err := bareWorld(w.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer other.store.Close()
			other.t, other.now, other.fails, other.env = t, w.now, w.fails, w.env
			o := ExecuteOptions{Store: w.store, Now: func() time.Time { return w.now }}
			meanwhile := func() {
				g := other.graph(small())
				g.Scope = "other"
				other.apply(g)
			}
			if when == "before the lease" {
				o.Lease = func(context.Context, *Node, func(string)) (map[string][]string, func() error, error) {
					meanwhile()
					return nil, nil, nil
				}
			} else {
				w.during = func(_ context.Context, id string) {
					if id == "warmup simple" {
						meanwhile()
					}
				}
			}
			rep, err := Execute(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			if when == "before the lease" {
				w.wantRan() // what they make of it was made by the other as well
			} else {
				w.wantRan("deploy simple", "warmup simple")
			}
			for _, id := range []string{"load simple 1", "load simple 2"} {
				if r := rep.Result(id); r.State != StateReused || r.Attempts.Total != 1 {
					t.Errorf("%s: %s, %s, %+v", id, r.State, r.Why, r.Attempts)
				}
			}
			if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
				t.Errorf("still to do:\n%s", decisions(p))
			}
		})
	}
}

// A key that another process holds is waited for.
func TestMeasuredByTurns(t *testing.T) {
	w := newWorld(t)
	g := w.graph(small())
	p := w.plan(g)
	lock, err := w.store.LockKey(t.Context(), p.Decisions[g.index["load simple 2"]].Key, "measure it", nil)
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	rep, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, Now: func() time.Time { return w.now }, Emit: func(e Event) {
		if strings.HasPrefix(e.Text, "waiting: process ") && strings.HasSuffix(e.Text, " measures the same") {
			waited = true
			if err := lock.Release(); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil || !waited || rep.Result("load simple 2").State != StateDone {
		t.Errorf("waited: %v, then %s; %v", waited, rep.Result("load simple 2").State, err)
	}
}

// A retry that comes to nothing does not take the attempt before it away.
func TestRetryInVain(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(w *world)
		o    func(o *ExecuteOptions)
		err  string // of the journal
	}{
		{"it fails", func(w *world) { w.fails["load simple 1"] = errors.New("no route") }, nil, "no route"},
		{"its service is dead", func(w *world) { w.fails["check deploy simple"] = errors.New("it died") }, nil, "deploy simple no longer works: it died"},
		{"its service does not come back", func(w *world) {
			w.fails["check deploy simple"], w.panics["deploy simple"] = errors.New("it died"), true
		}, nil, "could not be started again"},
		{"the time is up", func(w *world) { w.now = w.now.Add(time.Hour) }, func(o *ExecuteOptions) { o.Deadline = o.Now().Add(time.Minute) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			restarts := 0
			if strings.Contains(tc.name, "come back") {
				restarts = 1
			}
			w.facts["load simple 1"] = 0.5
			g := w.forgiving(small(), restarts, 1)
			w.during = func(_ context.Context, id string) {
				if id == "load simple 2" { // after the first attempt, and before the second
					w.mu.Lock()
					defer w.mu.Unlock()
					tc.harm(w)
				}
			}
			j, err := history.Create(filepath.Join(w.dir, history.FileName))
			if err != nil {
				t.Fatal(err)
			}
			o := ExecuteOptions{Store: w.store, Journal: j, Now: func() time.Time { return w.now }}
			if tc.o != nil {
				tc.o(&o)
			}
			rep, err := Execute(t.Context(), w.plan(g), o)
			if err != nil {
				t.Fatal(err)
			}
			r := rep.Result("load simple 1")
			if r.State != StateDone || r.Artefact == nil || r.Verdict.Usable || r.Attempts != (Attempts{1, 1}) {
				t.Errorf("%s: %v, %+v, %+v", r.State, r.Err, r.Verdict, r.Attempts)
			}
			records, _, err := history.Read(filepath.Join(w.dir, history.FileName))
			if err != nil {
				t.Fatal(err)
			}
			failed, last := "", ""
			for _, rec := range records {
				if rec.Node == "load simple 1" {
					last = rec.Kind
					failed += rec.Error
				}
			}
			if !strings.Contains(failed, tc.err) || last != history.NodeDone {
				t.Errorf("the journal tells of %q and ends with %s", failed, last)
			}
		})
	}
}
