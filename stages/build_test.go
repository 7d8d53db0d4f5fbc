package stages

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
)

// prompts is a small data set in ShareGPT's form.
const prompts = `[{"id": "1", "conversations": [
  {"from": "human", "value": "What is a lighthouse for, and who keeps it?"},
  {"from": "gpt", "value": "It shows ships where the coast is; a keeper minds its lamp."}]}]`

// designSpec is the example of the design on simulated engines.
const designSpec = `
apiVersion: vbp/v1
name: simple-vs-nixl
model: Qwen/Qwen3-0.6B
gpus: auto
modes:
  simple:
    engine: simulated
    tensor_parallel: 1
    gpu_memory_utilization: 0.8
    args: {max-model-len: 4096}
  nixl:
    engine: simulated
    disaggregated:
      connector: nixl
      prefill: {instances: 2, tensor_parallel: 1}
      decode:  {instances: 3, tensor_parallel: 2}
workload:
  dataset: {kind: sharegpt, path: data/prompts.json}
  requests: 300
slo: {ttft: 125ms, tpot: 200ms, target: 90%}
sweep:
  mode: [simple, nixl]
  qps: [0.5, 4, "8..16/4"]
  exclude: ["mode == 'simple' && qps > 12"]
scale_rate: 4
stages:
  plot:    {formats: [pdf, svg, png], dir: ""}
  strict:  {uses: analyze, needs: [collect], slo: {ttft: 60ms, tpot: 100ms}}
  summary: {uses: command, needs: [analyze], run: "./summarise.sh", inputs: [summarise.sh], outputs: [summary.md]}
figures:
  - {file: vllm_benchmark_plots, kind: attainment, for: mode}
  - {file: vllm_comparison_plots, kind: comparison}
`

// shape writes a graph's nodes in order, each with its kind, place and needs.
func shape(g *pipeline.Graph) string {
	var loads []string
	for _, n := range g.Nodes {
		if n.Stage == "load" {
			loads = append(loads, n.ID)
		}
	}
	var b strings.Builder
	for _, n := range g.Nodes {
		needs := strings.Join(n.Needs, ", ")
		if len(loads) > 1 && slices.Equal(n.Needs, loads) {
			needs = "every load"
		}
		place := n.Place
		if place != "" {
			place = " in " + place
		}
		fmt.Fprintf(&b, "%s: %s%s <- %s\n", n.Kind, n.ID, place, needs)
	}
	return b.String()
}

func TestBuildDesignsExample(t *testing.T) {
	w := newWorld(t)
	w.write("data/prompts.json", prompts)
	w.write("summarise.sh", "#!/bin/sh\n")
	g := w.build(designSpec)
	// 12 < 16, so simple lacks one rate.
	const want = `service: deploy mode=simple <- 
effect: warmup mode=simple <- deploy mode=simple
service: deploy mode=nixl <- 
effect: warmup mode=nixl <- deploy mode=nixl
measurement: load mode=simple qps=0.5 repeat=0 <- warmup mode=simple
measurement: load mode=simple qps=4 repeat=0 <- warmup mode=simple
measurement: load mode=simple qps=8 repeat=0 <- warmup mode=simple
measurement: load mode=simple qps=12 repeat=0 <- warmup mode=simple
measurement: load mode=nixl qps=0.5 repeat=0 <- warmup mode=nixl
measurement: load mode=nixl qps=4 repeat=0 <- warmup mode=nixl
measurement: load mode=nixl qps=8 repeat=0 <- warmup mode=nixl
measurement: load mode=nixl qps=12 repeat=0 <- warmup mode=nixl
measurement: load mode=nixl qps=16 repeat=0 <- warmup mode=nixl
pure: collect in . <- every load
pure: analyze in . <- collect
pure: plot vllm_benchmark_plots mode=simple in plots/simple <- analyze
pure: plot vllm_benchmark_plots mode=nixl in plots/nixl <- analyze
pure: plot vllm_comparison_plots in plots <- analyze
pure: strict in strict <- collect
pure: summary in summary/ <- analyze
`
	if got := shape(g); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if g.Scope != "simple-vs-nixl" {
		t.Errorf("scope %q", g.Scope)
	}
	for _, n := range g.Nodes {
		// A point that cannot be measured must not cost the others' figure.
		if tolerant := n.Stage == "collect"; n.Tolerant != tolerant {
			t.Errorf("%s: tolerant is %v", n.ID, n.Tolerant)
		}
		var uses map[string]int
		switch n.Stage {
		case "deploy":
			uses = map[string]int{"host": hostUnits} // one deployment at a time
		case "command":
			uses = map[string]int{"host": 1} // and no command beside it
		case "load":
			uses = map[string]int{"load on " + n.Needs[0]: 1} // one point at a time
		}
		if !maps.Equal(n.Uses, uses) {
			t.Errorf("%s uses %v, not %v", n.ID, n.Uses, uses)
		}
	}
	// The default cool-down, then 300 requests at 8 a second.
	if got := g.Node("load mode=simple qps=8 repeat=0").Expect; got != 2*time.Second+37500*time.Millisecond {
		t.Errorf("a load of 300 requests at 8/s is expected to take %v", got)
	}
	// The nixl mode's decode instances are three: so many requests at once
	// reach each.
	var in warmupInput
	if err := g.Node("warmup mode=nixl").Input.Decode(&in); err != nil || in.Instances != 3 || in.Requests != 20 {
		t.Errorf("warm-up %+v, %v", in, err)
	}
}

// changed is a spec with changes in pairs: old text, new text.
func changed(t *testing.T, text string, changes ...string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("the spec does not say %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	return text
}

func TestBuildSharesDeployments(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		spec []string // changes of oneMode
		want string
	}{
		"equal modes": {
			[]string{"modes: {simple: {engine: simulated}}", "modes: {a: {engine: simulated}, b: {engine: simulated, args: {}}}", "requests: 0", "requests: 1"},
			`service: deploy mode=a <- 
effect: warmup mode=a <- deploy mode=a
measurement: load mode=a qps=1000 repeat=0 <- warmup mode=a
measurement: load mode=b qps=1000 repeat=0 <- warmup mode=a
`,
		},
		"an axis of the workload": {
			[]string{"sweep: {", "sweep: {workload.requests: [1, 2], ", "requests: 0", "requests: 1"},
			`service: deploy mode=simple <- 
effect: warmup mode=simple <- deploy mode=simple
measurement: load mode=simple workload.requests=1 qps=1000 repeat=0 <- warmup mode=simple
measurement: load mode=simple workload.requests=2 qps=1000 repeat=0 <- warmup mode=simple
`,
		},
		"an axis of the warm-up": {
			[]string{"sweep: {", "sweep: {stages.warmup.requests: [0, 2], "},
			`service: deploy mode=simple <- 
service: deploy mode=simple stages.warmup.requests=2 <- 
effect: warmup mode=simple stages.warmup.requests=2 <- deploy mode=simple stages.warmup.requests=2
measurement: load mode=simple stages.warmup.requests=0 qps=1000 repeat=0 <- deploy mode=simple
measurement: load mode=simple stages.warmup.requests=2 qps=1000 repeat=0 <- warmup mode=simple stages.warmup.requests=2
`,
		},
		"an axis of the engine": {
			[]string{"sweep: {", "sweep: {modes.simple.args.max-num-seqs: [1, 2], ", "requests: 0", "requests: 1"},
			`service: deploy mode=simple <- 
effect: warmup mode=simple <- deploy mode=simple
service: deploy mode=simple modes.simple.args.max-num-seqs=2 <- 
effect: warmup mode=simple modes.simple.args.max-num-seqs=2 <- deploy mode=simple modes.simple.args.max-num-seqs=2
measurement: load mode=simple modes.simple.args.max-num-seqs=1 qps=1000 repeat=0 <- warmup mode=simple
measurement: load mode=simple modes.simple.args.max-num-seqs=2 qps=1000 repeat=0 <- warmup mode=simple modes.simple.args.max-num-seqs=2
`,
		},
		"no warm-up": {
			nil,
			`service: deploy mode=simple <- 
measurement: load mode=simple qps=1000 repeat=0 <- deploy mode=simple
`,
		},
		"a mode that is not swept": {
			[]string{"modes: {simple: {engine: simulated}}", "modes: {other: {engine: simulated, port: 9}, simple: {engine: simulated}}", "sweep: {", "sweep: {mode: simple, "},
			`service: deploy mode=simple <- 
measurement: load mode=simple qps=1000 repeat=0 <- deploy mode=simple
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, _ := strings.Cut(shape(w.build(changed(t, oneMode, c.spec...))), "pure: ")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestBuildSideBySide holds that deployments run beside others only if the
// spec allows it and vbp starts them. Points of one still follow each other,
// and GPUs are leased to one at a time.
func TestBuildSideBySide(t *testing.T) {
	w := newWorld(t)
	t.Setenv("VBP_GPUS", "2,3,5")
	w.withVLLM()
	spec := changed(t, oneMode, "cooldown: 0s", "cooldown: 0s, side_by_side: true",
		"modes: {", `modes: {there: {endpoint: "http://127.0.0.1:9"}, real: {engine: vllm, tensor_parallel: 2}, `)
	g := w.build(spec)
	if got := g.Units["gpu"]; !slices.Equal(got, []string{"2", "3", "5"}) {
		t.Errorf("GPUs %q", got)
	}
	for id, want := range map[string]map[string]int{
		"deploy mode=simple":                 {"host": 1},
		"deploy mode=there":                  {"host": hostUnits},
		"deploy mode=real":                   {"host": 1, "gpu": 2},
		"load mode=simple qps=1000 repeat=0": {"load on deploy mode=simple": 1},
	} {
		if n := g.Node(id); n == nil || !maps.Equal(n.Uses, want) {
			t.Errorf("%s: %+v, want uses %v", id, n, want)
		}
	}
}

func TestBuildStagesOfTheUser(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, twoModes,
		"qps: [1000]", "qps: [1000, 2000]",
		"stages: {", `stages: {
  strict: {uses: analyze, needs: [collect], slo: {tpot: 1ms}},
  strict-plot: {uses: plot, needs: [strict]},
  whole: {uses: command, needs: [analyze, strict-plot], run: "true"},
  of-mode: {uses: command, per: mode, needs: [load, plot], run: "true"},
  of-point: {uses: command, per: point, needs: [load, of-mode], run: "true"},
  alone: {uses: command, run: "true"}, `)
	g := w.build(spec + `
figures:
  - {file: one, kind: attainment}
  - {file: two, kind: comparison}
`)
	_, got, _ := strings.Cut(shape(g), "pure: collect")
	const want = ` in . <- every load
pure: analyze in . <- collect
pure: plot one mode=simple in plots/simple <- analyze
pure: plot one mode=nixl in plots/nixl <- analyze
pure: plot two in plots <- analyze
pure: strict in strict <- collect
pure: strict-plot one mode=simple in plots/strict-plot/simple <- strict
pure: strict-plot one mode=nixl in plots/strict-plot/nixl <- strict
pure: strict-plot two in plots/strict-plot <- strict
pure: whole in whole/ <- analyze, strict-plot one mode=simple, strict-plot one mode=nixl, strict-plot two
pure: of-mode mode=simple in of-mode/simple <- load mode=simple qps=1000 repeat=0, load mode=simple qps=2000 repeat=0, plot one mode=simple, plot two
pure: of-mode mode=nixl in of-mode/nixl <- load mode=nixl qps=1000 repeat=0, load mode=nixl qps=2000 repeat=0, plot one mode=nixl, plot two
pure: of-point mode=simple qps=1000 repeat=0 in of-point/simple,qps=1000,repeat=0 <- load mode=simple qps=1000 repeat=0, of-mode mode=simple
pure: of-point mode=simple qps=2000 repeat=0 in of-point/simple,qps=2000,repeat=0 <- load mode=simple qps=2000 repeat=0, of-mode mode=simple
pure: of-point mode=nixl qps=1000 repeat=0 in of-point/nixl,qps=1000,repeat=0 <- load mode=nixl qps=1000 repeat=0, of-mode mode=nixl
pure: of-point mode=nixl qps=2000 repeat=0 in of-point/nixl,qps=2000,repeat=0 <- load mode=nixl qps=2000 repeat=0, of-mode mode=nixl
pure: alone in alone/ <- 
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// A variable for each stage that is needed, whatever it has made.
	for id, want := range map[string][]namedNeed{
		"whole": {
			{"VBP_ANALYZE", []string{"analyze"}},
			{"VBP_STRICT_PLOT", []string{"strict-plot one mode=simple", "strict-plot one mode=nixl", "strict-plot two"}},
		},
		"of-point mode=nixl qps=2000 repeat=0": {
			{"VBP_LOAD", []string{"load mode=nixl qps=2000 repeat=0"}},
			{"VBP_OF_MODE", []string{"of-mode mode=nixl"}},
		},
		"of-mode mode=simple": {
			{"VBP_LOAD", []string{"load mode=simple qps=1000 repeat=0", "load mode=simple qps=2000 repeat=0"}},
			{"VBP_PLOT", []string{"plot one mode=simple", "plot two"}},
		},
		"alone": nil,
	} {
		var in commandInput
		if err := g.Node(id).Input.Decode(&in); err != nil || !reflect.DeepEqual(in.Needs, want) {
			t.Errorf("%s: needs %q, %v, want %q", id, in.Needs, err, want)
		}
	}
	var in analyzeInput
	if err := g.Node("strict").Input.Decode(&in); err != nil || in.SLO.TPOT != "1ms" || in.SLO.TTFT != "500ms" {
		t.Errorf("strict is analyzed for %+v, %v", in.SLO, err)
	}
}

// TestBuildPlotDir holds that figures go where the spec says, several series
// apart and one without a folder of its own.
func TestBuildPlotDir(t *testing.T) {
	w := newWorld(t)
	const in = "formats: [svg], dir: /some/where"
	for spec, want := range map[string]string{
		changed(t, twoModes, "formats: [svg]", in): "plots of: /some/where/simple /some/where/nixl /some/where",
		changed(t, oneMode, "formats: [svg]", in):  "plots of: /some/where",
		oneMode: "plots of: plots",
	} {
		got := "plots of:"
		for _, n := range w.build(spec).Nodes {
			if n.Stage == "plot" {
				got += " " + n.Place
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Setenv("VBP_GPUS", "0")
	t.Setenv("PATH", "/nowhere")
	w := newWorld(t)
	w.write("half.json", prompts[:40])
	w.write("gone.sh", "")
	for name, c := range map[string]struct {
		changes []string
		want    []string
	}{
		"unknown argument":     {[]string{"engine: simulated", "engine: simulated, args: {max-num-seks: 5}"}, []string{"mode simple: args of server: ", "max-num-seks"}},
		"wrong argument":       {[]string{"engine: simulated", "engine: simulated, args: {block-size: 0}"}, []string{"mode simple: args of server: ", "--block-size 0"}},
		"unknown model":        {[]string{"Qwen/Qwen3-8B", "nobody/knows"}, []string{"mode simple: ", "nobody/knows"}},
		"argument of one pool": {[]string{"engine: simulated", "engine: simulated, disaggregated: {connector: nixl, decode: {instances: 2, args: {x: 1}}}"}, []string{"mode simple: args of decode-0: ", "--x"}},
		"no vLLM":              {[]string{"name: small", "name: small\ngpus: 1", "engine: simulated", "engine: vllm"}, []string{`mode simple: `, "no program vllm on PATH", "pip install vllm", "endpoint: http://HOST:PORT"}},
		"no GPU":               {[]string{"engine: simulated", "engine: vllm"}, []string{"mode simple needs 1 GPU and there are 0 (VBP_GPUS=0)", "gpus: none"}},
		"too few GPUs":         {[]string{"engine: simulated", "engine: vllm, disaggregated: {prefill: {instances: 2}}"}, []string{"mode simple needs 3 GPUs (2 prefill x 1 + 1 decode x 1) and there are 0"}},
		"no such command":      {[]string{"engine: simulated", "engine: command, run: 'no-such-server --port {port}'"}, []string{"mode simple: ", "no program no-such-server on PATH", "write its whole path"}},
		"half a data set":      {[]string{"kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0", "kind: sharegpt, path: half.json"}, []string{"workload.dataset: ", "half.json"}},
		"token ids for chat":   {[]string{"requests: 4", "requests: 4, api: chat"}, []string{"kind random are token ids", "use api: completions"}},
		"no such fact":         {[]string{"sent == 4", "sent == 4 && laziness < 1"}, []string{"valid: sent == 4 && laziness < 1: no point has a fact laziness; there is: planned, sent, ", "cache_reset"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := Build(w.parse(changed(t, oneMode, c.changes...)), w.site)
			mustContain(t, err, c.want...)
			if g != nil {
				t.Error("there is a graph all the same")
			}
		})
	}
	// What the spec names may go between its reading and its plan.
	e := w.parse(changed(t, oneMode, "stages: {", "stages: {c: {uses: command, run: x, inputs: [gone.sh]}, "))
	e.Stages[len(e.Stages)-1].Command.Inputs[0] += "-since"
	_, err := Build(e, w.site)
	mustContain(t, err, "stage c: input of a command: ", "gone.sh-since")
}
