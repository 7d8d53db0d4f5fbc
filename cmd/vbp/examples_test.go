package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// standIn puts a program vllm first on PATH that executes `vbp engine`, and
// says that the host has four GPUs. It returns a vbp to call.
func standIn(t *testing.T) {
	t.Helper()
	bin := filepath.Dir(vbpProgram(t))
	script := "#!/bin/sh\nexec vbp engine \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "vllm"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("VBP_GPUS", "4")
	for _, v := range []string{"CUDA_VISIBLE_DEVICES", "DATASET", "MODEL", "ENDPOINT"} {
		t.Setenv(v, "") // put back when the test ends
		os.Unsetenv(v)
	}
}

// skipIfShort leaves out a test of many short commands: under the race detector
// each takes a second to start, and nothing in them runs side by side.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short")
	}
}

// example is the path of an example spec.
func example(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExamplesAreValidAndPlanned(t *testing.T) {
	skipIfShort(t)
	standIn(t)
	specs, err := filepath.Glob(example(t, "*.yaml"))
	if err != nil || len(specs) < 8 {
		t.Fatalf("%q, %v", specs, err)
	}
	for _, spec := range specs {
		for _, command := range []string{"validate", "plan", "graph"} {
			if stdout, stderr, code := vbp(t, t.TempDir(), command, spec); code != 0 || stdout == "" || stderr != "" {
				t.Errorf("vbp %s %s: exit code %d\n%s%s", command, filepath.Base(spec), code, stdout, stderr)
			}
		}
	}
}

// planned is what `vbp plan --json` says of the nodes of a spec.
type planned []struct {
	Node      string
	Processes []struct {
		Name, Shell string
		GPUs        []string
	}
}

func planOf(t *testing.T, spec string) planned {
	t.Helper()
	stdout, stderr, code := vbp(t, t.TempDir(), "plan", "--json", spec)
	if code != 0 {
		t.Fatalf("plan %s: exit code %d: %s", spec, code, stderr)
	}
	var p struct{ Nodes planned }
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatal(err)
	}
	return p.Nodes
}

// portOrPath is what differs from one folder to another: picked ports, and the
// path of vbp.
var portOrPath = regexp.MustCompile(`\b[23]\d{4}\b|/\S*/vbp`)

// words are those of every command line and environment of a plan, each with
// the name of its process; ports are left out.
func (p planned) words() []string {
	var out []string
	for _, n := range p {
		for _, proc := range n.Processes {
			for _, w := range strings.Fields(portOrPath.ReplaceAllString(proc.Shell, "")) {
				out = append(out, proc.Name+" "+w)
			}
		}
	}
	return out
}

// gained is what b has more of than a, without ports and addresses.
func gained(a, b []string) []string {
	a = slices.Clone(a)
	var more []string
	for _, w := range b {
		if i := slices.Index(a, w); i >= 0 {
			a = slices.Delete(a, i, i+1)
		} else {
			more = append(more, w)
		}
	}
	return more
}

// TestScriptsVariables holds that each variable of the scripts changes what it
// should, and nothing else, in the planned command lines.
func TestScriptsVariables(t *testing.T) {
	skipIfShort(t)
	for _, c := range []struct {
		variable, value, spec string
		gains                 []string
	}{
		{"NUM_PREFILL_INSTANCES", "2", "nixl.yaml", []string{"prefill-1 serve", "decode-0 CUDA_VISIBLE_DEVICES=2", "proxy --prefill"}},
		{"NUM_DECODE_INSTANCES", "3", "nixl.yaml", []string{"decode-1 serve", "decode-2 serve", "decode-2 CUDA_VISIBLE_DEVICES=3"}},
		{"PREFILLER_TP_SIZE", "2", "nixl.yaml", []string{"prefill-0 CUDA_VISIBLE_DEVICES=0,1", "prefill-0 2", "decode-0 CUDA_VISIBLE_DEVICES=2"}},
		{"DECODER_TP_SIZE", "2", "nixl.yaml", []string{"decode-0 CUDA_VISIBLE_DEVICES=1,2", "decode-0 2"}},
		{"TENSOR_PARALLEL_SIZE", "4", "simple.yaml", []string{"server CUDA_VISIBLE_DEVICES=0,1,2,3", "server 4"}},
		{"GPU_MEMORY_UTILIZATION", "0.55", "simple.yaml", []string{"server 0.55"}},
		{"GPU_MEMORY_UTILIZATION", "0.55", "nixl.yaml", []string{"prefill-0 0.55", "decode-0 0.55"}},
		{"LMCACHE_PORT", "7788", "lmcache.yaml", []string{"prefill-0 LMCACHE_REMOTE_URL=lm://127.0.0.1:7788", "decode-0 LMCACHE_REMOTE_URL=lm://127.0.0.1:7788"}},
		{"TTFT_SLO", "80", "compare.yaml", nil},
		{"TPOT_SLO", "20", "compare.yaml", nil},
		{"TARGET_ATTAINMENT", "99", "compare.yaml", nil},
		{"PLOT_OUTPUT_DIR", "elsewhere", "compare.yaml", nil},
	} {
		t.Run(c.variable+" of "+c.spec, func(t *testing.T) {
			standIn(t)
			spec := example(t, c.spec)
			before := planOf(t, spec).words()
			t.Setenv(c.variable, c.value)
			more := gained(before, planOf(t, spec).words())
			for _, want := range c.gains {
				if !slices.Contains(more, want) {
					t.Errorf("%s=%s does not bring %q, but %q", c.variable, c.value, want, more)
				}
			}
			if c.gains == nil && len(more) > 0 {
				t.Errorf("%s=%s changes command lines: %q", c.variable, c.value, more)
			}
		})
	}
}

// TestTooFewGPUs: what can never fit is an error of the plan, which says how
// many are needed.
func TestTooFewGPUs(t *testing.T) {
	standIn(t)
	t.Setenv("NUM_PREFILL_INSTANCES", "2")
	t.Setenv("PREFILLER_TP_SIZE", "2")
	_, stderr, code := vbp(t, t.TempDir(), "plan", example(t, "compare.yaml"))
	if code != 2 || !strings.Contains(stderr, "the mode nixl needs 5 GPUs (2 prefill x 2 + 1 decode x 1) and gpus gives 4") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// entry is what is looked at of an entry of points.json.
type entry struct {
	Config, Environment map[string]string
	Facts               map[string]float64
}

// applied runs an example with few requests, scored so leniently that only the
// servers' part decides about its points, and returns the run's folder and its
// points.
func applied(t *testing.T, name string, args ...string) (dir, stdout string, points []entry) {
	t.Helper()
	home := t.TempDir()
	stdout, stderr, code := vbp(t, home, append([]string{
		"apply", example(t, name), "--set", "workload.requests=6", "--set", "stages.load.cooldown=0s",
		"--set", "stages.warmup.requests=2", "--set", `valid=["sent == 6", "failed == 0"]`,
	}, args...)...)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s\n%s", name, code, stdout, stderr)
	}
	runs, err := filepath.Glob(filepath.Join(home, "results", "*", "*", "points.json"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%q, %v", runs, err)
	}
	data, err := os.ReadFile(runs[0])
	if err == nil {
		err = json.Unmarshal(data, &points)
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stdout, "not valid") || !strings.Contains(stdout, "valid") {
		t.Errorf("%s: verdicts:\n%s", name, stdout)
	}
	return filepath.Dir(runs[0]), stdout, points
}

// TestExamplesOnStandIn runs the specs for real engines on a program that
// stands in for vLLM: what the spec asks for is what the servers tell, and KV
// went from prefill to decode instances.
func TestExamplesOnStandIn(t *testing.T) {
	standIn(t)
	t.Setenv("PREFILLER_TP_SIZE", "2")
	t.Setenv("DECODER_TP_SIZE", "2")
	for _, c := range []struct {
		spec    string
		figures []string
	}{
		{"compare.yaml", []string{
			"simple/vllm_benchmark_plots.pdf", "nixl/vllm_benchmark_plots.pdf", "vllm_comparison_plots.pdf",
			"vllm_comparison_plots_ttft.pdf", "vllm_comparison_plots_tpot.pdf",
		}},
		{"lmcache.yaml", []string{"vllm_benchmark_plots.pdf"}},
	} {
		dir, stdout, points := applied(t, c.spec, "--set", "sweep.qps=[16, 32]", "--set", "scale_rate=16")
		for _, f := range c.figures {
			if _, err := os.Stat(filepath.Join(dir, "plots", f)); err != nil {
				t.Errorf("%s: %v", c.spec, err)
			}
		}
		if !strings.Contains(stdout, "simulated engine") {
			t.Errorf("%s: a stand-in is not called one:\n%s", c.spec, stdout)
		}
		for _, p := range points {
			switch p.Config["deployment_mode"] {
			case "simple":
				if p.Environment["kv_connector"] != "none" || p.Environment["tensor_parallel_size"] != "1" || p.Environment["max_model_len"] != "4096" {
					t.Errorf("simple: %v", p.Environment)
				}
			case "nixl":
				if p.Environment["kv_connector"] != "NixlConnector" || p.Environment["tensor_parallel_size"] != "2" {
					t.Errorf("nixl: %v", p.Environment)
				}
				if p.Facts["nixl_bytes"] <= 0 || p.Facts["nixl_failed"] != 0 || p.Facts["nixl_expired"] != 0 || p.Facts["fallbacks"] != 0 {
					t.Errorf("nixl: %v", p.Facts)
				}
			case "lmcache":
				if p.Environment["kv_connector"] != "LMCacheConnectorV1" || p.Environment["kv_role.prefill-0"] != "kv_both" || p.Facts["external_hit_share"] < .9 {
					t.Errorf("lmcache: %v, %v", p.Environment, p.Facts)
				}
			default:
				t.Errorf("a point of %v", p.Config)
			}
		}
	}
}

// TestExamplesOfOnesOwn runs those that need no GPU.
func TestExamplesOfOnesOwn(t *testing.T) {
	_, stdout, points := applied(t, "own-dataset.yaml", "--set", "sweep.qps=[60]", "--set", "scale_rate=60")
	if len(points) != 3 || !strings.Contains(stdout, "simulated engine") {
		t.Errorf("%d points:\n%s", len(points), stdout)
	}
	dir, _, _ := applied(t, "own-step.yaml", "--set", "sweep.qps=[40, 60]")
	summary, err := filepath.Glob(filepath.Join(dir, "*", "summary.md"))
	if err != nil || len(summary) != 1 {
		t.Fatalf("summary: %q, %v", summary, err)
	}
	text, err := os.ReadFile(summary[0])
	if err != nil || !strings.Contains(string(text), "TTFT <= 60 ms") || !strings.Contains(string(text), "TTFT <= 40 ms") || strings.Count(string(text), "req/s\n") != 4 {
		t.Errorf("%v:\n%s", err, text)
	}
	// Of six requests the window leaves out the first and the last; the rows
	// have the trace's own lengths.
	_, stdout, points = applied(t, "trace.yaml", "--set", "sweep.qps=[60]")
	if len(points) != 1 || points[0].Facts["sent"] != 6 || !strings.Contains(stdout, "Window 5%..95% of each point's schedule: 2 of 6 requests were due outside it") {
		t.Errorf("%+v:\n%s", points, stdout)
	}
	address, _ := serveEngine(t, "127.0.0.1:0")
	t.Setenv("ENDPOINT", "http://"+address)
	t.Setenv("MODEL", "Qwen/Qwen3-8B")
	if _, stdout, points = applied(t, "attach.yaml", "--set", "sweep.qps=[40]"); len(points) != 1 || points[0].Environment["engine"] != "attached" {
		t.Errorf("%+v:\n%s", points, stdout)
	}
}
