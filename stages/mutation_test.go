package stages

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// mutationSpec is small, and has of everything that a key is made of.
const mutationSpec = `
name: mutation
model: Qwen/Qwen3-8B
modes:
  simple: {engine: simulated, args: {max-num-seqs: 64}, env: {LEVEL: "1"}}
  nixl: {engine: simulated, disaggregated: {connector: nixl, prefill: {args: {max-num-seqs: 8}}}}
workload:
  dataset: {kind: jsonl, path: prompts.jsonl, output_tokens: 3}
  requests: 4
slo: {ttft: 500ms, tpot: 50ms}
sweep: {qps: [1000, 2000], order: as_written}
stages:
  warmup: {requests: 2}
  load: {timeout: 8s, cooldown: 0s, cooldown_limit: 9s}
  collect: {server_metrics: 0s}
  plot: {formats: [svg], dir: ""}
  strict: {uses: analyze, needs: [collect], slo: {ttft: 400ms}}
  strictplot: {uses: plot, needs: [strict], formats: [svg]}
  summary: {uses: command, needs: [analyze], run: sh sum.sh, inputs: [sum.sh], outputs: [sum.md], env: {LEVEL: "1"}}
valid: ["sent == 4"]
figures:
  - {file: one, kind: attainment, title: "One"}
  - {file: two, kind: comparison, title: "Two"}
`

// mutation is one change after a spec was applied, and what it leads to. Nodes
// are named by their IDs, or by how these begin: "load mode=simple" is every
// point of that mode.
type mutation struct {
	spec    []string              // changes to mutationSpec that come before the first apply
	prepare func(s *server) error // of all servers, unless mutate says otherwise

	change  []string          // to the spec, in pairs
	files   map[string]string // that are written
	mutate  func(w *world)    // anything else
	options PlanChoices       // of plan and the second apply

	direct  map[string]string // node -> why it runs; "..." stands for anything
	opened  map[string]string // what the plan reuses and turns out to be made again -> why
	after   []string          // what waits for these, and is made anew
	because string            // why it is, if not for what it reads
	same    []string          // what waits for these, and is reused, for they come out as before

	new     bool // nothing is done, and it is a run of its own all the same
	forGood bool // to take the change back does not take its effect back
}

// TestMutations applies a spec, changes one thing, and holds that exactly the
// expected nodes are planned, for reasons that name what changed, that exactly
// these then run, and that nothing is left to do afterwards. What changes which
// keys, without running anything, is TestKeys.
func TestMutations(t *testing.T) {
	first := mutationWorld(t, mutation{}).site.Results
	for i, name := range slices.Sorted(maps.Keys(mutations)) {
		if testing.Short() && i%8 > 0 {
			continue // the race detector takes minutes for all, and finds nothing more in them
		}
		m := mutations[name]
		t.Run(name, func(t *testing.T) { m.check(t, first) })
	}
}

// mutationWorld is a world in which the spec was applied, as m wants it.
func mutationWorld(t *testing.T, m mutation) *world {
	w := newWorld(t)
	w.layOut()
	if got := w.apply(w.mutationSpec(m)).Tally(); got != (Tally{Usable: 4}) {
		t.Fatalf("the first apply: %+v", got)
	}
	return w
}

// layOut writes the files that mutationSpec needs.
func (w *world) layOut() {
	w.env["KEY"] = "hush"
	w.write("prompts.jsonl", `{"prompt": "Name three rivers."}`)
	w.write("sum.sh", "echo sum > sum.md\n")
	program := w.write("bin/vbp-mutated", "#!/bin/sh\n")
	if err := os.Chmod(program, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.t.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// mutationSpec is the spec before m's change.
func (w *world) mutationSpec(m mutation) string {
	return changed(w.t, mutationSpec, m.spec...)
}

// check makes m's change where the results are those of the folder first, if
// m has no spec of its own.
func (m mutation) check(t *testing.T, first string) {
	var w *world
	if m.spec != nil {
		w = mutationWorld(t, m)
	} else {
		w = newWorld(t)
		w.layOut()
		if err := os.CopyFS(w.site.Results, os.DirFS(first)); err != nil {
			t.Fatal(err)
		}
	}
	w.prepare = m.prepare
	for file, text := range m.files {
		w.write(file, text)
	}
	if m.mutate != nil {
		m.mutate(w)
	}
	before := w.mutationSpec(m)
	after := changed(t, before, m.change...)
	p, err := PlanOf(t.Context(), w.parse(after), w.site, m.options)
	if err != nil {
		t.Fatal(err)
	}
	m.checkPlan(t, p)
	second, err := w.applyWith(t.Context(), ApplyOptions{PlanChoices: m.options}, after)
	if err != nil {
		t.Fatal(err)
	}
	m.checkRun(t, p, second)
	if again := w.apply(after); again.New || again.Plan.Todo() > 0 {
		t.Errorf("the next apply does it again:\n%s", planText(again.Plan))
	}
	if m.change == nil || m.forGood {
		return
	}
	if p, err := PlanOf(t.Context(), w.parse(before), w.site, PlanChoices{}); err != nil || p.Todo() > 0 {
		t.Errorf("taken back, something is done again: %v\n%s", err, planText(p))
	}
}

// checkPlan holds what is planned, and why.
func (m mutation) checkPlan(t *testing.T, p *pipeline.Plan) {
	t.Helper()
	why := make(map[string]string)
	for name, text := range m.direct {
		for _, id := range named(t, p, name) {
			why[id] = text
		}
	}
	opened := make(map[string]bool)
	for name := range m.opened {
		for _, id := range named(t, p, name) {
			opened[id] = true
		}
	}
	waits := make(map[string]bool)
	if len(m.direct) > 0 {
		for _, name := range slices.Concat(m.after, m.same) {
			for _, id := range named(t, p, name) {
				waits[id] = true
			}
		}
	}
	for _, d := range p.Decisions {
		id := d.Node.ID
		want, reason := pipeline.Reuse, "..."
		switch {
		case d.Node.Kind == pipeline.Service, d.Node.Kind == pipeline.Effect:
			want = pipeline.Leave
			for _, point := range on(p, d.Node) {
				if why[point] != "" || opened[point] && d.Node.Kind == pipeline.Service {
					want = pipeline.Run
				}
			}
		case why[id] != "":
			want, reason = pipeline.Run, why[id]
		case waits[id]:
			want, reason = pipeline.Pending, "waits for ..."
		}
		if d.Action != want || !reads(d.Why, reason) {
			t.Errorf("plan: %s %s: %s\nwant  %s: %s", id, d.Action, d.Why, want, reason)
		}
	}
}

// checkRun holds what ran and why, as the journal has it.
func (m mutation) checkRun(t *testing.T, p *pipeline.Plan, a *Applied) {
	t.Helper()
	want := make(map[string]string)
	expect := func(nodes map[string]string) {
		for name, why := range nodes {
			for _, id := range named(t, p, name) {
				want[id] = why
				if n := p.Graph.Node(id); n.Kind == pipeline.Measurement {
					want[p.Graph.ServiceOf(n).ID] = "..."
					for _, need := range n.Needs {
						want[need] = "..."
					}
				}
			}
		}
	}
	expect(m.direct)
	expect(m.opened)
	for _, name := range m.after {
		for _, id := range named(t, p, name) {
			want[id] = cmp.Or(want[id], "...changed...")
		}
	}
	if len(want) == 0 {
		if a.New != m.new || a.Plan.Todo() > 0 {
			t.Errorf("there is nothing to do, and a new run is %v, not %v; %d nodes to do", a.New, m.new, a.Plan.Todo())
		}
		if !m.new {
			return
		}
	}
	records, _, err := history.Read(filepath.Join(a.RunDir, history.FileName))
	if err != nil {
		t.Fatal(err)
	}
	why, ran := make(map[string]string), make(map[string]bool)
	for _, r := range records {
		switch r.Kind {
		case history.NodeBegun:
			why[r.Node] = r.Text
		case history.NodeDone, history.ServiceStarted:
			if ran[r.Node] {
				t.Errorf("%s ran twice", r.Node)
			}
			ran[r.Node] = true
			if _, expected := want[r.Node]; !expected {
				t.Errorf("%s ran: %s", r.Node, why[r.Node])
			} else if !reads(why[r.Node], want[r.Node]) && (m.because == "" || !reads(why[r.Node], m.because)) {
				t.Errorf("%s ran: %s; want: %s", r.Node, why[r.Node], want[r.Node])
			}
		case history.NodeFailed, history.NodeSkipped, history.NodeAgain:
			t.Errorf("%s: %s %s%s", r.Node, r.Kind, r.Text, r.Error)
		}
	}
	for id := range want {
		if !ran[id] {
			t.Errorf("%s did not run", id)
		}
	}
}

// named lists the nodes that have this ID, or one that begins with it.
func named(t *testing.T, p *pipeline.Plan, name string) []string {
	t.Helper()
	var out []string
	for _, id := range ids(p.Graph) {
		if id == name || strings.HasPrefix(id, name+" ") {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no node is called %q", name)
	}
	return out
}

// on lists the points that stand on n.
func on(p *pipeline.Plan, n *pipeline.Node) []string {
	var out []string
	for _, m := range p.Graph.Nodes {
		if m.Kind == pipeline.Measurement && (p.Graph.ServiceOf(m) == n || slices.Contains(m.Needs, n.ID)) {
			out = append(out, m.ID)
		}
	}
	return out
}

// reads reports whether text is what form says, in which "..." stands for
// anything.
func reads(text, form string) bool {
	for i, part := range strings.Split(form, "...") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return text == "" || strings.HasSuffix(form, "...")
}

// planText is a plan as a test's failure tells it.
func planText(p *pipeline.Plan) string {
	var b strings.Builder
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s %s: %s\n", d.Action, d.Node.ID, d.Why)
	}
	return b.String()
}

// TestMutatedStageVersion holds that a measurement is made again if how loads
// are sent changed with this build, or what a simulated engine does, and that
// the plan says so. Both are constants, so an older build is played by what it
// would have kept.
func TestMutatedStageVersion(t *testing.T) {
	w := newWorld(t)
	w.apply(oneMode)
	exp := w.parse(oneMode)
	store := cache.At(filepath.Join(w.site.Results, runs.StoreDir))
	for _, field := range []string{"client", "programs"} {
		g, err := Build(exp, w.site)
		if err != nil {
			t.Fatal(err)
		}
		const point = "load mode=simple qps=1000 repeat=0"
		n := g.Node(point)
		n.Input = changedInput(t, n.Input, field, "another/9")
		p, err := plan(t.Context(), g, store, exp, w.site, PlanChoices{}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Decisions {
			switch {
			case d.Node.ID == point:
				if d.Action != pipeline.Run || !reads(d.Why, field+": ... -> another/9") {
					t.Errorf("%s: %s, %s", field, d.Action, d.Why)
				}
			case d.Action != pipeline.Run && d.Action != pipeline.Pending:
				t.Errorf("%s: %s %s: %s", field, d.Node.ID, d.Action, d.Why)
			}
		}
	}
}
