package engine

import (
	"net/http"
	"strings"
	"testing"
)

// at walks a decoded JSON object.
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// The paths are those at which vLLM 0.32 answered on a real server.
func TestServerInfo(t *testing.T) {
	i := serve(t, parseServe(
		t, map[string]string{"VLLM_SERVER_DEV_MODE": "1", "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": freePort(t)},
		"Qwen/Qwen3-8B", "--port", "0", "-tp", "2", "--max-model-len", "2048", "--max-num-seqs", "64", "--served-model-name", "m", "--gpu-memory-utilization", "0.8",
		"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_connector_extra_config":{"a":1}}`,
	))
	info := i.object(http.MethodGet, "/server_info?config_format=json", nil)
	for path, want := range map[string]any{
		"model_config.model": "Qwen/Qwen3-8B", "model_config.dtype": "torch.bfloat16", "model_config.max_model_len": 2048.0,
		"model_config.served_model_name": "m", "model_config.quantization": nil,
		"parallel_config.tensor_parallel_size": 2.0, "parallel_config.data_parallel_size": 1.0, "parallel_config.world_size": 2.0,
		"cache_config.block_size": 16.0, "cache_config.gpu_memory_utilization": .8, "cache_config.enable_prefix_caching": true,
		"scheduler_config.max_num_seqs": 64.0, "scheduler_config.max_num_batched_tokens": 8192.0,
		"kv_transfer_config.kv_connector": "NixlConnector", "kv_transfer_config.kv_role": "kv_producer",
		"kv_transfer_config.kv_load_failure_policy": "fail", "kv_transfer_config.kv_connector_extra_config.a": 1.0,
		"speculative_config": nil, "additional_config.simulated": Identity,
	} {
		if got := at(info["vllm_config"], path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	for _, there := range []string{"cache_config.num_gpu_blocks", "kv_transfer_config.engine_id"} {
		if at(info["vllm_config"], there) == nil {
			t.Errorf("%s is not there", there)
		}
	}
	text, _ := i.object(http.MethodGet, "/server_info", nil)["vllm_config"].(string)
	if !strings.Contains(text, "model='Qwen/Qwen3-8B'") || !strings.Contains(text, "tensor_parallel_size=2") || strings.Contains(text, "Nixl") {
		t.Errorf("as a text: %s", text)
	}
	if status, _ := i.ask(http.MethodGet, "/server_info?config_format=yaml", nil); status != http.StatusBadRequest {
		t.Errorf("another format: %d", status)
	}
}

func TestServerInfoHasNoKeys(t *testing.T) {
	env := vllmEnv([]string{"VLLM_SERVER_DEV_MODE=1", "VLLM_API_KEY=secret", "PATH=/bin", "VLLM_X=a=b"})
	if len(env) != 2 || env["VLLM_SERVER_DEV_MODE"] != "1" || env["VLLM_X"] != "a=b" {
		t.Errorf("%v", env)
	}
}

// What vLLM serves in development mode only is there under `serve` in that
// mode, and always otherwise.
func TestDevelopmentPaths(t *testing.T) {
	strict := parseServe(t, nil, "Qwen/Qwen3-0.6B", "--port", "0")
	dev := strict
	dev.DevMode = true
	for _, c := range []struct {
		what   string
		i      *instance
		status int
	}{{"serve", serve(t, strict), 404}, {"serve in development mode", serve(t, dev), 200}, {"engine", start(t), 200}} {
		if status, body := c.i.ask(http.MethodGet, "/server_info", nil); status != c.status {
			t.Errorf("%s: /server_info: %d %s", c.what, status, body)
		}
		status, body := c.i.ask(http.MethodPost, "/reset_prefix_cache", nil)
		if status != c.status || status == 200 && strings.TrimSpace(body) != `{"success":true}` {
			t.Errorf("%s: /reset_prefix_cache: %d %s", c.what, status, body)
		}
	}
	if _, body := serve(t, strict).ask(http.MethodGet, "/nothing", nil); strings.TrimSpace(body) != `{"detail":"Not Found"}` {
		t.Errorf("an unknown path under serve: %s", body)
	}
}
