package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPlanOfNothingAndOfEverything(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.graph(small()))
	wantLines(
		t, decisions(p),
		"run deploy simple: a measurement needs it",
		"run warmup simple: a measurement needs it",
		"run load simple 1: not done yet",
		"run load simple 2: not done yet",
		"pending collect: waits for load simple 1 and 1 more",
		"pending analyze: waits for collect",
		"pending plot: waits for analyze",
	)
	if p.Todo() != 5 {
		t.Errorf("%d to do, want 5", p.Todo())
	}
	rep := w.apply(w.graph(small()))
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "load simple 2", "collect", "analyze", "plot")

	w.now = w.now.Add(3 * time.Hour)
	p = w.plan(w.graph(small()))
	wantLines(
		t, decisions(p),
		"leave deploy simple: not needed: every measurement of it is reused",
		"leave warmup simple: not needed: every measurement of it is reused",
		"reuse load simple 1: measured 3 h ago",
		"reuse load simple 2: measured 3 h ago",
		"reuse collect: same inputs",
		"reuse analyze: same inputs",
		"reuse plot: same inputs",
	)
	if p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
		t.Errorf("%d to do; fingerprint %s, the report's %s", p.Todo(), p.Fingerprint(), rep.Fingerprint)
	}
}

// The reason of each node that is not reused names what changed.
func TestPlanReasons(t *testing.T) {
	const live = "engine_version"
	for _, tc := range []struct {
		name   string
		change func(*experiment)
		want   []string // of what is not reused
	}{
		{"slo", func(e *experiment) { e.slo = "150ms" }, []string{
			"run analyze: slo.tpot: 200ms -> 150ms", "pending plot: waits for analyze",
		}},
		{"figure", func(e *experiment) { e.color = "blue" }, []string{"run plot: color: red -> blue"}},
		{"code", func(e *experiment) { e.code = "2" }, []string{
			"run collect: code: 1 -> 2", "pending analyze: waits for collect", "pending plot: waits for analyze",
		}},
		{"rate", func(e *experiment) { e.rates = append(e.rates, 4) }, []string{
			"run deploy simple: a measurement needs it", "run warmup simple: a measurement needs it",
			"run load simple 4: not done yet",
			"pending collect: waits for load simple 4", "pending analyze: waits for collect", "pending plot: waits for analyze",
		}},
		{"fewer", func(e *experiment) { e.rates = e.rates[:1] }, []string{
			"run collect: no longer: load simple 2", "pending analyze: waits for collect", "pending plot: waits for analyze",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.env["deploy simple"] = map[string]string{live: "vllm 0.27"}
			w.apply(w.graph(small()))
			e := small()
			tc.change(&e)
			var got []string
			p := w.plan(w.graph(e))
			for _, line := range strings.Split(strings.TrimSpace(decisions(p)), "\n") {
				if !strings.HasPrefix(line, "reuse ") && !strings.HasPrefix(line, "leave ") {
					got = append(got, line)
				}
			}
			wantLines(t, strings.Join(got, "\n")+"\n", tc.want...)

			// And apply does what plan said.
			rep, err := w.execute(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range rep.Results {
				switch p.Decisions[i].Action {
				case Pending:
					if r.State != StateDone && r.State != StateReused {
						t.Errorf("%s: plan said pending, and it is %s", r.Node.ID, r.State)
					}
				case Run:
					if r.State != StateDone {
						t.Errorf("%s: plan said run, and it is %s", r.Node.ID, r.State)
					}
				case Reuse:
					if r.State != StateReused {
						t.Errorf("%s: plan said reuse, and it is %s", r.Node.ID, r.State)
					}
				case Leave:
					if r.State != StateUnused {
						t.Errorf("%s: plan said leave, and it is %s", r.Node.ID, r.State)
					}
				}
			}
			if p := w.plan(w.graph(e)); p.Todo() != 0 || p.Fingerprint() != rep.Fingerprint {
				t.Errorf("after the apply:\n%s", decisions(p))
			}
		})
	}
}

// Every attempt is kept, the latest usable one is taken, and the reason why
// the last is not is shown.
func TestAttempts(t *testing.T) {
	w := newWorld(t)
	g := w.graph(small())
	w.facts["load simple 1"] = 0.5
	rep := w.apply(g)
	if v := rep.Result("load simple 1").Verdict; v.Usable || v.Reason != "schedule_kept > 0.97 (is 0.5)" {
		t.Errorf("verdict %+v", v)
	}
	if v := rep.Result("load simple 2").Verdict; !v.Usable {
		t.Errorf("verdict %+v", v)
	}
	p := w.plan(g)
	d := p.Decisions[2]
	if d.Action != Run || d.Why != "the last attempt is not usable: schedule_kept > 0.97 (is 0.5)" || d.Artefact == nil {
		t.Errorf("%s: %s, %v", d.Action, d.Why, d.Artefact)
	}

	w.now = w.now.Add(time.Minute)
	w.facts["load simple 1"] = 0.99
	w.apply(g)
	w.wantRan("deploy simple", "warmup simple", "load simple 1", "collect", "analyze", "plot")
	usable := w.plan(g).Decisions[2]
	attempts, err := w.store.Find(usable.Key)
	if err != nil || len(attempts) != 2 || usable.Artefact.Attempt != attempts[1].Attempt {
		t.Errorf("%d attempts, %v; taken: %s", len(attempts), err, usable.Why)
	}

	// Later attempts of somebody else that are not usable do not hide it.
	for _, kept := range []string{"0.1", "0.2"} {
		draft, err := w.store.Draft()
		if err != nil {
			t.Fatal(err)
		}
		old, err := attempts[1].Manifest()
		if err != nil {
			t.Fatal(err)
		}
		m := *old
		m.Attempt, m.Note = "3"+kept+m.Attempt, []byte(`{"facts":{"schedule_kept":`+kept+`}}`)
		if _, err := draft.Publish(m); err != nil {
			t.Fatal(err)
		}
	}
	d = w.plan(g).Decisions[2]
	if d.Action != Reuse || d.Artefact.Attempt != usable.Artefact.Attempt ||
		d.Why != "measured just now (a later attempt: not usable: schedule_kept > 0.97 (is 0.2))" {
		t.Errorf("%s %s: %s", d.Action, d.Artefact.Attempt, d.Why)
	}
}

// What a plan is told of an environment counts as far as it goes.
func TestPlanWithEnvironment(t *testing.T) {
	w := newWorld(t)
	w.env["deploy simple"] = map[string]string{"engine_version": "vllm 0.27", "driver": "570"}
	g := w.graph(small())
	w.apply(g)
	for version, want := range map[string]string{
		"vllm 0.27": "reuse load simple 1: measured under vllm 0.27, just now",
		"vllm 0.28": "run load simple 1: the environment differs: engine_version: vllm 0.27 -> vllm 0.28",
	} {
		p, err := Make(g, w.store, PlanOptions{Now: w.now, Environment: map[string]map[string]string{
			"deploy simple": {"engine_version": version},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(decisions(p), want+"\n") {
			t.Errorf("got\n%s\nwant %s", decisions(p), want)
		}
	}
}

// A damaged result that is to be read is made again, and so is what was made
// from it if it comes out another; sound ones are left alone.
func TestDamagedResults(t *testing.T) {
	for _, tc := range []struct {
		name, node string
		harm       func(t *testing.T, file string)
		change     func(*experiment)
		why        string
		ran        string
	}{
		{
			"missing", "load simple 2", func(t *testing.T, file string) { _ = os.Remove(file) }, nil,
			"its stored result is damaged: out is missing",
			"deploy simple, warmup simple, load simple 2, collect, analyze, plot",
		},
		{
			"truncated", "analyze", func(t *testing.T, file string) { harm(t, file, func(b []byte) []byte { return b[:4] }) }, nil,
			"its stored result is damaged: out has 4 bytes, not 95", "analyze",
		},
		{
			"flipped, and read", "collect", flipped, func(e *experiment) { e.slo = "1ms" },
			"its stored result is damaged: out has another checksum than when it was written", "collect, analyze, plot",
		},
		{
			"flipped, and not read", "collect", flipped, func(e *experiment) { e.color = "blue" },
			"same inputs", "plot",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			rep := w.apply(w.graph(small()))
			tc.harm(t, filepath.Join(rep.Result(tc.node).Artefact.Dir, "out"))
			e := small()
			if tc.change != nil {
				tc.change(&e)
			}
			g := w.graph(e)
			p := w.plan(g)
			if d := p.Decisions[g.index[tc.node]]; d.Why != tc.why {
				t.Errorf("why: %s\nwant: %s", d.Why, tc.why)
			}
			w.now = w.now.Add(time.Minute)
			rep, err := w.execute(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			w.wantRan(strings.Split(tc.ran, ", ")...)
			if a := rep.Result("collect").Artefact; tc.name != "flipped, and not read" && a.Verify() != nil {
				t.Errorf("still damaged: %v", a.Verify())
			}
			if p := w.plan(g); p.Todo() != 0 {
				t.Errorf("still to do:\n%s", decisions(p))
			}
		})
	}
}

func flipped(t *testing.T, file string) {
	harm(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
}

func harm(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
