package pipeline

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
)

// A pure node that is made again and comes out the same leaves what reads it
// alone.
func TestEarlyCutOff(t *testing.T) {
	w := newWorld(t)
	w.apply(w.graph(small()))
	e := small()
	e.code = "2"
	rep := w.apply(w.graph(e))
	w.wantRan("collect")
	if r := rep.Result("analyze"); r.State != StateReused || r.Why != "same inputs" {
		t.Errorf("%s: %s", r.State, r.Why)
	}
}

// What a pending node finds in the store is read before it is believed.
func TestEarlyCutOffReadsWhatItReuses(t *testing.T) {
	w := newWorld(t)
	rep := w.apply(w.graph(small()))
	flipped(t, filepath.Join(rep.Result("analyze").Artefact.Dir, "out"))
	e := small()
	e.code = "2"
	rep = w.apply(w.graph(e))
	w.wantRan("collect", "analyze")
	if a := rep.Result("analyze").Artefact; a.Verify() != nil || rep.Result("plot").State != StateReused {
		t.Errorf("%v; plot %s", a.Verify(), rep.Result("plot").State)
	}
}

func TestResultsAreInTheRunFolderAndTheJournal(t *testing.T) {
	w := newWorld(t)
	for _, want := range []map[string]int{
		{history.NodeBegun: 7, history.NodeDone: 6, history.ServiceStarted: 1, history.ServiceStopped: 1},
		{history.NodeReused: 5}, // into a folder of its own
	} {
		w.apply(w.graph(small()))
		for _, file := range []string{"out", "plots/out", "load simple 2/out"} {
			if _, err := os.Stat(filepath.Join(w.run, file)); err != nil {
				t.Error(err)
			}
		}
		records, torn, err := history.Read(filepath.Join(w.run, history.FileName))
		if err != nil || torn {
			t.Fatal(torn, err)
		}
		kinds := make(map[string]int)
		for _, r := range records {
			kinds[r.Kind]++
		}
		if !maps.Equal(kinds, want) {
			t.Errorf("journal: %v, want %v", kinds, want)
		}
	}
}

// One load fails: the others are collected, and the next apply makes only
// what is missing.
func TestTolerant(t *testing.T) {
	w := newWorld(t)
	g := w.graph(small())
	w.fails["load simple 1"] = errors.New("the server said no\nits log: ...")
	rep := w.apply(g)
	for id, want := range map[string]State{
		"load simple 1": StateFailed, "load simple 2": StateDone, "collect": StateDone, "plot": StateDone,
	} {
		if got := rep.Result(id).State; got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	data, err := os.ReadFile(filepath.Join(rep.Result("collect").Artefact.Dir, "out"))
	if err != nil || strings.Contains(string(data), "load simple 1") || !strings.Contains(string(data), "load simple 2") {
		t.Errorf("collect has %s, %v", data, err)
	}
	// It fails otherwise: for collect that is the same.
	w.fails["load simple 1"] = errors.New("no answer")
	w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 1")
	delete(w.fails, "load simple 1")
	w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "collect", "analyze", "plot")
}

// Nothing to collect: skipped, and the reason names what failed first, in one
// line.
func TestSkippedNamesTheRoot(t *testing.T) {
	w := newWorld(t)
	w.fails["deploy simple"] = errors.New("no such program\nmore of it")
	rep := w.apply(w.graph(small()))
	w.wantRan("deploy simple")
	for _, id := range []string{"warmup simple", "load simple 1", "load simple 2", "collect", "analyze", "plot"} {
		r := rep.Result(id)
		if r.State != StateSkipped || r.Err == nil || r.Err.Error() != "deploy simple failed: no such program" {
			t.Errorf("%s: %s, %v", id, r.State, r.Err)
		}
	}
}

// A service starts for one load; the others of it are reused if they were
// measured in the environment that it turns out to have.
func TestConditionalReuse(t *testing.T) {
	e := small()
	e.perLoad = true
	more := e
	more.rates = []int{1, 2, 4}
	for _, tc := range []struct {
		name, version string
		ran           []string
		states        map[string]State
		why           string
	}{
		{
			"same", "vllm 0.27",
			[]string{"deploy simple", "warmup simple", "reset simple 4", "load simple 4", "collect", "analyze", "plot"},
			map[string]State{"load simple 1": StateReused, "reset simple 1": StateUnused, "load simple 4": StateDone},
			"measured under vllm 0.27, just now",
		},
		{
			"differs", "vllm 0.28",
			[]string{
				"deploy simple", "warmup simple", "reset simple 1", "load simple 1", "reset simple 2", "load simple 2",
				"reset simple 4", "load simple 4", "collect", "analyze", "plot",
			},
			map[string]State{"load simple 1": StateDone, "reset simple 1": StateDone, "load simple 4": StateDone},
			"the environment differs: engine_version: vllm 0.27 -> vllm 0.28",
		},
		{
			"says less", "none",
			[]string{
				"deploy simple", "warmup simple", "reset simple 1", "load simple 1", "reset simple 2", "load simple 2",
				"reset simple 4", "load simple 4", "collect", "analyze", "plot",
			},
			map[string]State{"load simple 1": StateDone},
			"the environment differs: engine_version: vllm 0.27 -> none",
		},
		{
			"does not start", "",
			[]string{"deploy simple"},
			map[string]State{"load simple 1": StateReused, "reset simple 1": StateUnused, "load simple 4": StateSkipped, "collect": StateDone},
			"measured under vllm 0.27, just now; its environment was not checked, for its service did not start",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.env["deploy simple"] = map[string]string{"engine_version": "vllm 0.27"}
			w.apply(w.graph(e))
			w.env["deploy simple"] = map[string]string{"engine_version": tc.version}
			if tc.version == "none" {
				w.env["deploy simple"] = nil
			}
			if tc.version == "" {
				w.fails["deploy simple"] = errors.New("no such program")
				tc.ran = append(tc.ran, "collect") // the points it gets are the same
			}
			p := w.plan(w.graph(more))
			for _, want := range []string{
				"reuse load simple 1: measured under vllm 0.27, just now, unless the environment differs\n",
				"leave reset simple 1: only needed if the environment differs\n",
			} {
				if !strings.Contains(decisions(p), want) {
					t.Errorf("got\n%s\nwant %s", decisions(p), want)
				}
			}
			rep, err := w.execute(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for id, want := range tc.states {
				if got := rep.Result(id).State; got != want {
					t.Errorf("%s: %s, want %s", id, got, want)
				}
			}
			if got := rep.Result("load simple 1").Why; got != tc.why {
				t.Errorf("why: %s\nwant: %s", got, tc.why)
			}
			sameSet(t, w.ran, tc.ran)
			if p.Decisions[2].Action != Leave || !p.Decisions[3].Conditional {
				t.Error("executing changed the plan")
			}
		})
	}
}

// What was made from a measurement that is taken again must not be reused,
// though the plan had it down for that.
func TestConditionalReuseReachesWhatReadsIt(t *testing.T) {
	w := newWorld(t)
	graph := func(rates ...int) *Graph {
		e := small()
		e.rates = rates
		g := w.graph(e)
		in, _ := NewInput("report of one")
		if err := g.Add(&Node{
			ID: "report 1", Stage: "report", Kind: Pure, Input: in, Needs: []string{"load simple 1"}, Work: w.work("report 1", Pure, ""),
		}); err != nil {
			t.Fatal(err)
		}
		return g
	}
	w.env["deploy simple"] = map[string]string{"engine_version": "1"}
	old := w.apply(graph(1)).Result("report 1").Artefact
	w.env["deploy simple"] = map[string]string{"engine_version": "2"}
	p := w.plan(graph(1, 2))
	d := p.Decisions[p.Graph.index["report 1"]]
	if d.Action != Reuse || !d.Conditional || d.Why != "same inputs, unless what it reads is measured again" {
		t.Errorf("%s: %s", d.Action, d.Why)
	}
	rep, err := w.execute(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if r := rep.Result("report 1"); r.State != StateDone || r.Artefact.Digest == old.Digest {
		t.Errorf("%s: %s", r.State, r.Why)
	}
	// An earlier attempt that fits is taken when the environment is back.
	w.env["deploy simple"] = map[string]string{"engine_version": "1"}
	rep = w.apply(graph(1, 2, 4))
	r := rep.Result("load simple 1")
	if r.State != StateReused || !strings.Contains(r.Why, "(a later attempt: the environment differs: engine_version: 2 -> 1)") {
		t.Errorf("%s: %s", r.State, r.Why)
	}
}

// A run folder that cannot be written to fails what should be in it; what was
// measured is kept.
func TestRunFolderThatIsGone(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := w.plan(w.graph(small()))
	rep, err := Execute(t.Context(), p, ExecuteOptions{Store: w.store, RunDir: file, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	if r := rep.Result("load simple 1"); r.State != StateFailed || !strings.Contains(r.Err.Error(), "load simple 1: cannot put its result into the run's folder") {
		t.Errorf("%s: %v", r.State, r.Err)
	}
	w.allStopped()
	// What was measured is not lost.
	if d := w.plan(w.graph(small())).Decisions[2]; d.Action != Reuse {
		t.Errorf("%s: %s", d.Action, d.Why)
	}
}

// A store that cannot be written to fails the node, clearly, and nothing is
// taken for whole.
func TestStoreThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.during = func(_ context.Context, id string) {
		if id == "load simple 1" {
			if err := os.RemoveAll(filepath.Join(w.store.Root(), "objects")); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(filepath.Join(w.store.Root(), "objects"), nil, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	rep := w.apply(w.graph(small()))
	if r := rep.Result("load simple 1"); r.State != StateFailed || !strings.Contains(r.Err.Error(), "cannot keep the result of load simple 1: cannot publish") {
		t.Errorf("%s: %v", r.State, r.Err)
	}
}

// Equal work under two names is done under both, and one result is kept.
func TestEqualNodes(t *testing.T) {
	w := newWorld(t)
	g := &Graph{}
	in, _ := NewInput(1)
	for _, id := range []string{"a", "b"} {
		if err := g.Add(&Node{ID: id, Stage: "s", Input: in, Work: w.work("same", Pure, "text")}); err != nil {
			t.Fatal(err)
		}
	}
	rep := w.apply(g)
	if a, b := rep.Results[0].Artefact, rep.Results[1].Artefact; a.Dir != b.Dir {
		t.Errorf("%s and %s", a.Dir, b.Dir)
	}
	if p := w.plan(g); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("\n%s", decisions(p))
	}
}

func sameSet(t *testing.T, got, want []string) {
	t.Helper()
	count := make(map[string]int)
	for _, s := range got {
		count[s]++
	}
	for _, s := range want {
		count[s]--
	}
	for s, n := range count {
		if n != 0 {
			t.Errorf("%s: ran %+d times more than it should", s, n)
		}
	}
}
