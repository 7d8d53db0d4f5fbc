package engine

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

// dtype is what every preset's numbers are in.
const dtype = "torch.bfloat16"

// serverInfo answers with the effective configuration in the shape of vLLM's
// /server_info, of which it has the members that mean something here: as a
// text, or as JSON with ?config_format=json.
func (s *server) serverInfo(w http.ResponseWriter, r *http.Request) {
	var config any
	switch format := r.URL.Query().Get("config_format"); format {
	case "", "text":
		config = s.configText()
	case "json":
		config = s.configJSON()
	default:
		refuse(w, http.StatusBadRequest, "Bad Request", fmt.Sprintf("config_format is %q; there are text and json", format))
		return
	}
	answer(w, http.StatusOK, map[string]any{"vllm_config": config, "vllm_env": vllmEnv(os.Environ()), "system_env": map[string]any{}})
}

func (s *server) configJSON() map[string]any {
	o, c := s.options, s.settings.Scheduler
	var override any
	if o.NumGPUBlocksOverride > 0 {
		override = o.NumGPUBlocksOverride
	}
	return map[string]any{
		"model_config": map[string]any{
			"model": o.model(), "tokenizer": o.model(), "dtype": dtype, "seed": o.Seed, "max_model_len": c.MaxModelLen,
			"quantization": nil, "served_model_name": s.servedName(),
		},
		"cache_config": map[string]any{
			"block_size": c.BlockSize, "gpu_memory_utilization": o.GPUMemoryUtilization, "cache_dtype": "auto",
			"enable_prefix_caching": c.PrefixCaching, "num_gpu_blocks": c.Blocks, "num_gpu_blocks_override": override,
			"kv_cache_size_tokens": c.Blocks * c.BlockSize,
		},
		"parallel_config": map[string]any{
			"tensor_parallel_size": o.TensorParallelSize, "pipeline_parallel_size": 1, "data_parallel_size": o.DataParallelSize,
			"world_size": o.TensorParallelSize,
		},
		"scheduler_config": map[string]any{
			"max_num_batched_tokens": c.MaxBatchedTokens, "max_num_seqs": c.MaxSeqs, "enable_chunked_prefill": true, "policy": "fcfs",
		},
		"speculative_config": nil, "quant_config": nil, "kv_transfer_config": s.transferJSON(),
		"additional_config": map[string]any{"simulated": Identity, "preset": s.settings.Preset},
	}
}

// transferJSON is the connector's configuration with vLLM's defaults; nil for
// none.
func (s *server) transferJSON() any {
	t := s.options.KVTransfer
	if t.Connector == "" {
		return nil
	}
	out := map[string]any{
		"kv_connector": nil, "engine_id": s.engineID, "kv_buffer_device": "cuda", "kv_role": nil, "kv_port": 14579,
		"kv_connector_extra_config": map[string]any{}, "kv_connector_module_path": nil, "enable_permute_local_kv": false,
		"kv_load_failure_policy": "fail",
	}
	for name, v := range t.given {
		if v != nil {
			out[name] = v
		}
	}
	return out
}

// servedName is one name, or several as a list, as it was given.
func (s *server) servedName() any {
	if len(s.names) == 1 {
		return s.names[0]
	}
	return s.names
}

// configText is the configuration as vLLM prints it. It tells no connector.
func (s *server) configText() string {
	o, c := s.options, s.settings.Scheduler
	return fmt.Sprintf("model='%s', speculative_config=None, tokenizer='%s', dtype=%s, max_seq_len=%d, tensor_parallel_size=%d, "+
		"pipeline_parallel_size=1, data_parallel_size=%d, quantization=None, kv_cache_dtype=auto, device_config=cuda, seed=%d, "+
		"served_model_name=%v, enable_prefix_caching=%s, enable_chunked_prefill=True",
		o.model(), o.model(), dtype, c.MaxModelLen, o.TensorParallelSize, o.DataParallelSize, o.Seed, s.servedName(), python(c.PrefixCaching))
}

// vllmEnv are vLLM's variables that are set, but for keys.
func vllmEnv(environ []string) map[string]string {
	out := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "VLLM_") && !strings.Contains(name, "KEY") {
			out[name] = value
		}
	}
	return out
}
