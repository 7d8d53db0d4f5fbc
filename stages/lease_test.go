package stages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realModes are three modes of vLLM that need five GPUs together.
const realModes = `modes:
  a: {engine: vllm, tensor_parallel: 2}
  b: {engine: vllm, disaggregated: {connector: nixl}}
  c: {engine: vllm, env: {CUDA_VISIBLE_DEVICES: "7"}}
`

// withVLLM puts an empty program vllm on PATH.
func (w *world) withVLLM() {
	w.t.Setenv("PATH", filepath.Dir(w.write("bin/vllm", "")))
	if err := os.Chmod(filepath.Join(w.dir, "bin/vllm"), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// Deployments that may be up at the same time never share a GPU: one that
// finds too few free waits.
func TestGPUsAreLeased(t *testing.T) {
	w := newWorld(t)
	w.withVLLM()
	t.Setenv("VBP_GPUS", "GPU-ab,3,5")
	w.prepare = func(s *server) error {
		for _, other := range w.started() {
			other.mu.Lock()
			up := other.stops == 0
			other.mu.Unlock()
			for _, id := range s.options.GPUs {
				if up && slices.Contains(other.options.GPUs, id) {
					t.Errorf("GPU %s is given to two deployments at once", id)
				}
			}
		}
		return nil
	}
	a := w.apply(changed(t, oneMode, "modes: {simple: {engine: simulated}}\n", realModes, "cooldown: 0s", "cooldown: 0s, side_by_side: true"))
	if n := a.Tally(); n.Usable != 3 || n.Lost != 0 {
		t.Errorf("%+v", n)
	}
	if len(w.started()) != 3 {
		t.Fatalf("%d deployments", len(w.started()))
	}
	for _, s := range w.started() {
		want := s.deployment.GPUs()
		if s.deployment.Server != nil && s.deployment.Server.OwnDevices() {
			want = 0
		}
		if len(s.options.GPUs) != want {
			t.Errorf("%d GPUs for one that needs %d", len(s.options.GPUs), want)
		}
	}
}

// What a plan shows can be pasted into a shell: it has the ports and GPUs that
// a start would take.
func TestStarts(t *testing.T) {
	w := newWorld(t)
	w.withVLLM()
	t.Setenv("VBP_GPUS", "4,5,6")
	spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}\n", realModes+`  there: {endpoint: "http://127.0.0.1:9"}`+"\n")
	p, err := PlanOf(t.Context(), w.parse(spec), w.site, false)
	if err != nil {
		t.Fatal(err)
	}
	starts, err := Starts(t.Context(), p, w.parse(spec), w.site)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	ports := make(map[int]bool)
	for _, s := range starts {
		for _, proc := range s.Processes {
			lines = append(lines, s.Node+" "+proc.Name+": "+proc.Shell())
			if ports[proc.Port] || proc.Port == 0 {
				t.Errorf("port %d twice", proc.Port)
			}
			ports[proc.Port] = true
		}
	}
	want := []string{ // one after the other, so that each begins with the first GPU
		"deploy mode=a server: CUDA_VISIBLE_DEVICES=4,5 VLLM_SERVER_DEV_MODE=1 vllm serve Qwen/Qwen3-8B ",
		"deploy mode=b prefill-0: CUDA_VISIBLE_DEVICES=4 VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=",
		"deploy mode=b decode-0: CUDA_VISIBLE_DEVICES=5 VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=",
		"deploy mode=b proxy: " + w.site.Self + " proxy ",
		"deploy mode=c server: VLLM_SERVER_DEV_MODE=1 CUDA_VISIBLE_DEVICES=7 vllm serve Qwen/Qwen3-8B ",
	}
	if len(lines) != len(want) {
		t.Fatalf("got %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("got  %s\nwant %s...", line, want[i])
		}
	}
	if starts[len(starts)-1].Endpoint != "http://127.0.0.1:9" || starts[len(starts)-1].Processes != nil || !strings.Contains(starts[len(starts)-1].Trouble, "connection refused") {
		t.Errorf("a server that runs already: %+v", starts[len(starts)-1])
	}
}
