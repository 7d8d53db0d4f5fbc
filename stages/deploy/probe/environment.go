package probe

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// owners are the servers that put their own name into owned_by of /v1/models.
var owners = map[string]string{
	"vllm":                    "vllm",
	"sglang":                  "sglang",
	"llamacpp":                "llama.cpp",
	"lmdeploy":                "lmdeploy",
	"tensorrt_llm":            "tensorrt-llm",
	"Triton Inference Server": "triton",
	"vbp":                     "simulated",
}

// Environment tells what can be known of the server that lists m at
// /v1/models, by names that are the same for every server where the thing is
// the same:
//
//	server                  vllm, sglang, llama.cpp, tgi, ollama, lmdeploy, tensorrt-llm, triton, simulated
//	engine_version          as the server tells it
//	model, model_root       its name, and where its weights came from
//	model_revision          commit or digest of the weights
//	max_model_len           tokens of prompt and answer together
//	tensor_parallel_size, pipeline_parallel_size, data_parallel_size
//	dtype, quantization     "none" if it is known that there is none; llama.cpp's type of file
//	kv_cache_dtype, block_size
//	gpu_memory_utilization  SGLang's mem_fraction_static
//	enable_prefix_caching, enable_chunked_prefill, enforce_eager
//	max_num_seqs            requests at a time: SGLang's max_running_requests, llama.cpp's slots
//	max_num_batched_tokens  tokens of a step
//	kv_connector, kv_role   "none" if it is known that there is none; SGLang's transfer backend and mode
//	kv_load_failure_policy  vLLM's: what becomes of a request whose KV does not arrive
//
// and SGLang's chunked_prefill_size, TGI's max_batch_total_tokens and
// max_concurrent_requests, which have no equal elsewhere. What a server does
// not tell is absent; no value is "". vLLM tells its arguments only with
// VLLM_SERVER_DEV_MODE=1. Its first /server_info looks at the whole system,
// which can take many seconds: ctx should allow a minute.
//
// The error says that the server could not answer a question that it may know;
// what was learned before is returned with it. One that does not know, or will
// not say, is no error.
func (s *Server) Environment(ctx context.Context, m Model) (map[string]string, error) {
	e := environment{}
	e.set("model", m.ID)
	e.set("model_root", m.Root)
	if m.MaxModelLen > 0 {
		e.set("max_model_len", strconv.FormatInt(m.MaxModelLen, 10))
	}
	e.set("server", owners[m.OwnedBy])
	for _, ask := range s.questions(m) {
		doc, err := s.tell(ctx, ask.path)
		if err != nil {
			return e, err
		}
		if doc != nil && ask.read(e, doc) {
			break
		}
	}
	return e, nil
}

// question is a path that may tell, and the reading of its answer, which
// reports whether nothing more need be asked.
type question struct {
	path string
	read func(e environment, d document) bool
}

// questions are asked in this order.
func (s *Server) questions(m Model) []question {
	version := question{"/version", environment.generic}
	switch owners[m.OwnedBy] {
	case "vllm", "simulated": // the simulated engine answers as vLLM does
		return []question{version, {"/server_info?config_format=json", environment.vllm}}
	case "sglang":
		return []question{{"/server_info", environment.sglang}, {"/get_server_info", environment.sglang}, {"/model_info", environment.sglangModel}, {"/get_model_info", environment.sglangModel}}
	case "llama.cpp":
		return []question{{"/props", environment.llamaCPP}}
	case "":
		// TGI and Ollama put other things into owned_by.
		return []question{
			{"/info", environment.tgi},
			version,
			{"/api/version", environment.generic},
			{"/api/tags", func(e environment, d document) bool { return e.ollama(d, m.ID) }},
		}
	}
	return []question{version}
}

// tell asks for a JSON object. It is nil where the server does not know the
// question, does not answer it to everybody, or answers something else.
func (s *Server) tell(ctx context.Context, path string) (document, error) {
	body, err := s.do(ctx, http.MethodGet, path, nil)
	switch Status(err) {
	case 0:
		if err != nil {
			return nil, err
		}
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, err // it may say tomorrow
	default:
		return nil, nil
	}
	return parse(body), nil
}

// environment collects what is told.
type environment map[string]string

// set keeps a value, unless there is none.
func (e environment) set(name, value string) {
	if value != "" {
		e[name] = value
	}
}

// take keeps the value at a path of d, if there is a plain one.
func (e environment) take(name string, d document, path ...string) {
	if text, ok := d.text(path...); ok {
		e.set(name, text)
	}
}

// orNone is take for what is known not to be there if it is null.
func (e environment) orNone(name string, d document, path ...string) {
	if d.null(path...) {
		e.set(name, "none")
		return
	}
	e.take(name, d, path...)
}

// dtype drops the library's name from "torch.bfloat16".
func (e environment) dtype(d document, path ...string) {
	if text, ok := d.text(path...); ok {
		e.set("dtype", strings.TrimPrefix(text, "torch."))
	}
}

// generic reads {"version": ...}.
func (e environment) generic(d document) bool {
	e.take("engine_version", d, "version")
	return false
}

// vllm reads vLLM's configuration object. Older versions give a text instead,
// which is not read.
func (e environment) vllm(d document) bool {
	const config = "vllm_config"
	for _, of := range []struct{ group, name string }{
		{"model_config", "max_model_len"},
		{"model_config", "enforce_eager"},
		{"parallel_config", "tensor_parallel_size"},
		{"parallel_config", "pipeline_parallel_size"},
		{"parallel_config", "data_parallel_size"},
		{"cache_config", "gpu_memory_utilization"},
		{"cache_config", "enable_prefix_caching"},
		{"cache_config", "block_size"},
		{"scheduler_config", "max_num_seqs"},
		{"scheduler_config", "max_num_batched_tokens"},
		{"scheduler_config", "enable_chunked_prefill"},
	} {
		e.take(of.name, d, config, of.group, of.name)
	}
	e.take("model_root", d, config, "model_config", "model")
	e.take("model_revision", d, config, "model_config", "revision")
	e.take("kv_cache_dtype", d, config, "cache_config", "cache_dtype")
	e.dtype(d, config, "model_config", "dtype")
	e.orNone("quantization", d, config, "model_config", "quantization")
	if d.null(config, "kv_transfer_config") {
		e.set("kv_connector", "none")
	} else {
		e.orNone("kv_connector", d, config, "kv_transfer_config", "kv_connector")
		e.take("kv_role", d, config, "kv_transfer_config", "kv_role")
		e.take("kv_load_failure_policy", d, config, "kv_transfer_config", "kv_load_failure_policy")
	}
	return true
}

// sglang reads SGLang's server arguments, beside which its version stands.
func (e environment) sglang(d document) bool {
	for name, key := range map[string]string{
		"engine_version":         "version",
		"model_root":             "model_path",
		"model_revision":         "revision",
		"tensor_parallel_size":   "tp_size",
		"pipeline_parallel_size": "pp_size",
		"data_parallel_size":     "dp_size",
		"kv_cache_dtype":         "kv_cache_dtype",
		"block_size":             "page_size",
		"gpu_memory_utilization": "mem_fraction_static",
		"max_num_seqs":           "max_running_requests",
		"chunked_prefill_size":   "chunked_prefill_size",
	} {
		e.take(name, d, key)
	}
	e.dtype(d, "dtype")
	e.orNone("quantization", d, "quantization")
	if off, ok := d["disable_radix_cache"].(bool); ok {
		e.set("enable_prefix_caching", strconv.FormatBool(!off))
	}
	switch mode, ok := d["disaggregation_mode"].(string); {
	case !ok:
	case mode == "null": // SGLang's word for none
		e.set("kv_connector", "none")
	default:
		e.set("kv_role", oneLine(mode))
		e.take("kv_connector", d, "disaggregation_transfer_backend")
	}
	return e["tensor_parallel_size"] != ""
}

// sglangModel reads what SGLang tells of its model to those to whom it does
// not tell its arguments.
func (e environment) sglangModel(d document) bool {
	e.take("model_root", d, "model_path")
	return true
}

// llamaCPP reads the properties of llama.cpp's server.
func (e environment) llamaCPP(d document) bool {
	e.take("engine_version", d, "build_info")
	e.take("model_root", d, "model_path")
	e.take("max_model_len", d, "default_generation_settings", "n_ctx")
	e.take("max_num_seqs", d, "total_slots")
	e.take("quantization", d, "model_ftype")
	return true
}

// tgi reads what Text Generation Inference tells of itself. Other servers have
// an /info too.
func (e environment) tgi(d document) bool {
	if _, ok := d.text("max_concurrent_requests"); !ok || d["model_id"] == nil {
		return false
	}
	e.set("server", "tgi")
	for name, key := range map[string]string{
		"engine_version":          "version",
		"model_root":              "model_id",
		"model_revision":          "model_sha",
		"max_model_len":           "max_total_tokens",
		"max_num_seqs":            "max_batch_size",
		"max_batch_total_tokens":  "max_batch_total_tokens",
		"max_concurrent_requests": "max_concurrent_requests",
	} {
		e.take(name, d, key)
	}
	e.dtype(d, "model_dtype")
	return true
}

// ollama reads the list of models of Ollama's own API, which nobody else has
// beside an owned_by that is unknown here, for the entry of one. A name without
// a tag is the latest.
func (e environment) ollama(d document, name string) bool {
	models, ok := d["models"].([]any)
	if !ok {
		return false
	}
	e.set("server", "ollama")
	for _, m := range models {
		entry, _ := m.(map[string]any)
		if entry["name"] == name || entry["name"] == name+":latest" {
			e.take("model_revision", entry, "digest")
			e.take("quantization", entry, "details", "quantization_level")
		}
	}
	return true
}
