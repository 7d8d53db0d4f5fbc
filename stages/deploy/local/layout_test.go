package local

import (
	"reflect"
	"strings"
	"testing"

	"vbp/stages/deploy"
)

func TestLayout(t *testing.T) {
	d := deploy.Deployment{
		Engine: "simulated", Model: "Qwen/Qwen3-0.6B", Connector: "nixl", Port: 8192,
		Prefill: &deploy.Pool{Instances: 2, TensorParallel: 2, GPUMemoryUtilization: 0.8, Args: []deploy.Arg{
			arg("preset", "h100"), arg("flag", nil), arg("on", true), arg("off", false), arg("max-model-len", int64(4096)),
			arg("share", 0.25), arg("list", []any{int64(1), "a<b"}), arg("map", map[string]any{"k": "v"}),
		}, Env: map[string]string{"B": "2", "A": "x y"}},
		Decode: &deploy.Pool{Instances: 1, TensorParallel: 1},
	}
	got, err := Layout(d, "/bin/vbp", []string{"4", "5", "6", "7", "0"})
	if err != nil {
		t.Fatal(err)
	}
	prefill := strings.Fields("/bin/vbp engine --model Qwen/Qwen3-0.6B --host 127.0.0.1 --port 0 --tensor-parallel-size 2 --gpu-memory-utilization 0.8" +
		` --preset h100 --flag --on --no-off --max-model-len 4096 --share 0.25 --list [1,"a<b"] --map {"k":"v"}`)
	want := []deploy.Process{
		{Name: "prefill-0", Role: deploy.Prefill, Argv: prefill, Env: []string{"CUDA_VISIBLE_DEVICES=4,5", "A=x y", "B=2"}, GPUs: []string{"4", "5"}},
		{Name: "prefill-1", Role: deploy.Prefill, Argv: prefill, Env: []string{"CUDA_VISIBLE_DEVICES=6,7", "A=x y", "B=2"}, GPUs: []string{"6", "7"}},
		{
			Name: "decode-0", Role: deploy.Decode, Env: []string{"CUDA_VISIBLE_DEVICES=0"}, GPUs: []string{"0"},
			Argv: strings.Fields("/bin/vbp engine --model Qwen/Qwen3-0.6B --host 127.0.0.1 --port 0 --tensor-parallel-size 1"),
		},
		{Name: "proxy", Role: deploy.Proxy, Port: 8192, Argv: strings.Fields("/bin/vbp proxy --host 127.0.0.1 --port 8192 --connector nixl" +
			" --prefill http://127.0.0.1:0 --prefill http://127.0.0.1:0 --decode http://127.0.0.1:0")},
	}
	if len(got) != len(want) {
		t.Fatalf("%d processes, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("process %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
	if got, want := want[2].Shell(), "CUDA_VISIBLE_DEVICES=0 /bin/vbp engine --model Qwen/Qwen3-0.6B --host 127.0.0.1 --port 0 --tensor-parallel-size 1"; got != want {
		t.Errorf("command line %q, want %q", got, want)
	}
}

func TestLayoutRefuses(t *testing.T) {
	one := func() *deploy.Pool { return &deploy.Pool{Instances: 1, TensorParallel: 1} }
	for _, c := range []struct {
		want string
		d    deploy.Deployment
	}{
		{`engine "sglang" is not known; there is: command, simulated, vllm`, deploy.Deployment{Engine: "sglang", Model: "m", Server: one()}},
		{"needs a model", deploy.Deployment{Engine: "simulated", Server: one()}},
		{"not both", deploy.Deployment{Engine: "simulated", Model: "m", Server: one(), Decode: one()}},
		{"both prefill and decode", deploy.Deployment{Engine: "simulated", Model: "m", Prefill: one()}},
		{"exactly one", deploy.Deployment{Engine: "simulated", Model: "m", Server: &deploy.Pool{Instances: 2}}},
		{"at least one of each", deploy.Deployment{Engine: "simulated", Model: "m", Connector: "nixl", Prefill: &deploy.Pool{}, Decode: one()}},
		{`connector "mooncake" is not known; there is: lmcache, nixl`, deploy.Deployment{Engine: "simulated", Model: "m", Connector: "mooncake", Prefill: one(), Decode: one()}},
		{"lmcache joins one of each", deploy.Deployment{Engine: "simulated", Model: "m", Connector: "lmcache", Prefill: &deploy.Pool{Instances: 2}, Decode: one()}},
		{"needs 4 GPUs and was given 1: 0", deploy.Deployment{Engine: "simulated", Model: "m", Server: &deploy.Pool{Instances: 1, TensorParallel: 4}}},
		{"port 70000", deploy.Deployment{Engine: "simulated", Model: "m", Port: 70000, Server: one()}},
		{"already runs", deploy.Deployment{Engine: "simulated", Model: "m", Endpoint: "http://x", Server: one()}},
		{"without leading dashes", deploy.Deployment{Engine: "simulated", Model: "m", Server: &deploy.Pool{Instances: 1, Args: []deploy.Arg{arg("--x", 1)}}}},
		{"cannot be written as JSON", deploy.Deployment{Engine: "simulated", Model: "m", Server: &deploy.Pool{Instances: 1, Args: []deploy.Arg{arg("x", []any{func() {}})}}}},
	} {
		if _, err := Layout(c.d, "vbp", []string{"0"}); err == nil {
			t.Errorf("no error, want %q", c.want)
		} else {
			contains(t, err.Error(), c.want)
		}
	}
}

func arg(name string, value any) deploy.Arg { return deploy.Arg{Name: name, Value: value} }

// contains fails the test for each of wants that text lacks.
func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}
