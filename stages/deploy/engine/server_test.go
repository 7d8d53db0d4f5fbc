package engine

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

func TestSmallEndpoints(t *testing.T) {
	i := start(t, "--served-model-name=a,b", "--max-model-len=512")
	for _, path := range []string{"/health", "/ping"} {
		if status, _ := i.ask(http.MethodGet, path, nil); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	if v := i.object(http.MethodGet, "/version", nil); v["version"] != Identity {
		t.Errorf("version %v", v)
	}
	if v := i.object(http.MethodGet, "/load", nil); v["server_load"] != 0.0 {
		t.Errorf("load %v", v)
	}
	data := i.object(http.MethodGet, "/v1/models", nil)["data"].([]any)
	if len(data) != 2 || data[0].(object)["id"] != "a" || data[1].(object)["id"] != "b" || data[0].(object)["max_model_len"] != 512.0 {
		t.Errorf("models %v", data)
	}
	v := i.object(http.MethodPost, "/tokenize", object{"prompt": "hello world!!"})
	if v["count"] != 4.0 || len(v["tokens"].([]any)) != 4 || v["max_model_len"] != 512.0 {
		t.Errorf("tokenize: %v", v)
	}
	if status, body := i.ask(http.MethodPost, "/reset_prefix_cache", nil); status != http.StatusOK {
		t.Errorf("reset: %d %s", status, body)
	}
	if status, _ := i.ask(http.MethodGet, "/nothing", nil); status != http.StatusNotFound {
		t.Errorf("an unknown path: %d", status)
	}
}

func TestTokenizeCountsWhatChatUses(t *testing.T) {
	i := start(t)
	messages := []object{{"role": "system", "content": "be brief"}, {"role": "user", "content": []object{{"type": "text", "text": "why?"}}}}
	count := i.object(http.MethodPost, "/tokenize", object{"messages": messages})["count"]
	usage := i.object(http.MethodPost, "/v1/chat/completions", object{"messages": messages, "max_tokens": 1})["usage"].(object)
	if usage["prompt_tokens"] != count {
		t.Errorf("tokenize counts %v, the chat %v", count, usage["prompt_tokens"])
	}
}

func TestRefusals(t *testing.T) {
	i := start(t, "--max-model-len=128")
	for _, bad := range []struct {
		path   string
		body   any
		status int
		says   string
	}{
		{"/v1/completions", "{", 400, "reading the request body"},
		{"/v1/completions", object{}, 400, "prompt"},
		{"/v1/completions", object{"prompt": nil}, 400, "prompt"},
		{"/v1/completions", object{"prompt": ""}, 400, "empty"},
		{"/v1/completions", object{"prompt": []int{}}, 400, "empty"},
		{"/v1/completions", object{"prompt": []int{1, -2}}, 400, "token ids"},
		{"/v1/completions", object{"prompt": []int{1, 151936}}, 400, "151936"},
		{"/v1/completions", object{"prompt": []string{"a", "b"}}, 400, "2 prompts"},
		{"/v1/completions", object{"prompt": []any{1, "b"}}, 400, "token ids"},
		{"/v1/completions", object{"prompt": "a", "n": 2}, 400, "n is 2"},
		{"/v1/completions", object{"prompt": "a", "max_tokens": 0}, 400, "at least one"},
		{"/v1/completions", object{"prompt": ids(1, 128), "max_tokens": 1}, 400, "maximum context length is 128 tokens, but the prompt has 128"},
		{"/v1/completions", object{"prompt": ids(1, 200), "stream": true}, 400, "maximum context length is 128"},
		{"/v1/chat/completions", object{"messages": []object{{"role": "user", "content": strings.Repeat("word ", 200)}}}, 400, "maximum context length is 128"},
		{"/v1/completions", object{"prompt": ids(1, 127), "max_tokens": 9, "min_tokens": 2}, 400, "min_tokens is 2"},
		{"/v1/completions", object{"prompt": "a", "max_tokens": 2, "min_tokens": 3}, 400, "min_tokens"},
		{"/v1/completions", object{"prompt": "a", "echo": true}, 400, "echo"},
		{"/v1/completions", object{"prompt": "a", "model": "gpt"}, 404, "gpt"},
		{"/v1/completions", object{"prompt": "a", "kv_transfer_params": object{"do_remote_prefill": true}}, 400, "remote_request_id"},
		{"/v1/chat/completions", object{"prompt": "a"}, 400, "messages"},
		{"/v1/chat/completions", object{"messages": []object{{"role": "user", "content": 5}}}, 400, "content"},
		{"/v1/chat/completions", object{"messages": []object{{"role": "user", "content": []object{{"type": "image_url"}}}}}, 400, "image_url"},
		{"/tokenize", object{}, 400, "prompt"},
	} {
		status, raw := i.ask(http.MethodPost, bad.path, bad.body)
		var v struct {
			Error struct {
				Message, Type string
				Code          int
			}
		}
		err := json.Unmarshal([]byte(raw), &v)
		if err != nil || status != bad.status || v.Error.Code != status || v.Error.Type == "" || !strings.Contains(v.Error.Message, bad.says) {
			t.Errorf("%s %v: %d %s; want %d and %q", bad.path, bad.body, status, raw, bad.status, bad.says)
		}
	}
	if n := i.value("vllm:num_requests_running") + i.value("vllm:num_requests_waiting"); n != 0 {
		t.Errorf("%g refused requests are still there", n)
	}
}

func TestMetricsUnderVLLMsNames(t *testing.T) {
	i := start(t, "--served-model-name=m")
	i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 3, "ignore_eos": true})
	i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 3, "ignore_eos": true})
	all := i.metrics()
	gauge, counter, histogram := dto.MetricType_GAUGE, dto.MetricType_COUNTER, dto.MetricType_HISTOGRAM
	for name, kind := range map[string]dto.MetricType{
		"vllm:num_requests_running": gauge, "vllm:num_requests_waiting": gauge, "vllm:kv_cache_usage_perc": gauge,
		"vllm:num_preemptions_total": counter, "vllm:prefix_cache_queries_total": counter, "vllm:prefix_cache_hits_total": counter,
		"vllm:prompt_tokens_total": counter, "vllm:generation_tokens_total": counter, "vllm:request_success_total": counter,
		"vllm:request_queue_time_seconds": histogram, "vllm:request_prefill_time_seconds": histogram, "vllm:request_decode_time_seconds": histogram,
		"vllm:time_to_first_token_seconds": histogram, "vllm:inter_token_latency_seconds": histogram, "vllm:e2e_request_latency_seconds": histogram,
		"vllm:iteration_tokens_total": histogram, "vllm:nixl_xfer_time_seconds": histogram, "vllm:nixl_bytes_transferred": histogram,
		"vllm:nixl_num_failed_transfers_total": counter, "vllm:nixl_num_failed_notifications_total": counter, "vllm:nixl_num_kv_expired_reqs_total": counter,
	} {
		f := all[name]
		if f == nil || f.GetType() != kind {
			t.Errorf("%s: %v, want a %v", name, f, kind)
			continue
		}
		labels := map[string]string{}
		for _, l := range f.Metric[0].Label {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["model_name"] != "m" || labels["engine"] != "0" {
			t.Errorf("%s has labels %v", name, labels)
		}
	}
	for name, want := range map[string]float64{
		"vllm:prompt_tokens_total": 80, "vllm:generation_tokens_total": 6,
		"vllm:prefix_cache_queries_total": 80, "vllm:prefix_cache_hits_total": 32, // two blocks of 16
		"vllm:time_to_first_token_seconds": 2, "vllm:inter_token_latency_seconds": 4, "vllm:e2e_request_latency_seconds": 2,
		"vllm:num_requests_running": 0, "vllm:kv_cache_usage_perc": 0,
	} {
		if got := i.value(name); got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	for _, m := range all["vllm:request_success_total"].Metric {
		for _, l := range m.Label {
			if l.GetName() == "finished_reason" && (l.GetValue() == "length") != (m.GetCounter().GetValue() == 2) {
				t.Errorf("finished by %s: %g", l.GetValue(), m.GetCounter().GetValue())
			}
		}
	}
	// 40 tokens, then 8 (two blocks were known), and 4 decodes.
	h := all["vllm:iteration_tokens_total"].Metric[0].GetHistogram()
	if h.GetSampleCount() != 6 || h.GetSampleSum() != 52 {
		t.Errorf("%d steps with %g tokens, want 6 with 52", h.GetSampleCount(), h.GetSampleSum())
	}
}
