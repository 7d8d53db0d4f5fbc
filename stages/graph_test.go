package stages

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
)

// sweepSpec is 5 rates x 2 modes x 3 repeats, with every kind of node.
const sweepSpec = `
name: sweep
modes:
  simple: {engine: simulated}
  nixl: {engine: simulated, disaggregated: {}}
workload: {dataset: {kind: random}, requests: 5}
sweep: {qps: [1, 2, 4, 8, 16], repeat: 3}
stages:
  strict: {uses: analyze, slo: {ttft: 60ms}}
  each: {uses: command, per: point, needs: [load], run: "true"}
  summary: {uses: command, needs: [analyze, each], run: "true"}
`

func diagram(t *testing.T, spec string, eachPoint bool) (*Diagram, *pipeline.Graph) {
	t.Helper()
	w := newWorld(t)
	exp := w.parse(spec)
	g, err := BuildToDraw(exp, w.site)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDiagram(exp, g, eachPoint)
	if err != nil {
		t.Fatal(err)
	}
	return d, g
}

// TestDiagram reads a whole diagram.
func TestDiagram(t *testing.T) {
	d, _ := diagram(t, sweepSpec, false)
	if d.Title != "sweep: 30 load points" {
		t.Errorf("title %q", d.Title)
	}
	var got []string
	labels := map[string]string{}
	for _, g := range d.Groups {
		for _, b := range g.Boxes {
			labels[b.ID] = g.Stage + " " + b.Lines[0]
			if len(b.Nodes) > 1 {
				labels[b.ID] = g.Stage + " " + b.Lines[1]
			}
			got = append(got, fmt.Sprintf("%s %s: %s", g.Stage, b.Kind, strings.Join(b.Lines, "; ")))
		}
	}
	want := []string{
		"deploy service: mode=simple",
		"deploy service: mode=nixl",
		"warmup effect: mode=simple",
		"warmup effect: mode=nixl",
		"load measurement: 15 points; mode=simple; qps=1, 2, 4, 8, 16; repeat=0, 1, 2",
		"load measurement: 15 points; mode=nixl; qps=1, 2, 4, 8, 16; repeat=0, 1, 2",
		"collect pure: collect",
		"each pure: 15 points; mode=simple; qps=1, 2, 4, 8, 16; repeat=0, 1, 2",
		"each pure: 15 points; mode=nixl; qps=1, 2, 4, 8, 16; repeat=0, 1, 2",
		"analyze pure: analyze",
		"strict pure: strict",
		"plot pure: vllm_benchmark_plots; mode=simple",
		"plot pure: vllm_benchmark_plots; mode=nixl",
		"plot pure: vllm_comparison_plots",
		"summary pure: summary",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("boxes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var arrows []string
	for _, a := range d.Arrows {
		arrows = append(arrows, labels[a.From]+" > "+labels[a.To])
	}
	wantArrows := []string{
		"deploy mode=simple > warmup mode=simple", "deploy mode=nixl > warmup mode=nixl",
		"warmup mode=simple > load mode=simple", "warmup mode=nixl > load mode=nixl",
		"load mode=simple > collect collect", "load mode=nixl > collect collect",
		"load mode=simple > each mode=simple", "load mode=nixl > each mode=nixl",
		"collect collect > analyze analyze", "collect collect > strict strict",
		"analyze analyze > plot vllm_benchmark_plots", "analyze analyze > plot vllm_benchmark_plots",
		"analyze analyze > plot vllm_comparison_plots", "analyze analyze > summary summary",
		"each mode=simple > summary summary", "each mode=nixl > summary summary",
	}
	slices.Sort(arrows)
	slices.Sort(wantArrows)
	if !slices.Equal(arrows, wantArrows) {
		t.Errorf("arrows\n%s\nwant\n%s", strings.Join(arrows, "\n"), strings.Join(wantArrows, "\n"))
	}
}

// TestDiagramHoldsTheGraph: however boxes are folded, each node is in one of
// them, no arrow is missing, none is made up, none is there twice.
func TestDiagramHoldsTheGraph(t *testing.T) {
	axes := "name: axes\nmodes: {a: {engine: simulated}, b: {engine: simulated}}\nworkload: {requests: 5}\n" +
		"sweep: {qps: ['1..20/1'], modes.a.args.max-num-seqs: [16, 64], workload.seed: [1, 2]}\n" +
		"figures: [{kind: comparison, series: [mode]}]\n"
	cold := "name: cold\nmodes: {a: {engine: simulated}}\nsweep: {qps: [3]}\nstages: {warmup: {requests: 0}}\n"
	for _, spec := range []string{sweepSpec, axes, cold} {
		for _, eachPoint := range []bool{false, true} {
			d, g := diagram(t, spec, eachPoint)
			in := map[string]string{} // node -> box
			boxes := 0
			for _, group := range d.Groups {
				for _, b := range group.Boxes {
					boxes++
					for _, id := range b.Nodes {
						if in[id] != "" || g.Node(id) == nil || g.Node(id).Kind != b.Kind || !strings.HasPrefix(id, group.Stage) {
							t.Fatalf("%s is twice, in the wrong box, or no node", id)
						}
						in[id] = b.ID
					}
				}
			}
			want := map[DiagramArrow]bool{}
			for _, n := range g.Nodes {
				for _, need := range n.Needs {
					want[DiagramArrow{in[need], in[n.ID]}] = true
				}
			}
			got := map[DiagramArrow]bool{}
			for _, a := range d.Arrows {
				got[a] = true
			}
			if len(in) != len(g.Nodes) || len(got) != len(d.Arrows) || !maps.Equal(got, want) {
				t.Errorf("%s: %d of %d nodes, arrows %v, want %v", d.Title, len(in), len(g.Nodes), got, want)
			}
			if eachPoint && boxes != len(g.Nodes) {
				t.Errorf("%s: %d boxes for %d nodes", d.Title, boxes, len(g.Nodes))
			}
		}
	}
}

// TestDiagramListsFewValues: a long axis is cut, with its end and its length.
func TestDiagramListsFewValues(t *testing.T) {
	d, _ := diagram(t, "name: long\nmodes: {a: {engine: simulated}}\nsweep: {qps: ['1..20/1']}\nstages: {warmup: {requests: 0}}\n", false)
	load := d.Groups[slices.IndexFunc(d.Groups, func(g DiagramGroup) bool { return g.Stage == "load" })]
	want := []string{"20 points", "mode=a", "qps=1, 2, 3, 4, ... 20 (20)"}
	if len(load.Boxes) != 1 || !reflect.DeepEqual(load.Boxes[0].Lines, want) {
		t.Errorf("got %q, want %q", load.Boxes, want)
	}
}

// oddDiagram has texts that are something else to Mermaid, HTML and DOT.
var oddDiagram = &Diagram{
	Title: `odd "title" \n`,
	Groups: []DiagramGroup{
		{Stage: `end "stage" <b>`, Boxes: []DiagramBox{
			{ID: "n0", Kind: pipeline.Service, Lines: []string{`say "hi"`, `C:\new\G\N`, "a<br>b & &amp; &#35; #35; #quot;"}},
			{ID: "n1", Kind: pipeline.Effect, Lines: []string{"1. first", "- item", "# head"}},
			{ID: "n2", Kind: pipeline.Measurement, Lines: []string{"`code` *bold* _it_ ~~no~~ [link](x)", "end", "%% comment", "{{x}} --> n9; subgraph"}},
		}},
		{Stage: "größe", Boxes: []DiagramBox{
			{ID: "n3", Kind: pipeline.Pure, Lines: []string{"größe", "日本 🙂", "x_y_z a.b-c/d", "<script>alert(1)</script>", "$$x^2$$"}},
		}},
	},
	Arrows: []DiagramArrow{{"n0", "n1"}, {"n1", "n2"}, {"n2", "n3"}, {"n0", "n3"}},
}
