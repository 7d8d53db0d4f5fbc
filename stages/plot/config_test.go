package plot

import (
	"testing"

	"vbp/stages/analyze"
)

func TestConfigLine(t *testing.T) {
	for _, c := range []struct {
		config map[string]string
		want   string
	}{
		{nixlConfig(), "PF:2, D:2, TP:2x2, Model:Qwen3-0.6B"},
		{simpleConfig(), "TP:1, Model:Qwen3-0.6B"},
		{map[string]string{"num_prefill_instances": "1", "num_decode_instances": "3", "model_name": "/models/a/"}, "PF:1, D:3, Model:a"},
		{map[string]string{"num_prefill_instances": "1", "num_decode_instances": "3", "decoder_tp_size": "4"}, "PF:1, D:3, TP:?x4"},
		{map[string]string{"model_name": "LLM-Research/Meta-Llama-3.1-8B"}, "Model:Meta-Llama-3.1-8B"},
		{map[string]string{"model_name": "a/one | b/two", "tensor_parallel_size": "1 | 2"}, "TP:1 | 2, Model:one | two"},
		{map[string]string{"engine": "simulated", "tensor_parallel_size": "1", "model_name": "m"}, "TP:1, Model:m, simulated engine"},
		{nil, ""},
	} {
		if got := ConfigLine(analyze.Series{Config: c.config}); got != c.want {
			t.Errorf("%v: %q, want %q", c.config, got, c.want)
		}
	}
}

func TestNameOf(t *testing.T) {
	for n, want := range []string{"nixl", "nixl (1 GPU)", "nixl (2 GPUs)"} {
		if got := nameOf(analyze.Series{Name: "nixl", GPUs: n}); got != want {
			t.Errorf("%d GPUs: %q, want %q", n, got, want)
		}
	}
}
