package specs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDesign reads the example of the design and compares all of it.
func TestDesign(t *testing.T) {
	e, err := Load("testdata/design.yaml", Options{Env: func(name string) (string, bool) {
		v, ok := map[string]string{"NUM_DECODE_INSTANCES": "3", "TTFT_SLO": "99.5", "PLOT_OUTPUT_DIR": "out", "VBP_GPUS": ""}[name]
		return v, ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	rate := 4.0
	slo := SLO{TTFT: 99500 * time.Microsecond, TPOT: 200 * time.Millisecond, Target: 0.9}
	scales := []float64{0.4, 0.6, 0.8, 1, 1.2, 1.6, 2}
	want := &Experiment{
		File: "testdata/design.yaml", APIVersion: "vbp/v1", Name: "simple-vs-nixl", Model: "Qwen/Qwen3-0.6B",
		GPUs: GPUs{Auto: true},
		Modes: []Mode{
			{Name: "simple", Engine: "vllm", TensorParallel: 1, GPUMemoryUtilization: 0.8, Args: []Arg{{"max-model-len", int64(4096)}}},
			{
				Name: "nixl", Engine: "vllm", GPUMemoryUtilization: 0.8,
				Disaggregated: &Disaggregated{Connector: "nixl", Prefill: Pool{Instances: 1, TensorParallel: 1}, Decode: Pool{Instances: 3, TensorParallel: 1}},
			},
			{Name: "reference", Endpoint: "http://host:8000", Headers: map[string]string{"Authorization": "Bearer ${secret:API_KEY}"}},
		},
		Workload: Workload{
			Dataset: Dataset{Kind: "sharegpt", Name: "prompts", Path: filepath.Join(folder, "data/prompts.json"), Lengths: "auto"},
			API:     "completions", Requests: 300, Arrivals: "poisson", Burstiness: 1, IgnoreEOS: true,
			Body: map[string]any{"temperature": int64(0)},
		},
		SLO: slo,
		Sweep: Sweep{
			Modes: []string{"simple", "nixl"}, QPS: []float64{0.5, 1, 2, 4, 8, 12, 16}, Repeat: 1, Order: "blocks",
			Exclude: []string{"mode == 'simple' && qps > 12"},
		},
		SLOScales: scales, ScaleRate: &rate,
		Stages: []Stage{
			{Name: "deploy", Uses: "deploy", Per: "mode", Deploy: &DeployStage{ReadyTimeout: 5 * time.Minute, Restarts: 2}},
			{Name: "warmup", Uses: "warmup", Needs: []string{"deploy"}, Per: "mode", Warmup: &WarmupStage{Requests: 20}},
			{Name: "load", Uses: "load", Needs: []string{"warmup"}, Per: "point", Load: &LoadStage{Timeout: 2 * time.Minute, Cooldown: 2 * time.Second, CooldownLimit: time.Minute, Retries: 1, Transport: "auto"}},
			{Name: "collect", Uses: "collect", Needs: []string{"load"}, Per: "run", Collect: &CollectStage{ServerMetrics: time.Second, Formats: []string{"parquet"}}},
			{Name: "analyze", Uses: "analyze", Needs: []string{"collect"}, Per: "run", Analyze: &AnalyzeStage{SLO: slo, SLOScales: scales, ScaleRate: &rate}},
			{Name: "plot", Uses: "plot", Needs: []string{"analyze"}, Per: "run", Plot: &PlotStage{Formats: []string{"pdf", "svg", "png"}, Dir: "out"}},
			{
				Name: "strict", Uses: "analyze", Needs: []string{"collect"}, Per: "run",
				Analyze: &AnalyzeStage{SLO: SLO{TTFT: 60 * time.Millisecond, TPOT: 100 * time.Millisecond, Target: 0.9}, SLOScales: scales, ScaleRate: &rate},
			},
			{
				Name: "summary", Uses: "command", Needs: []string{"analyze"}, Per: "run",
				Command: &CommandStage{Run: "./summarise.sh ${VBP_ANALYZE}", Inputs: []string{filepath.Join(folder, "data/summarise.sh")}, Outputs: []string{"summary.md"}},
			},
		},
		Valid: []string{"schedule_kept > 0.97", "send_lag_p99_ms < 5"},
		Figures: []Figure{
			{File: "vllm_benchmark_plots", Kind: "attainment", For: "mode", Only: "both", Series: []string{"mode"}, Xs: "shared"},
			{File: "vllm_comparison_plots", Kind: "comparison", Only: "both", Series: []string{"mode"}, Xs: "shared"},
		},
		Warnings: []string{"the mode reference is not in sweep.mode: it is not run"},
	}
	want.Resolved, want.src = e.Resolved, e.src
	compare(t, e, want)
}

// compare reports the fields in which two experiments differ.
func compare(t *testing.T, got, want *Experiment) {
	t.Helper()
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range g.NumField() {
		if f := g.Type().Field(i); f.IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s is\n%+v\nwant\n%+v", f.Name, g.Field(i), w.Field(i))
		}
	}
}

// TestDefaults reads the least that a spec may say.
func TestDefaults(t *testing.T) {
	e, err := Parse("some where/my first.yaml", []byte("modes: {simple: }\nsweep: {qps: 2}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "my-first" || e.Model != "Qwen/Qwen3-0.6B" || !e.GPUs.Auto || e.Modes[0].Engine != "vllm" {
		t.Errorf("got %+v", e)
	}
	if want := (Dataset{Kind: "random", Name: "random", InputTokens: 256, OutputTokens: 64, RangeRatio: 0.2}); e.Workload.Dataset != want {
		t.Errorf("dataset %+v", e.Workload.Dataset)
	}
	if want := (SLO{125 * time.Millisecond, 200 * time.Millisecond, 0.9}); e.SLO != want || e.Stages[4].Analyze.SLO != want {
		t.Errorf("slo %+v", e.SLO)
	}
	if e.Reuse != (Reuse{}) || e.Sweep.Order != "blocks" || *e.Stages[0].Deploy != (DeployStage{5 * time.Minute, 2}) ||
		!reflect.DeepEqual(*e.Stages[2].Load, LoadStage{Timeout: 2 * time.Minute, Cooldown: 2 * time.Second, CooldownLimit: time.Minute, Retries: 1, Transport: "auto"}) {
		t.Errorf("got %+v", e)
	}
	if e.ScaleRate != nil || len(e.Stages) != 6 || !slices.Equal(e.Valid, defaultRules) {
		t.Errorf("got %+v", e)
	}
	if len(e.Figures) != 1 || e.Figures[0].Kind != "attainment" {
		t.Errorf("one series has nothing to compare: %+v", e.Figures)
	}
}

// TestReadings tables what one line of a spec is read as.
func TestReadings(t *testing.T) {
	tests := []struct {
		spec string // after modes and sweep
		get  func(e *Experiment) any
		want any
	}{
		{"slo: {target: 99.9%}", func(e *Experiment) any { return e.SLO.Target }, 0.999},
		{"slo: {target: 0.5}", func(e *Experiment) any { return e.SLO.Target }, 0.5},
		{"gpus: 3", func(e *Experiment) any { return e.GPUs }, GPUs{Count: 3}},
		{"gpus: [0, GPU-1a]", func(e *Experiment) any { return e.GPUs }, GPUs{List: []string{"0", "GPU-1a"}}},
		{"gpus: '${NO:-4,5}'", func(e *Experiment) any { return e.GPUs }, GPUs{List: []string{"4", "5"}}},
		{"stages: {warmup: {requests: 0}}", func(e *Experiment) any { return e.Stages[1].Warmup.Requests }, 0},
		{"stages: {warmup: null}", func(e *Experiment) any { return e.Stages[1].Warmup.Requests }, 0},
		{"stages: {warmup: {}}", func(e *Experiment) any { return e.Stages[1].Warmup.Requests }, 20},
		{"stages: {s: {uses: analyze, slo: {ttft: 60ms}}}", func(e *Experiment) any { return e.Stages[6].Analyze.SLO }, SLO{60 * time.Millisecond, 200 * time.Millisecond, 0.9}},
		{"reuse: {max_age: 7d}", func(e *Experiment) any { return e.Reuse.MaxAge }, 7 * 24 * time.Hour},
		{"reuse: {max_age: 0}", func(e *Experiment) any { return e.Reuse.MaxAge }, time.Duration(0)},
		{"reuse: null", func(e *Experiment) any { return e.Reuse }, Reuse{}},
		{"stages: {load: {cooldown: 90s}}", func(e *Experiment) any { return e.Stages[2].Load.CooldownLimit }, 90 * time.Second},
		{"stages: {load: {cooldown: 0, cooldown_limit: 0}}", func(e *Experiment) any { return e.Stages[2].Load.CooldownLimit }, time.Duration(0)},
		{"stages: {load: {retries: 0}, deploy: {restarts: 0}}", func(e *Experiment) any { return []int{e.Stages[2].Load.Retries, e.Stages[0].Deploy.Restarts} }, []int{0, 0}},
		{"valid: []", func(e *Experiment) any { return len(e.Valid) }, 0},
		{"figures: []", func(e *Experiment) any { return len(e.Figures) }, 0},
		{"figures: [{kind: attainment, for: all}]", func(e *Experiment) any { return e.Figures[0].For }, ""},
		{"figures: [{kind: comparison}]", func(e *Experiment) any { return e.Figures[0].File }, "vllm_comparison_plots"},
		{
			"workload: {body: {a: 012, b: 2024-01-01, c: 1_0, d: '7', e: 7, f: 0.5, g: yes, h: ~, i: '${NO:-7}', j: 1e3, k: {l: [true]}}}",
			func(e *Experiment) any { return e.Workload.Body },
			map[string]any{
				"a": "012", "b": "2024-01-01", "c": "1_0", "d": "7", "e": int64(7), "f": 0.5, "g": "yes", "h": nil,
				"i": int64(7), "j": 1000.0, "k": map[string]any{"l": []any{true}},
			},
		},
		{"workload: {dataset: {kind: jsonl, path: data/prompts.json}}", func(e *Experiment) any { return e.Workload.Dataset.OutputTokens }, 64},
		{"workload: {}", func(e *Experiment) any { return ended(e) }, []any{300, time.Duration(0)}},
		{"workload: {duration: 2m}", func(e *Experiment) any { return ended(e) }, []any{0, 2 * time.Minute}},
		{"workload: {duration: 2m, requests: 50}", func(e *Experiment) any { return ended(e) }, []any{50, 2 * time.Minute}},
		{"workload: {duration: '${NO:-0}', max_concurrency: '${NO:-0}'}", func(e *Experiment) any { return ended(e) }, []any{300, time.Duration(0)}},
		{"workload: {max_concurrency: 8}", func(e *Experiment) any { return e.Workload.MaxConcurrency }, 8},
		{"workload: {ramp: null}", func(e *Experiment) any { return e.Workload.Ramp }, Ramp{}},
		{"workload: {arrivals: ramp}", func(e *Experiment) any { return e.Workload.Ramp }, Ramp{"linear", 0.1, 0}},
		{"workload: {arrivals: ramp, ramp: {from: 0, over: 10s}}", func(e *Experiment) any { return e.Workload.Ramp }, Ramp{"linear", 0, 10 * time.Second}},
		{"workload: {arrivals: ramp, ramp: {shape: exponential, from: 2.5%}}", func(e *Experiment) any { return e.Workload.Ramp }, Ramp{"exponential", 0.025, 0}},
		{"workload: {rescale: true}", func(e *Experiment) any { return e.Workload.Rescale }, true},
		{"workload: {arrivals: trace, dataset: {kind: trace, path: data/trace.csv}}", func(e *Experiment) any { return []any{e.Workload.Rescale, e.Workload.Dataset.Name} }, []any{true, "trace"}},
		{"workload: {arrivals: trace, rescale: false, dataset: {kind: trace, path: data/trace.csv}}", func(e *Experiment) any { return e.Workload.Rescale }, false},
		{"workload: {dataset: {kind: trace, path: data/trace.csv, format: azure}}", func(e *Experiment) any { return []any{e.Workload.Rescale, e.Workload.Dataset.Format} }, []any{false, "azure"}},
		{"workload: {dataset: {prefix_tokens: 128}}", func(e *Experiment) any { return []any{e.Workload.Dataset.PrefixTokens, e.Workload.Dataset.Lengths} }, []any{128, ""}},
		{"workload: {dataset: {kind: sharegpt, path: data/prompts.json}}", func(e *Experiment) any { return e.Workload.Dataset.Lengths }, "auto"},
		{"workload: {dataset: {kind: sharegpt, path: data/prompts.json, lengths: estimate}}", func(e *Experiment) any { return e.Workload.Dataset.Lengths }, "estimate"},
		{"stages: {load: {transport: epoll, loops: 4}}", func(e *Experiment) any { return []any{e.Stages[2].Load.Transport, e.Stages[2].Load.Loops} }, []any{"epoll", 4}},
		{"stages: {load: {transport: net/http, loops: 0}}", func(e *Experiment) any { return e.Stages[2].Load.Transport }, "net/http"},
		{"stages: {load: {source_addresses: 127.0.0.2}}", func(e *Experiment) any { return e.Stages[2].Load.SourceAddresses }, []string{"127.0.0.2"}},
		{"stages: {load: {source_addresses: [127.0.0.2, '::1', fe80::1%eth0]}}", func(e *Experiment) any { return e.Stages[2].Load.SourceAddresses }, []string{"127.0.0.2", "::1", "fe80::1%eth0"}},
		{"stages: {analyze: {window: {}}}", func(e *Experiment) any { return e.Stages[4].Analyze.Window }, Window{}},
		{"stages: {analyze: {window: {from: 10s, to: 90%}}}", func(e *Experiment) any { return e.Stages[4].Analyze.Window }, Window{Edge{At: 10 * time.Second, Set: true}, Edge{Share: 0.9, Set: true}}},
		{"stages: {analyze: {window: {from: 0}}, s: {uses: analyze, window: {from: 0%, to: 1d}}}", func(e *Experiment) any { return []Window{e.Stages[4].Analyze.Window, e.Stages[6].Analyze.Window} }, []Window{{From: Edge{Set: true}}, {Edge{Set: true}, Edge{At: 24 * time.Hour, Set: true}}}},
		{"stages: {analyze: {window: {from: 5s}}, s: {uses: analyze}}", func(e *Experiment) any { return e.Stages[6].Analyze.Window }, Window{}},
		{"workload: {dataset: &d {input_tokens: 9}, body: {x: *d}}", func(e *Experiment) any { return e.Workload.Body["x"] }, map[string]any{"input_tokens": int64(9)}},
		{"workload: {<<: [{seed: 1, requests: 7}, {seed: 2}], requests: 8}", func(e *Experiment) any { return []any{e.Workload.Seed, e.Workload.Requests} }, []any{int64(1), 8}},
	}
	for _, tt := range tests {
		e, err := Parse("testdata/x.yaml", []byte("modes: {m: }\nsweep: {qps: [1]}\n"+tt.spec), Options{Env: noEnv})
		if err != nil {
			t.Errorf("%s: %v", tt.spec, err)
			continue
		}
		if got := tt.get(e); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, want %#v", tt.spec, got, tt.want)
		}
	}
}

// ended is what ends a point.
func ended(e *Experiment) []any { return []any{e.Workload.Requests, e.Workload.Duration} }

func noEnv(string) (string, bool) { return "", false }

func TestWarnings(t *testing.T) {
	e := parse(t, "modes: {a: {}, b: {}}\nsweep: {mode: a, qps: [1], workload.seed: ["+numbers(9)+"]}\nscale_rate: 3\n")
	want := []string{
		"the mode b is not in sweep.mode: it is not run",
		"scale_rate 3 is not a rate of sweep.qps: there is nothing to re-score at it",
		"vllm_benchmark_plots is not drawn: it would have more than 8 series; say under figures which, with where or series",
		"vllm_comparison_plots is not drawn: it would have more than 8 series; say under figures which, with where or series",
	}
	if !slices.Equal(e.Warnings, want) {
		t.Errorf("got\n%s", strings.Join(e.Warnings, "\n"))
	}
}

// TestKnownKeys holds the lists of known keys to what is read: a key that is
// listed and not read would be an option that does nothing.
func TestKnownKeys(t *testing.T) {
	bad := "{a: [[]]}" // no key takes this
	try := func(where string, keys []string, format string) {
		for _, key := range keys {
			spec := "modes: {m: }\nsweep: {qps: [1]}\n" + strings.ReplaceAll(format, "KEY", key+": "+bad)
			_, err := Parse("x.yaml", []byte(spec), Options{})
			if err == nil || !strings.Contains(err.Error(), "."+key) {
				t.Errorf("%s: %s is not read: %v", where, key, err)
			}
		}
	}
	free := []string{"body"} // takes any mapping
	try("workload", slices.DeleteFunc(slices.Clone(workloadKeys), func(k string) bool { return slices.Contains(free, k) }), "workload: {KEY}")
	try("dataset", datasetKeys, "workload: {dataset: {KEY}}")
	try("reuse", reuseKeys, "reuse: {KEY}")
	try("ramp", rampKeys, "workload: {arrivals: ramp, ramp: {KEY}}")
	try("window", windowKeys, "stages: {analyze: {window: {KEY}}}")
	try("slo", sloKeys, "slo: {KEY}")
	try("figures", figureKeys, "figures: [{KEY}]")
	for uses, kind := range stageKinds {
		try(uses, append(slices.Clone(kind.keys), "needs", "per"), "stages: {x: {uses: "+uses+", KEY}}")
	}
	for _, key := range modeKeys {
		_, err := Parse("x.yaml", []byte("modes: {m: {"+key+": [[]]}}\nsweep: {qps: [1]}\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), "modes.m."+key) {
			t.Errorf("mode: %s is not read: %v", key, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	_, err := Load("testdata/nowhere.yaml", Options{})
	var e *Error
	if !errors.As(err, &e) || e.File != "testdata/nowhere.yaml" || !strings.Contains(err.Error(), "there is no such file") {
		t.Errorf("got %v", err)
	}
	if _, err := Load("testdata", Options{}); err == nil {
		t.Error("a folder was read")
	}
	for _, data := range []string{"\xff\xfe", "a: \x00", "---\n...\n---", "? [a]\n: b", strings.Repeat("[", 20000), "a: &a [x, x]\nb: &b [*a, *a]"} {
		if _, err := Parse("x", []byte(data), Options{}); err == nil {
			t.Errorf("%.20q was read", data)
		}
	}
}

// TestAliasBomb doubles a list forty times.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 40; i++ {
		b.WriteString(strings.NewReplacer("N", string(rune('A'+i)), "P", string(rune('A'+i-1))).Replace("aN: &aN [*aP, *aP]\n"))
	}
	_, err := Parse("x", []byte(strings.ReplaceAll(b.String(), "a0", "aA")), Options{})
	if err == nil || !strings.Contains(err.Error(), "aliases of aliases") && !strings.Contains(err.Error(), "YAML") {
		t.Errorf("got %v", err)
	}
}

// TestResolved reads every good spec's resolved form again.
func TestResolved(t *testing.T) {
	design, err := os.ReadFile("testdata/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{
		string(design),
		"modes: {m: {env: {A: '$${X}', B: '${NO:-}', C: '${secret:S}', D: 'null', E: 5}, args: {a: '5', b: '${NO:-5}', c: null, '<<': x, 'true': 'a: b', d: [1, '1']}}}\nsweep: {qps: [1]}",
		"modes: {m: {engine: command, run: 'serve --port {port} ${PORT} $${X}'}}\nsweep: {qps: ['1..2/0.5'], workload.seed: [1, 2]}\nvalid: []",
		"modes: {m: }\nsweep: {qps: [1], order: as_written, stages.load.cooldown_limit: [1d, 2h]}\nreuse: {max_age: 1.5d}\nstages: {load: {timeout: '${NO:-1}d'}}",
		"modes: {m: }\nsweep: {qps: [1], workload.duration: [1d, 2h]}\nworkload: {arrivals: ramp, ramp: {from: '${NO:-0%}', over: 0.01d}}\nstages: {analyze: {window: {from: '${NO:-0.1}d', to: '${NO:-90}%'}}, load: {source_addresses: ['::1']}}",
		"modes: {m: }\nsweep: {qps: [1]}\nworkload: {arrivals: trace, dataset: {kind: trace, path: data/trace.csv}}",
		"modes: {m: {args: {text: \"two\\nlines \", sp: ' x', u: \"\\u00e9\\t\\x07\", h: '#', d: '0x10', t: '~'}}}\nsweep: {qps: [1]}",
	} {
		o := Options{Env: noEnv, Set: []string{"slo.ttft=${NO:-7}ms", "workload.body={top_p: 0.5, x: '1'}"}}
		e, err := Parse("testdata/design.yaml", []byte(spec), o)
		if err != nil {
			t.Error(err)
			continue
		}
		again, err := Parse("testdata/design.yaml", e.Resolved, Options{Env: noEnv})
		if err != nil {
			t.Errorf("%v\nin %s", err, e.Resolved)
			continue
		}
		compare(t, again, e)
	}
}
