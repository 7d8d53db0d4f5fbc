package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// environment is a lookup in a map, as os.LookupEnv is one in the process's.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func parseServe(t *testing.T, vars map[string]string, args ...string) Options {
	t.Helper()
	o, err := ParseServe(args, environment(vars))
	if err == nil {
		_, err = o.Resolve()
	}
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o
}

// A command line with everything that has an effect, in all the forms that
// vLLM takes.
func TestParseServeHonours(t *testing.T) {
	o := parseServe(
		t, map[string]string{
			"CUDA_VISIBLE_DEVICES": "2,3,4,5", "VLLM_SERVER_DEV_MODE": "1",
			"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": "5700",
		},
		"Qwen/Qwen3-8B", "--host", "127.0.0.1", "--port=8100", "--tensor_parallel_size", "2", "-dp", "2", "--gpu-memory-utilization", "0.8",
		"--max_model_len=4k", "--max-num-seqs", "32", "--max-num-batched-tokens", "2K", "--block-size", "32", "--seed", "7", "--no-enable-prefix-caching",
		"--served-model-name", "a", "b", "--api-key", "k1", "k2",
		"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_both"}`, "--kv-transfer-config.kv_connector_extra_config.kv_lease_duration", "9",
		"--engine-version", "0.27.0", "--fail-after", "3",
	)
	s, err := o.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	c := s.Scheduler
	if o.model() != "Qwen/Qwen3-8B" || o.Host != "127.0.0.1" || o.Port != 8100 || o.TensorParallelSize != 2 || o.DataParallelSize != 2 || o.GPUMemoryUtilization != .8 ||
		c.MaxModelLen != 4000 || c.MaxSeqs != 32 || c.MaxBatchedTokens != 2048 || c.BlockSize != 32 || o.Seed != 7 || c.PrefixCaching ||
		!slices.Equal(o.ServedModelName, []string{"a", "b"}) || !slices.Equal(o.APIKeys, []string{"k1", "k2"}) ||
		c.Lease.Seconds() != 9 || o.Version() != "0.27.0" || o.FailAfter != 3 || !o.Strict || !o.DevMode || s.Preset != "h100/qwen3-8b" {
		t.Errorf("%+v\n%+v", o, c)
	}
	if want := []string{"127.0.0.1:5700", "127.0.0.1:5701"}; !slices.Equal(o.SideChannel, want) {
		t.Errorf("side channel %q, want %q", o.SideChannel, want)
	}
	if len(o.Notes) > 0 {
		t.Errorf("notes about a command line that has an effect: %q", o.Notes)
	}
}

func TestParseServeDefaults(t *testing.T) {
	o := parseServe(t, nil)
	if o.model() != "Qwen/Qwen3-0.6B" || o.DevMode || o.SideChannel != nil || o.APIKeys != nil || o.Version() != Identity {
		t.Errorf("%+v", o)
	}
	o = parseServe(t, map[string]string{"VLLM_API_KEY": "secret", "VLLM_SERVER_DEV_MODE": "0", "CUDA_VISIBLE_DEVICES": "0"}, "--model", "Qwen/Qwen3-8B", "--max-model-len", "-1")
	if o.model() != "Qwen/Qwen3-8B" || o.DevMode || !slices.Equal(o.APIKeys, []string{"secret"}) || o.MaxModelLen != 0 {
		t.Errorf("%+v", o)
	}
	// vLLM's own default port of the side channel.
	o = parseServe(t, nil, "m", "--kv-transfer-config.kv_connector=NixlConnector", "--kv-transfer-config.kv_role", "kv_consumer")
	if !slices.Equal(o.SideChannel, []string{"localhost:5600"}) {
		t.Errorf("side channel %q", o.SideChannel)
	}
}

// Whatever vLLM has and a simulation has no use for passes, and is told once.
func TestParseServeAcceptsWithoutEffect(t *testing.T) {
	o := parseServe(
		t, nil, "Qwen/Qwen3-8B", "--dtype", "bfloat16", "--enforce-eager", "--no-enable-log-requests", "--disable-log-requests", "--trust_remote_code",
		"--load-format=dummy", "--dtype", "auto", "-q", "fp8", "-O3", "--compilation-config", `{"level": 3}`, "--compilation_config.level", "2",
		"--cudagraph-capture-sizes", "1", "2", "4", "--hf-token", "--swap-space", "4", "--lora-modules", "a=b", "c=d", "-pp", "1", "--disable-prefix-caching",
	)
	want := "without effect in a simulation: --dtype --enforce-eager --no-enable-log-requests --disable-log-requests --trust-remote-code --load-format " +
		"--quantization --optimization-level --compilation-config --cudagraph-capture-sizes --hf-token --swap-space --lora-modules --pipeline-parallel-size"
	if len(o.Notes) != 1 || o.Notes[0] != want {
		t.Errorf("notes %q, want %q", o.Notes, want)
	}
	if o.EnablePrefixCaching || o.Model != "Qwen/Qwen3-8B" {
		t.Errorf("%+v", o)
	}
	for _, name := range slices.Concat(idleSwitches, idleValues, idleLists) {
		args := []string{"m", "--" + name, "x"}
		if slices.Contains(idleSwitches, name) {
			args = args[:2]
		}
		if _, err := ParseServe(args, environment(nil)); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestParseServeRefuses(t *testing.T) {
	const nixl = `--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"}`
	const lmcache = `--kv-transfer-config {"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}`
	for _, bad := range []struct {
		vars string // NAME=value, separated by spaces
		args string
		says string
	}{
		{"", "m --enforce-eagr", `--enforce-eagr (did you mean "--enforce-eager"?)`},
		{"", "m --tensor-paralel-size 2 --quux", `(did you mean "--tensor-parallel-size"?), --quux;`},
		{"", "m --port http", "--port"},
		{"", "m --port", "--port: a value is missing"},
		{"", "m --enforce-eager=true", "takes no value"},
		{"", "m n", `unrecognized arguments: n; the model is "m" already`},
		{"", "m --uds /tmp/x", "--uds is not simulated"},
		{"", "m --config x.yaml", "--config is not simulated"},
		{"", "m -pp 0", "--pipeline-parallel-size 0"},
		{"", "m --max-model-len 4x", "max-model-len"},
		{"", `m --kv-transfer-config {"kv_connector":`, "--kv-transfer-config: not JSON: it ends too early"},
		{"", `m --kv-transfer-config.kv_conector x`, `did you mean "kv_connector"?`},
		{"", `m --kv-transfer-config.kv_connector NixlConnector`, "needs a kv_role"},
		{"CUDA_VISIBLE_DEVICES=0,1", "m -tp 4", "world size (4) is larger than the number of available GPUs (2)"},
		{"CUDA_VISIBLE_DEVICES=0,1", "m -tp 2 --data-parallel-size 2", "(4)"},
		{"CUDA_VISIBLE_DEVICES=0,1", "m -tp 2 -pp 2", "(4)"},
		{"CUDA_VISIBLE_DEVICES=", "m", "GPUs (0)"},
		{"CUDA_VISIBLE_DEVICES=0,-1,1", "m -tp 2", "GPUs (1)"},
		{"VLLM_SERVER_DEV_MODE=yes", "m", "VLLM_SERVER_DEV_MODE=yes"},
		{"VLLM_NIXL_SIDE_CHANNEL_PORT=x", "m " + nixl, "VLLM_NIXL_SIDE_CHANNEL_PORT=x"},
		{"VLLM_NIXL_SIDE_CHANNEL_PORT=65535", "m -dp 2 " + nixl, "2 data-parallel ranks"},
		{"LMCACHE_CONFIG_FILE=x.yaml", "m " + lmcache, "LMCACHE_CONFIG_FILE is not read"},
		{"LMCACHE_REMOTE_URL=redis://h:1", "m " + lmcache, "lm://HOST:PORT"},
		{"LMCACHE_REMOTE_URL=lm://h", "m " + lmcache, "lm://HOST:PORT"},
		{"LMCACHE_CHUNK_SIZE=0", "m " + lmcache, "LMCACHE_CHUNK_SIZE=0"},
		{"LMCACHE_SAVE_UNFULL_CHUNK=perhaps", "m " + lmcache, "LMCACHE_SAVE_UNFULL_CHUNK=perhaps"},
		{"PYTHONHASHSEED=x", "m " + lmcache, "PYTHONHASHSEED=x"},
	} {
		vars := map[string]string{}
		for _, e := range strings.Fields(bad.vars) {
			name, value, _ := strings.Cut(e, "=")
			vars[name] = value
		}
		_, err := ParseServe(strings.Fields(bad.args), environment(vars))
		if err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s %s: %v; want an error that says %q", bad.vars, bad.args, err, bad.says)
		}
	}
}

// Every model is served: by its own preset, found by the last part of its name
// first, or by the nearest.
func TestPresetForEveryModel(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "qwen3-8b-trials", "My-Llama-3.1-8B-Instruct")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]string{
		"Qwen/Qwen3-8B": "h100/qwen3-8b", folder: "h100/llama-3.1-8b", folder + "/": "h100/llama-3.1-8b",
		"/cache/models--Qwen--Qwen3-8B/snapshots/0123abcd": "h100/qwen3-8b",
		"my/model": "h100/qwen3-0.6b ?", "facebook/opt-125m": "h100/qwen3-0.6b ?", "meta-llama/Llama-2-70b-chat-hf": "h100/qwen3-8b ?",
		"Qwen2.5-7B-Instruct": "h100/llama-3.1-8b ?", "TinyLlama-1.1B": "h100/qwen3-0.6b ?", "gpt-oss-20b": "h100/qwen3-8b ?",
	} {
		o := parseServe(t, nil, model)
		got := o.Preset
		if len(o.Notes) > 0 {
			got += " ?"
			if !strings.Contains(o.Notes[0], model) || !strings.Contains(o.Notes[0], o.Preset) {
				t.Errorf("%s: the note does not say what for: %s", model, o.Notes[0])
			}
		}
		if got != want {
			t.Errorf("%s behaves like %s, want %s", model, got, want)
		}
		if o.model() != model {
			t.Errorf("%s is served as %s", model, o.model())
		}
	}
	if o := parseServe(t, nil, "my/model", "--preset", "a100/qwen3-8b"); o.Preset != "a100/qwen3-8b" || len(o.Notes) > 0 {
		t.Errorf("a preset that was given: %s, %q", o.Preset, o.Notes)
	}
}

func TestServeTellsNotes(t *testing.T) {
	o := parseServe(t, nil, "Qwen/Qwen3-0.6B", "--enforce-eager", "--port", "0")
	i := serve(t, o)
	i.ask("GET", "/health", nil)
	if !strings.Contains(i.log.String(), "without effect in a simulation: --enforce-eager\n") {
		t.Errorf("the log does not tell:\n%s", i.log)
	}
}
