package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// serve answers each path with a text: "@name" is a file of testdata, a number
// a status. Other paths are 404.
func serve(t *testing.T, paths map[string]string) *Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := paths[r.Method+" "+r.URL.RequestURI()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"detail":"Not Found"}`)
			return
		}
		if name, ok := strings.CutPrefix(answer, "@"); ok {
			b, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Error(err)
			}
			answer = string(b)
		}
		var status int
		if n, _ := fmt.Sscanf(answer, "%d", &status); n == 1 {
			w.WriteHeader(status)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(s.Close)
	return &Server{URL: s.URL, HTTP: s.Client()}
}

// The answers of vLLM and llama.cpp are recorded from vLLM 0.32.0 and
// llama-server b1-1652066; the others are made after the sources of SGLang
// 0.5.23, Text Generation Inference 3 and Ollama 0.12.
func TestEnvironment(t *testing.T) {
	const vllmModel = `{"id":"tiny","object":"model","owned_by":"vllm","root":"tiny","max_model_len":2048}`
	const sglangInfo = `{"model_path":"/m/qwen","served_model_name":"q","tp_size":2,"pp_size":1,"dp_size":1,"dtype":"auto","quantization":null,
		"mem_fraction_static":0.88,"page_size":1,"max_running_requests":null,"chunked_prefill_size":8192,"disable_radix_cache":false,
		"kv_cache_dtype":"auto","disaggregation_mode":%q,"disaggregation_transfer_backend":"mooncake","revision":null,
		"api_key":"topsecret","internal_states":[{"last_gen_throughput":12.5}],"version":"0.5.23"}`
	for name, c := range map[string]struct {
		model string
		paths map[string]string
		want  string
	}{
		"vllm": {
			vllmModel,
			map[string]string{"GET /version": `{"version":"0.32.0"}`, "GET /server_info?config_format=json": "@vllm-server_info.json"},
			"block_size:128 data_parallel_size:1 dtype:bfloat16 enable_chunked_prefill:true enable_prefix_caching:true enforce_eager:true engine_version:0.32.0 gpu_memory_utilization:0.2 kv_cache_dtype:auto kv_connector:none max_model_len:2048 max_num_batched_tokens:2048 max_num_seqs:128 model:tiny model_root:tiny pipeline_parallel_size:1 quantization:none server:vllm tensor_parallel_size:1",
		},
		"vllm with nixl": {
			vllmModel,
			map[string]string{"GET /version": `{"version":"0.32.0"}`, "GET /server_info?config_format=json": "@vllm-nixl-server_info.json"},
			"block_size:128 data_parallel_size:1 dtype:bfloat16 enable_chunked_prefill:true enable_prefix_caching:true enforce_eager:true engine_version:0.32.0 gpu_memory_utilization:0.2 kv_cache_dtype:auto kv_connector:NixlConnector kv_load_failure_policy:fail kv_role:kv_both max_model_len:2048 max_num_batched_tokens:2048 max_num_seqs:128 model:tiny model_root:tiny pipeline_parallel_size:1 quantization:none server:vllm tensor_parallel_size:1",
		},
		"vllm without its developers' mode": {
			vllmModel,
			map[string]string{"GET /version": `{"version":"0.32.0"}`},
			"engine_version:0.32.0 max_model_len:2048 model:tiny model_root:tiny server:vllm",
		},
		"vllm that knows the text only": {
			vllmModel,
			map[string]string{"GET /version": `{"version":"0.9.0"}`, "GET /server_info?config_format=json": "@vllm-server_info-text.json"},
			"engine_version:0.9.0 max_model_len:2048 model:tiny model_root:tiny server:vllm",
		},
		"a gateway that lets nobody ask": {
			vllmModel,
			map[string]string{"GET /version": "403", "GET /server_info?config_format=json": "401"},
			"max_model_len:2048 model:tiny model_root:tiny server:vllm",
		},
		"sglang": {
			`{"id":"q","owned_by":"sglang","root":"q","max_model_len":40960}`,
			map[string]string{"GET /server_info": fmt.Sprintf(sglangInfo, "null")},
			"block_size:1 chunked_prefill_size:8192 data_parallel_size:1 dtype:auto enable_prefix_caching:true engine_version:0.5.23 gpu_memory_utilization:0.88 kv_cache_dtype:auto kv_connector:none max_model_len:40960 model:q model_root:/m/qwen pipeline_parallel_size:1 quantization:none server:sglang tensor_parallel_size:2",
		},
		"sglang that prefills, under the old name": {
			`{"id":"q","owned_by":"sglang"}`,
			map[string]string{"GET /get_server_info": fmt.Sprintf(sglangInfo, "prefill")},
			"block_size:1 chunked_prefill_size:8192 data_parallel_size:1 dtype:auto enable_prefix_caching:true engine_version:0.5.23 gpu_memory_utilization:0.88 kv_cache_dtype:auto kv_connector:mooncake kv_role:prefill model:q model_root:/m/qwen pipeline_parallel_size:1 quantization:none server:sglang tensor_parallel_size:2",
		},
		"sglang that tells of its model only": {
			`{"id":"q","owned_by":"sglang"}`,
			map[string]string{"GET /server_info": "500", "GET /model_info": `{"model_path":"/m/qwen"}`},
			"model:q model_root:/m/qwen server:sglang",
		},
		"llama.cpp": {
			`{"id":"tiny","owned_by":"llamacpp","meta":{"n_ctx":1024}}`,
			map[string]string{"GET /props": "@llama-props.json"},
			"engine_version:b1-1652066 max_model_len:1024 max_num_seqs:4 model:tiny model_root:tiny.gguf quantization:all F32 server:llama.cpp",
		},
		"tgi": {
			`{"id":"org/m","object":"model","created":0,"owned_by":"org/m"}`,
			map[string]string{"GET /info": `{"model_id":"org/m","model_sha":"abc","model_dtype":"torch.float16","model_device_type":"cuda","max_concurrent_requests":128,"max_total_tokens":4096,"max_batch_total_tokens":80000,"max_batch_size":null,"version":"3.3.4","sha":"x","docker_label":null,"router":"text-generation-router"}`},
			"dtype:float16 engine_version:3.3.4 max_batch_total_tokens:80000 max_concurrent_requests:128 max_model_len:4096 model:org/m model_revision:abc model_root:org/m server:tgi",
		},
		"ollama": {
			`{"id":"qwen3:latest","object":"model","owned_by":"library"}`,
			map[string]string{"GET /api/version": `{"version":"0.12.3"}`, "GET /api/tags": `{"models":[{"name":"a"},{"name":"qwen3:latest","digest":"e4b5","details":{"quantization_level":"Q4_K_M"}}]}`},
			"engine_version:0.12.3 model:qwen3:latest model_revision:e4b5 quantization:Q4_K_M server:ollama",
		},
		"simulated": {
			`{"id":"m","owned_by":"vbp","root":"Qwen/Qwen3-8B","max_model_len":40960}`,
			map[string]string{"GET /version": `{"version":"sim/1"}`},
			"engine_version:sim/1 max_model_len:40960 model:m model_root:Qwen/Qwen3-8B server:simulated",
		},
		"unknown": {`{"id":"m","owned_by":"me"}`, nil, "model:m"},
		"unknown with a version": {
			`{"id":"m"}`,
			map[string]string{"GET /version": `{"version":"7"}`, "GET /info": `{"name":"x"}`, "GET /api/tags": `<html>`},
			"engine_version:7 model:m",
		},
		"nonsense": {
			vllmModel,
			map[string]string{"GET /version": `{"version":{"a":[1]}}`, "GET /server_info?config_format=json": `{"vllm_config":{"model_config":7,"cache_config":{"block_size":[16]},"kv_transfer_config":"x"}}`},
			"max_model_len:2048 model:tiny model_root:tiny server:vllm",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			if err := json.Unmarshal([]byte(c.model), &m); err != nil {
				t.Fatal(err)
			}
			got, err := serve(t, c.paths).Environment(t.Context(), m)
			if err != nil || fmt.Sprint(got) != "map["+c.want+"]" {
				t.Errorf("error %v\ngot  %v\nwant map[%s]", err, got, c.want)
			}
		})
	}
}

// A server that cannot answer now might say more later: that is an error,
// with what is known.
func TestEnvironmentThatCannotBeHadNow(t *testing.T) {
	m := Model{ID: "a", OwnedBy: "vllm"}
	s := serve(t, map[string]string{"GET /version": `{"version":"1"}`, "GET /server_info?config_format=json": "503"})
	got, err := s.Environment(t.Context(), m)
	if Status(err) != 503 || fmt.Sprint(got) != "map[engine_version:1 model:a server:vllm]" {
		t.Errorf("%v, error %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Environment(ctx, m); !errors.Is(err, context.Canceled) || fmt.Sprint(got) != "map[model:a server:vllm]" {
		t.Errorf("%v, error %v", got, err)
	}
}

// FuzzEnvironment holds every reading against what a server may answer: it
// keeps short lines under names of its own, whatever comes.
func FuzzEnvironment(f *testing.F) {
	for _, name := range []string{"vllm-server_info.json", "vllm-nixl-server_info.json", "llama-props.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":"a\n\u0000b","model_path":"` + strings.Repeat("é", 3000) + `","disaggregation_mode":"","tp_size":1e999}`))
	f.Add([]byte(`{"models":[null,1,{"name":"m","digest":[]}],"model_id":{},"max_concurrent_requests":-0}`))
	f.Add([]byte(`[` + strings.Repeat(`{"vllm_config":`, 100)))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := parse(body)
		if d == nil {
			return
		}
		e := environment{}
		e.generic(d)
		e.vllm(d)
		e.sglang(d)
		e.sglangModel(d)
		e.llamaCPP(d)
		e.tgi(d)
		e.ollama(d, "m")
		for k, v := range e {
			if v == "" || len([]rune(v)) > 515 || strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && r < 0x80 }) {
				t.Errorf("%s is %q", k, v)
			}
		}
	})
}
