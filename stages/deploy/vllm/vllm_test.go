package vllm

import (
	"strings"
	"testing"

	"vbp/stages/deploy"
)

// Command lines are compared as a person would type them, after vLLM's
// documentation of serve, of the NIXL connector and of LMCache.
func TestProcess(t *testing.T) {
	pool := func(tp int, args ...deploy.Arg) *deploy.Pool {
		return &deploy.Pool{Instances: 1, TensorParallel: tp, GPUMemoryUtilization: 0.8, Args: args}
	}
	for _, c := range []struct {
		name string
		slot deploy.Slot
		want string
	}{
		{"simple", deploy.Slot{Pool: pool(1)}, "VLLM_SERVER_DEV_MODE=1 vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 --gpu-memory-utilization 0.8"},
		{
			"arguments",
			deploy.Slot{GPUs: []string{"4", "5"}, Pool: pool(2,
				deploy.Arg{Name: "max-model-len", Value: int64(4096)}, deploy.Arg{Name: "enforce-eager"}, deploy.Arg{Name: "enable-prefix-caching", Value: false})},
			"CUDA_VISIBLE_DEVICES=4,5 VLLM_SERVER_DEV_MODE=1 vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 2 --gpu-memory-utilization 0.8" +
				" --max-model-len 4096 --enforce-eager --no-enable-prefix-caching",
		},
		{
			"nixl",
			deploy.Slot{Connector: "nixl", SidePort: 5559, GPUs: []string{"0"}, Pool: pool(1)},
			"CUDA_VISIBLE_DEVICES=0 VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=5559 UCX_NET_DEVICES=all" +
				" vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 --gpu-memory-utilization 0.8" +
				` --kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_load_failure_policy":"fail"}'`,
		},
		{
			"lmcache, prefill",
			deploy.Slot{Connector: "lmcache", Role: deploy.Prefill, CachePort: 65432, Pool: pool(1)},
			"VLLM_SERVER_DEV_MODE=1 LMCACHE_REMOTE_URL=lm://127.0.0.1:65432 LMCACHE_REMOTE_SERDE=naive LMCACHE_SAVE_UNFULL_CHUNK=True" +
				" LMCACHE_LOCAL_CPU=False LMCACHE_MAX_LOCAL_CPU_SIZE=5 PYTHONHASHSEED=0" +
				" vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 --gpu-memory-utilization 0.8" +
				` --kv-transfer-config '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'`,
		},
		{
			"lmcache, decode, with a configuration of one's own",
			deploy.Slot{Connector: "lmcache", Role: deploy.Decode, Pool: &deploy.Pool{Instances: 1, Env: map[string]string{"LMCACHE_CONFIG_FILE": "l.yaml"}}},
			"VLLM_SERVER_DEV_MODE=1 LMCACHE_CONFIG_FILE=l.yaml vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 1" +
				` --kv-transfer-config '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_consumer"}'`,
		},
		{
			"a connector of one's own",
			deploy.Slot{Connector: "nixl", SidePort: 5559, Pool: pool(1, deploy.Arg{Name: "kv_transfer_config", Value: map[string]any{"kv_connector": "MultiConnector"}})},
			"VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=5559 UCX_NET_DEVICES=all" +
				" vllm serve m --host 127.0.0.1 --port 8000 --tensor-parallel-size 1 --gpu-memory-utilization 0.8" +
				` --kv_transfer_config '{"kv_connector":"MultiConnector"}'`,
		},
	} {
		c.slot.Model, c.slot.Port = "m", 8000
		p, err := Process(c.slot)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := p.Shell(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if _, err := Process(deploy.Slot{Connector: "mooncake", Pool: pool(1)}); err == nil || !strings.Contains(err.Error(), `"mooncake"`) {
		t.Errorf("an unknown connector: %v", err)
	}
}
