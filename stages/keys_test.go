package stages

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
)

// keysSpec has a mode of each shape, a second analysis with figures of its
// own, a command, and secrets wherever they may stand.
const keysSpec = `
name: keys
model: Qwen/Qwen3-8B
modes:
  simple: {engine: simulated, args: {max-num-seqs: 64}, env: {TOKEN: "${secret:TOKEN}"}}
  nixl: {engine: simulated, disaggregated: {connector: nixl, prefill: {args: {max-num-seqs: 8}}}}
  there: {endpoint: "http://127.0.0.1:9", headers: {Authorization: "Bearer ${secret:KEY}"}}
workload:
  dataset: {kind: jsonl, path: prompts.jsonl, output_tokens: 2}
  requests: 4
slo: {ttft: 125ms, tpot: 50ms}
sweep: {qps: [1, 2], repeat: 1}
slo_scales: [1, 2]
stages:
  deploy: {ready_timeout: 9s}
  warmup: {requests: 3}
  load: {timeout: 8s, cooldown: 7s, side_by_side: false}
  collect: {server_metrics: 6s}
  plot: {formats: [svg], dir: ""}
  strict: {uses: analyze, needs: [collect], slo: {ttft: 60ms}}
  strictplot: {uses: plot, needs: [strict], formats: [svg]}
  summary: {uses: command, needs: [analyze], run: ./sum.sh, inputs: [sum.sh], outputs: [sum.md], env: {NAME: "${secret:KEY}"}}
valid: ["sent == 4"]
figures:
  - {file: one, kind: attainment, title: ""}
  - {file: two, kind: comparison, title: ""}
`

// keysWorld is a world in which keysSpec can be built.
func keysWorld(t *testing.T) *world {
	w := newWorld(t)
	w.write("prompts.jsonl", `{"prompt": "Name three rivers."}`)
	w.write("sum.sh", "echo sum > sum.md\n")
	w.env["TOKEN"], w.env["KEY"] = "hush-1", "hush-2"
	return w
}

// difference lists by ID the nodes whose work receives another value in b
// than in a, those that only b has as "+ID", those that only a has as "-ID".
func difference(a, b *pipeline.Graph) []string {
	var out []string
	for _, n := range a.Nodes {
		switch m := b.Node(n.ID); {
		case m == nil:
			out = append(out, "-"+n.ID)
		case m.Stage != n.Stage || !bytes.Equal(m.Input.JSON(), n.Input.JSON()):
			out = append(out, n.ID)
		}
	}
	for _, n := range b.Nodes {
		if a.Node(n.ID) == nil {
			out = append(out, "+"+n.ID)
		}
	}
	return out
}

// inShort replaces the IDs of a whole group of nodes by the group's name, so
// that a table can be read: "load simple" is every load of the mode simple.
func inShort(list []string, base *pipeline.Graph) []string {
	groups := []string{
		"load", "load mode=simple", "load mode=nixl", "load mode=there", "deploy", "warmup",
		"plot", "strictplot",
	}
	left := slices.Clone(list)
	var out []string
	for _, group := range groups {
		var members []string
		for _, id := range ids(base) {
			if strings.HasPrefix(id, group+" ") {
				members = append(members, id)
			}
		}
		if len(members) < 2 || slices.ContainsFunc(members, func(id string) bool { return !slices.Contains(left, id) }) {
			continue
		}
		out = append(out, "every "+group)
		left = slices.DeleteFunc(left, func(id string) bool { return slices.Contains(members, id) })
	}
	out = append(out, left...)
	slices.Sort(out)
	return out
}

// TestKeys changes one thing at a time and lists exactly the nodes whose own
// value changes, and which are therefore done again. What comes after them
// follows from the content of what they make.
func TestKeys(t *testing.T) {
	both := []string{"analyze", "strict"}
	loads := []string{"every load"}
	for name, c := range map[string]struct {
		change []string          // of keysSpec, in pairs
		env    map[string]string // secrets
		files  map[string]string
		site   func(*Site)
		want   []string
	}{
		// What is answered from stored samples never reaches a load.
		"TTFT objective":  {change: []string{"ttft: 125ms", "ttft: 1ms"}, want: []string{"analyze"}}, // strict has its own
		"TPOT objective":  {change: []string{"tpot: 50ms", "tpot: 1ms"}, want: both},
		"target":          {change: []string{"tpot: 50ms", "tpot: 50ms, target: 50%"}, want: both},
		"scales":          {change: []string{"slo_scales: [1, 2]", "slo_scales: [1, 2, 3]"}, want: both},
		"scale rate":      {change: []string{"slo_scales:", "scale_rate: 2\nslo_scales:"}, want: both},
		"a strict SLO":    {change: []string{"ttft: 60ms", "ttft: 61ms"}, want: []string{"strict"}},
		"rules":           {change: []string{"sent == 4", "sent >= 4"}, want: both},
		"figure's title":  {change: []string{`comparison, title: ""`, `comparison, title: "T"`}, want: []string{"plot two", "strictplot two"}},
		"figure's panel":  {change: []string{`comparison, title: ""`, `comparison, only: ttft, title: ""`}, want: []string{"plot two", "strictplot two"}},
		"figure's rates":  {change: []string{`comparison, title: ""`, `comparison, xs: separate, title: ""`}, want: []string{"plot two", "strictplot two"}},
		"figure per GPU":  {change: []string{`comparison, title: ""`, `comparison, per_gpu: true, title: ""`}, want: []string{"plot two", "strictplot two"}},
		"figure's choice": {change: []string{`comparison, title: ""`, `comparison, where: "mode != 'there'", title: ""`}, want: []string{"plot two", "strictplot two"}},
		"figure's name":   {change: []string{"file: two", "file: three"}, want: []string{"-plot two", "+plot three", "-strictplot two", "+strictplot three"}},
		"one more figure": {change: []string{"figures:", "figures:\n  - {file: zero, kind: comparison}"}, want: []string{"+plot zero", "+strictplot zero"}},
		"formats":         {change: []string{"plot: {formats: [svg]", "plot: {formats: [pdf]"}, want: []string{"every plot"}},
		"folder of plots": {change: []string{`dir: ""`, `dir: elsewhere`}},

		// What is measured.
		"seed":           {change: []string{"requests: 4", "requests: 4\n  seed: 1"}, want: []string{"every load", "every warmup"}},
		"requests":       {change: []string{"requests: 4", "requests: 5"}, want: loads},
		"arrivals":       {change: []string{"requests: 4", "requests: 4\n  arrivals: constant"}, want: loads},
		"burstiness":     {change: []string{"requests: 4", "requests: 4\n  arrivals: gamma\n  burstiness: 2"}, want: loads},
		"API":            {change: []string{"requests: 4", "requests: 4\n  api: chat"}, want: []string{"every deploy", "every load", "every warmup"}},
		"end of text":    {change: []string{"requests: 4", "requests: 4\n  ignore_eos: false"}, want: []string{"every load", "every warmup"}},
		"body":           {change: []string{"requests: 4", "requests: 4\n  body: {top_k: 1}"}, want: []string{"every load", "every warmup"}},
		"data set":       {files: map[string]string{"prompts.jsonl": `{"prompt": "Name three rivers!"}`}, want: loads},
		"data set's use": {change: []string{"output_tokens: 2", "output_tokens: 3"}, want: loads},
		"time limit":     {change: []string{"timeout: 8s", "timeout: 9s"}, want: []string{"every load", "every warmup"}},
		"cool-down":      {change: []string{"cooldown: 7s", "cooldown: 8s"}, want: loads},
		"warm-up":        {change: []string{"requests: 3", "requests: 2"}, want: []string{"every load", "every warmup"}},
		"server metrics": {change: []string{"server_metrics: 6s", "server_metrics: 5s"}, want: loads},
		"side by side":   {change: []string{"side_by_side: false", "side_by_side: true"}, want: []string{"every load mode=nixl", "every load mode=simple"}}, // simulated ones
		"patience":       {change: []string{"ready_timeout: 9s", "ready_timeout: 8s"}, want: []string{"every deploy"}},

		// What is deployed; points are labelled with some of it.
		"argument":         {change: []string{"max-num-seqs: 64", "max-num-seqs: 63"}, want: []string{"deploy mode=simple", "every load mode=simple"}},
		"argument of pool": {change: []string{"max-num-seqs: 8", "max-num-seqs: 9"}, want: []string{"deploy mode=nixl", "every load mode=nixl"}},
		"instances":        {change: []string{"prefill: {", "prefill: {instances: 2, "}, want: []string{"collect", "deploy mode=nixl", "every load mode=nixl", "warmup mode=nixl"}},
		"tensor parallel":  {change: []string{"simple: {engine: simulated", "simple: {engine: simulated, tensor_parallel: 2"}, want: []string{"collect", "deploy mode=simple", "every load mode=simple"}},
		"memory":           {change: []string{"simple: {engine: simulated", "simple: {engine: simulated, gpu_memory_utilization: 0.5"}, want: []string{"deploy mode=simple", "every load mode=simple"}},
		"port":             {change: []string{"simple: {engine: simulated", "simple: {engine: simulated, port: 8123"}, want: []string{"deploy mode=simple"}},
		"environment":      {change: []string{"env: {TOKEN:", "env: {LEVEL: '1', TOKEN:"}, want: []string{"deploy mode=simple", "every load mode=simple"}},
		"endpoint":         {change: []string{":9", ":10"}, want: []string{"collect", "deploy mode=there", "every load mode=there"}},
		"header":           {change: []string{"headers: {", "headers: {X-Team: a, "}, want: []string{"deploy mode=there", "every load mode=there"}},
		"model":            {change: []string{"Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B"}, want: []string{"collect", "every deploy", "every load"}},
		"secrets":          {env: map[string]string{"TOKEN": "hush-3", "KEY": "hush-4"}},
		"other secret":     {change: []string{"secret:TOKEN", "secret:KEY"}, want: []string{"deploy mode=simple", "every load mode=simple"}},

		// The sweep. The loads that were there keep their keys.
		"one more rate": {change: []string{"qps: [1, 2]", "qps: [1, 4, 2]"}, want: []string{
			"collect", "+load mode=simple qps=4 repeat=0", "+load mode=nixl qps=4 repeat=0", "+load mode=there qps=4 repeat=0",
		}},
		"a rate less": {change: []string{"qps: [1, 2]", "qps: [1]"}, want: []string{
			"collect", "-load mode=simple qps=2 repeat=0", "-load mode=nixl qps=2 repeat=0", "-load mode=there qps=2 repeat=0",
		}},
		"one more repeat": {change: []string{"qps: [1, 2], repeat: 1", "qps: [1, 2], repeat: 2, exclude: [\"repeat == 1 && !(mode == 'simple' && qps == 2)\"]"}, want: []string{
			"collect", "+load mode=simple qps=2 repeat=1",
		}},
		"order of modes": {change: []string{"sweep: {", "sweep: {mode: [nixl, simple, there], "}, want: []string{"collect"}},
		"a mode less": {change: []string{"sweep: {", "sweep: {mode: [simple, nixl], "}, want: []string{
			"-deploy mode=there", "-warmup mode=there", "-load mode=there qps=1 repeat=0", "-load mode=there qps=2 repeat=0",
			"collect", "-plot one mode=there", "-strictplot one mode=there",
		}},

		// Commands.
		"command":          {change: []string{"run: ./sum.sh", "run: sh sum.sh"}, want: []string{"summary"}},
		"command's input":  {files: map[string]string{"sum.sh": "echo Sum > sum.md\n"}, want: []string{"summary"}},
		"command's output": {change: []string{"outputs: [sum.md]", "outputs: []"}, want: []string{"summary"}},
		"command's env":    {change: []string{"env: {NAME:", "env: {LEVEL: '1', NAME:"}, want: []string{"summary"}},
		"command's limit":  {change: []string{"run: ./sum.sh", "run: ./sum.sh, timeout: 9s"}, want: []string{"summary"}},
		"its name":         {change: []string{"summary:", "digest:"}, want: []string{"-summary", "+digest"}},

		// Names and circumstances.
		"name":         {change: []string{"name: keys", "name: other"}},
		"results":      {site: func(s *Site) { s.Results, s.Self = "/elsewhere/results", "/elsewhere/vbp" }},
		"this build":   {site: func(s *Site) { s.Code = "other" }, want: []string{"analyze", "collect", "every plot", "every strictplot", "strict"}},
		"this machine": {site: func(s *Site) { s.Host = "other" }, want: loads},
	} {
		t.Run(name, func(t *testing.T) {
			w := keysWorld(t)
			base := w.build(keysSpec)
			for k, v := range c.env {
				w.env[k] = v
			}
			for file, text := range c.files {
				w.write(file, text)
			}
			if c.site != nil {
				c.site(w.site)
			}
			after := w.build(changed(t, keysSpec, c.change...))
			want := slices.Sorted(slices.Values(c.want))
			if got := inShort(difference(base, after), base); !slices.Equal(got, want) {
				t.Errorf("changed: %q\nwant:    %q", got, want)
			}
		})
	}
}

// TestKeysOfRenamedStage holds that an analysis is named by what it computes.
func TestKeysOfRenamedStage(t *testing.T) {
	w := keysWorld(t)
	before := w.build(keysSpec).Node("strict")
	after := w.build(strings.NewReplacer("strict:", "tight:", "[strict]", "[tight]").Replace(keysSpec)).Node("tight")
	if after.Stage != before.Stage || !bytes.Equal(after.Input.JSON(), before.Input.JSON()) {
		t.Errorf("a new name changes\n%s\ninto\n%s", before.Input.JSON(), after.Input.JSON())
	}
}

// TestKeysOfAddedAxis holds that a point is not measured again because others
// got an axis on which it has the value that it had.
func TestKeysOfAddedAxis(t *testing.T) {
	loads := func(g *pipeline.Graph) (out []string) {
		for _, n := range g.Nodes {
			if n.Stage == "load" {
				out = append(out, string(n.Input.JSON()))
			}
		}
		return out
	}
	w := keysWorld(t)
	before := loads(w.build(keysSpec))
	for axis, added := range map[string]int{
		"modes.simple.args.max-num-seqs: [64]":     0,
		"modes.simple.args.max-num-seqs: [32, 64]": 2, // rates of one mode
		"workload.seed: [0, 1]":                    6, // rates of three modes
	} {
		after := loads(w.build(changed(t, keysSpec, "sweep: {", "sweep: {"+axis+", ")))
		if len(after) != len(before)+added {
			t.Errorf("%s: %d loads, not %d", axis, len(after), len(before)+added)
		}
		for _, in := range before {
			if !slices.Contains(after, in) {
				t.Errorf("%s: no load has the key of %s any more", axis, in)
			}
		}
	}
}

// TestKeysElsewhere holds that where a spec lies, with the same files beside
// it, changes no key.
func TestKeysElsewhere(t *testing.T) {
	w := keysWorld(t)
	before := w.build(keysSpec)
	from := w.dir
	w.dir = filepath.Join(from, "moved")
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prompts.jsonl", "sum.sh"} {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := difference(before, w.build(keysSpec)); len(got) > 0 {
		t.Errorf("changed: %q", got)
	}
}

// TestKeysHoldNoSecret looks for the values of secrets in everything that is
// hashed and stored.
func TestKeysHoldNoSecret(t *testing.T) {
	w := keysWorld(t)
	references := 0
	for _, n := range w.build(keysSpec).Nodes {
		in := string(n.Input.JSON())
		if strings.Contains(in, "hush") {
			t.Errorf("%s is given a secret: %s", n.ID, in)
		}
		if strings.Contains(in, "${secret:") {
			references++
		}
	}
	// Deployments of two modes and their two points each, and the command.
	if references != 7 {
		t.Errorf("%d nodes name a secret, not 7", references)
	}
}
