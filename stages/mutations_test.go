package stages

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// downstream is what follows from measurements.
var downstream = []string{"collect", "analyze", "strict", "plot", "strictplot", "summary"}

const (
	everyLoad  = "load"
	simpleLoad = "load mode=simple"
	nixlLoad   = "load mode=nixl"
)

// measured is a mutation after which points are measured again, for a reason.
func measured(points, why string, change ...string) mutation {
	return mutation{change: change, direct: map[string]string{points: why}, after: downstream}
}

func init() {
	if runtime.GOOS != "linux" { // what is the event loop's is not there
		for _, name := range []string{"transport", "client's addresses", "transport, by name"} {
			delete(mutations, name)
		}
	}
}

var mutations = map[string]mutation{
	// What is measured.
	"a byte of the dataset": {
		files:  map[string]string{"prompts.jsonl": `{"prompt": "Name three rivers!"}`},
		direct: map[string]string{everyLoad: "workload.dataset_digest: ... -> ..."}, after: downstream,
	},
	"the use of the dataset": measured(everyLoad, "workload.dataset_digest: ... -> ...", "output_tokens: 3", "output_tokens: 2"),
	"seed":                   measured(everyLoad, "warmup.seed: 0 -> 1; workload.seed: 0 -> 1", "requests: 4", "requests: 4\n  seed: 1"),
	"requests": {
		change: []string{"requests: 4", "requests: 5", "sent == 4", "sent > 3"},
		direct: map[string]string{everyLoad: "workload.requests: 4 -> 5"}, after: downstream,
	},
	"duration": {
		change: []string{"requests: 4", "duration: 3ms", "sent == 4", "sent > 0"},
		direct: map[string]string{everyLoad: "workload.duration: 0s -> 3ms; workload.requests: 4 -> 0"}, after: downstream,
	},
	"duration beside requests": measured(everyLoad, "workload.duration: 0s -> 1m0s", "requests: 4", "requests: 4\n  duration: 1m"),
	"requests in flight":       measured(everyLoad, "workload.max_concurrency: 0 -> 3", "requests: 4", "requests: 4\n  max_concurrency: 3"),
	"rescaling":                measured(everyLoad, "workload.rescale: false -> true", "requests: 4", "requests: 4\n  rescale: true"),
	"a rising rate":            measured(everyLoad, "workload.arrivals: poisson -> ramp; workload.ramp...", "requests: 4", "requests: 4\n  arrivals: ramp"),
	"how a rate rises": {
		spec:   []string{"requests: 4", "requests: 4\n  arrivals: ramp\n  ramp: {from: 50%}"},
		change: []string{"from: 50%", "from: 25%"},
		direct: map[string]string{everyLoad: "workload.ramp.from: 0.5 -> 0.25"}, after: downstream,
	},
	"transport":      measured(everyLoad, "client: ... -> net/http ...", "timeout: 8s", "timeout: 8s, transport: net/http"),
	"arrivals":       measured(everyLoad, "workload.arrivals: poisson -> constant", "requests: 4", "requests: 4\n  arrivals: constant"),
	"body":           measured(everyLoad, "warmup.body.top_k: none -> 1; workload.body.top_k: none -> 1", "requests: 4", "requests: 4\n  body: {temperature: 0, top_k: 1}"),
	"end of text":    measured(everyLoad, "warmup.ignore_eos: true -> false; workload.ignore_eos: true -> false", "requests: 4", "requests: 4\n  ignore_eos: false"),
	"time limit":     measured(everyLoad, "timeout: 8s -> 7s; warmup.timeout: 8s -> 7s", "timeout: 8s", "timeout: 7s"),
	"cool-down":      measured(everyLoad, "cooldown: 0s -> 1ms", "cooldown: 0s", "cooldown: 1ms"),
	"cool-down cap":  measured(everyLoad, "cooldown_limit: 9s -> 10s", "cooldown_limit: 9s", "cooldown_limit: 10s"),
	"warm-up":        measured(everyLoad, "warmup.requests: 2 -> 3", "warmup: {requests: 2}", "warmup: {requests: 3}"),
	"server metrics": measured(everyLoad, "server_metrics: 0s -> 1h0m0s", "server_metrics: 0s", "server_metrics: 1h"),
	"API": {
		change: []string{"requests: 4", "requests: 4\n  api: chat"}, prepare: answerChat,
		direct: map[string]string{everyLoad: "warmup.api: completions -> chat; workload.api: completions -> chat"}, after: downstream,
	},
	"one more rate": {
		change: []string{"[1000, 2000]", "[1000, 1500, 2000]"},
		direct: map[string]string{
			"load mode=simple qps=1500 repeat=0": "not done yet", "load mode=nixl qps=1500 repeat=0": "not done yet",
		},
		after: downstream, because: "points: ...; new: load mode=simple qps=1500 repeat=0; new: load mode=nixl qps=1500 repeat=0",
	},
	"one more repeat": {
		change: []string{"order: as_written", "repeat: 2, order: as_written"},
		direct: map[string]string{
			"load mode=simple qps=1000 repeat=1": "not done yet", "load mode=nixl qps=1000 repeat=1": "not done yet",
			"load mode=simple qps=2000 repeat=1": "not done yet", "load mode=nixl qps=2000 repeat=1": "not done yet",
		},
		after: downstream, because: "points: ...; new: load mode=simple qps=1000 repeat=1; ...",
	},

	// What it is measured on.
	"argument":           measured(simpleLoad, "deployment.server.args.max-num-seqs: 64 -> 65", "max-num-seqs: 64", "max-num-seqs: 65"),
	"argument of a pool": measured(nixlLoad, "deployment.prefill.args.max-num-seqs: 8 -> 9", "max-num-seqs: 8", "max-num-seqs: 9"),
	"one more argument":  measured(simpleLoad, "deployment.server.args.block-size: none -> 32", "max-num-seqs: 64", "max-num-seqs: 64, block-size: 32"),
	"environment":        measured(simpleLoad, "deployment.server.env.LEVEL: 1 -> 2", `64}, env: {LEVEL: "1"}`, `64}, env: {LEVEL: "2"}`),
	"model": {
		change: []string{"Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B"},
		direct: map[string]string{everyLoad: "deployment.model: Qwen/Qwen3-8B -> Qwen/Qwen3-0.6B"}, after: downstream,
	},
	"instances": {
		change: []string{"prefill: {args", "prefill: {instances: 2, args"},
		direct: map[string]string{nixlLoad: "deployment.prefill.instances: 1 -> 2; warmup.instances: 1 -> 2"}, after: downstream,
	},
	"connector": {
		change: []string{"connector: nixl", "connector: lmcache"}, prepare: hitExternally,
		direct: map[string]string{nixlLoad: "deployment.connector: nixl -> lmcache"}, after: downstream,
	},
	"program": {
		spec:   []string{"simple: {engine: simulated, args: {max-num-seqs: 64}", `simple: {engine: command, run: "exec vbp-mutated {port}"`},
		files:  map[string]string{"bin/vbp-mutated": "#!/bin/sh\nexit 1\n"},
		direct: map[string]string{simpleLoad: "programs: ... -> ..."}, after: downstream,
	},
	"host": {
		mutate: func(w *world) { w.site.Host = "another host" },
		direct: map[string]string{everyLoad: "host: host -> another host"}, after: downstream,
	},
	"engine's version, looked for": {
		mutate:  upgrade,
		options: PlanChoices{CheckEnvironment: true},
		opened:  map[string]string{everyLoad: "the environment differs: engine_version: fake/1 -> fake/2"}, after: downstream,
	},
	"engine's version, seen at a start for another point": {
		change: []string{"[1000, 2000]", `[1000, 1500, 2000], exclude: ["mode == 'nixl' && qps == 1500"]`},
		mutate: upgrade,
		direct: map[string]string{"load mode=simple qps=1500 repeat=0": "not done yet"},
		opened: map[string]string{
			"load mode=simple qps=1000 repeat=0": "the environment differs: engine_version: fake/1 -> fake/2",
			"load mode=simple qps=2000 repeat=0": "the environment differs: engine_version: fake/1 -> fake/2",
		},
		after: downstream, because: "points: ...; new: load mode=simple qps=1500 repeat=0",
		forGood: true, // fake/2 is what the newest attempts were measured under
	},

	// How old and how good it must be.
	"age": {
		change: []string{"valid:", "reuse: {max_age: 7d}\nvalid:"},
		mutate: func(w *world) { w.later(8 * 24 * time.Hour) },
		direct: map[string]string{everyLoad: "measured 8 days ago, and only what is younger than ... is reused"}, after: downstream,
	},
	"age, not reached": {
		change: []string{"valid:", "reuse: {max_age: 7d}\nvalid:"},
		mutate: func(w *world) { w.later(6 * 24 * time.Hour) },
	},
	"a rule that holds": {
		change: []string{"sent == 4", "sent >= 4"},
		direct: map[string]string{"analyze": `valid: ["sent == 4"] -> ["sent >= 4"]`, "strict": `valid: ["sent == 4"] -> ["sent >= 4"]`},
		same:   []string{"plot", "strictplot", "summary"},
	},
	"a rule that most break": {
		spec:   []string{"sent == 4", "order > 0", "cooldown_limit: 9s", "cooldown_limit: 9s, retries: 0"},
		change: []string{"order > 0", "order != 2"},
		direct: map[string]string{
			"load mode=simple qps=2000 repeat=0": "the last attempt is not usable: order != 2, it was 2",
			"load mode=nixl qps=2000 repeat=0":   "the last attempt is not usable: order != 2, it was 2",
		},
		after:   downstream,
		forGood: true, // the new attempts, each the first of its deployment, meet the old rule too
	},

	// What is made of it.
	"SLO": {
		change: []string{"tpot: 50ms", "tpot: 15ms"},
		direct: map[string]string{"analyze": "slo.tpot: 50ms -> 15ms", "strict": "slo.tpot: 50ms -> 15ms"},
		after:  []string{"plot", "strictplot", "summary"},
	},
	"SLO of one analysis": {
		change: []string{"ttft: 500ms", "ttft: 300ms"},
		direct: map[string]string{"analyze": "slo.ttft: 500ms -> 300ms"},
		after:  []string{"plot", "summary"},
	},
	"target": {
		change: []string{"tpot: 50ms", "tpot: 50ms, target: 50%"},
		direct: map[string]string{"analyze": "slo.target: 0.9 -> 0.5", "strict": "slo.target: 0.9 -> 0.5"},
		after:  []string{"plot", "strictplot", "summary"},
	},
	"window": {
		change: []string{"stages:", "stages:\n  analyze: {window: {from: 1%}}"},
		direct: map[string]string{"analyze": "window..."},
		after:  []string{"plot", "summary"},
	},
	"SLO scales": {
		change: []string{"sweep:", "slo_scales: [1, 2]\nsweep:"},
		direct: map[string]string{"analyze": "slo_scales: ... -> [1,2]", "strict": "slo_scales: ... -> [1,2]"},
		after:  []string{"plot", "strictplot", "summary"},
	},
	"figure's title": {
		change: []string{`title: "Two"`, `title: "Second"`},
		direct: map[string]string{"plot two": "figure.title: Two -> Second", "strictplot two": "figure.title: Two -> Second"},
	},
	"figure's panel": {
		change: []string{`title: "Two"`, `title: "Two", only: ttft`},
		direct: map[string]string{"plot two": "figure.only: both -> ttft", "strictplot two": "figure.only: both -> ttft"},
	},
	"formats": {
		change: []string{"plot: {formats: [svg]", "plot: {formats: [pdf]"},
		direct: map[string]string{"plot": `formats: ["svg"] -> ["pdf"]`},
	},
	"one more figure": {
		change: []string{"figures:", "figures:\n  - {file: zero, kind: comparison}"},
		direct: map[string]string{"plot zero": "not done yet", "strictplot zero": "not done yet"},
	},
	"this build": {
		mutate: func(w *world) { w.site.Code = "another build" },
		direct: map[string]string{"collect": "code: code -> another build"},
		after:  []string{"analyze", "strict", "plot", "strictplot"}, because: "code: code -> another build",
		same: []string{"summary"},
	},

	// Own steps.
	"a byte of a command's input": {
		files:  map[string]string{"sum.sh": "echo Sum > sum.md\n"},
		direct: map[string]string{"summary": "inputs.sum.sh.sha256: ... -> ..."},
	},
	"command": {
		change: []string{"run: sh sum.sh", "run: sh -e sum.sh"},
		direct: map[string]string{"summary": "run: sh sum.sh -> sh -e sum.sh"},
	},
	"command's variable": {
		change: []string{`outputs: [sum.md], env: {LEVEL: "1"}`, `outputs: [sum.md], env: {LEVEL: "2"}`},
		direct: map[string]string{"summary": "env.LEVEL: 1 -> 2"},
	},
	"command's output": {
		change: []string{"outputs: [sum.md]", "outputs: []"},
		direct: map[string]string{"summary": `outputs: ["sum.md"] -> []`},
	},

	// What changes nothing that is measured or made.
	"name":               {change: []string{"name: mutation", "name: other"}, new: true},
	"order of measuring": {change: []string{"order: as_written", "order: blocks"}},
	"client's threads":   {change: []string{"timeout: 8s", "timeout: 8s, loops: 2"}},
	"client's addresses": {change: []string{"timeout: 8s", "timeout: 8s, source_addresses: [127.0.0.1, 127.0.0.2]"}},
	"transport, by name": {change: []string{"timeout: 8s", "timeout: 8s, transport: epoll"}},
	"retries":            {change: []string{"cooldown_limit: 9s", "cooldown_limit: 9s, retries: 3"}},
	"restarts":           {change: []string{"stages:", "stages:\n  deploy: {restarts: 0}"}},
	"patience":           {change: []string{"stages:", "stages:\n  deploy: {ready_timeout: 7s}"}},
	"port":               {change: []string{"simple: {engine: simulated", "simple: {engine: simulated, port: 8123"}},
	"folder of figures":  {change: []string{`dir: ""`, "dir: elsewhere"}, new: true, mutate: func(w *world) { w.t.Chdir(w.dir) }},
	"a comment":          {change: []string{"slo:", "# as the SLO of the paper has it\nslo:"}},
	"moved results": {mutate: func(w *world) {
		to := filepath.Join(w.dir, "moved")
		if err := os.Rename(w.site.Results, to); err != nil {
			w.t.Fatal(err)
		}
		w.site.Results = to
	}},
	"numbers of GPUs": {
		spec: []string{
			"model:", "gpus: [\"0\", \"1\"]\nmodel:",
			"simple: {engine: simulated, args: {max-num-seqs: 64}", `simple: {engine: command, tensor_parallel: 2, run: "sh server.sh {port}"`,
		},
		change: []string{`"0", "1"`, `"3", "2"`},
	},
	"secret's value": {
		spec:   []string{`64}, env: {LEVEL: "1"}`, `64}, env: {LEVEL: "1", KEY: "${secret:KEY}"}`},
		mutate: func(w *world) { w.env["KEY"] = "another" },
	},
}

// upgrade lets servers come up as another version from now on.
func upgrade(w *world) {
	w.prepare = func(s *server) error {
		s.env["engine_version"] = "fake/2"
		return nil
	}
}

// later moves the world's clock on.
func (w *world) later(d time.Duration) {
	w.site.Now = func() time.Time { return time.Now().Add(d) }
}

// hitExternally lets servers with a cache between them tell that they use it.
func hitExternally(s *server) error {
	if s.deployment.Connector == "lmcache" {
		s.metrics = func(n int) string {
			return fmt.Sprintf("# TYPE vllm:external_prefix_cache_queries_total counter\nvllm:external_prefix_cache_queries_total %d\n"+
				"# TYPE vllm:external_prefix_cache_hits_total counter\nvllm:external_prefix_cache_hits_total %d\n", n*100, n*90)
		}
	}
	return nil
}

// answerChat lets servers answer at the address of chats as these are.
func answerChat(s *server) error {
	s.complete = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !strings.HasSuffix(r.URL.Path, "/chat/completions") {
			return false
		}
		if s.deployment.Connector != "" {
			w.Header().Set("X-Vbp-Fallback", "0")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`+"\n\n")
		}
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`+"\n\n"+
			`data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}`+"\n\ndata: [DONE]\n\n")
		return true
	}
	return nil
}
