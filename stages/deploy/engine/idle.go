package engine

import "strings"

// What `vllm serve` takes (0.33, and what older versions still took) and a
// simulation has no use for. It is accepted, so that a command line for vLLM
// runs here as it is, and told once in the log.
var (
	// Flags without a value, each also as --no-NAME; --enable-NAME and --disable-NAME are opposites.
	idleSwitches = strings.Fields(`
	aggregate-engine-logging allow-credentials allow-deprecated-quantization async-scheduling
	calculate-kv-scales cohere-is-reasoning-model cudagraph-metrics dcp-q-replicate
	disable-async-output-proc disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce
	disable-fastapi-docs disable-frontend-multiprocessing disable-hybrid-kv-cache-manager disable-log-stats
	disable-mm-preprocessor-cache disable-nccl-for-dp-synchronization disable-sliding-window
	disable-uvicorn-access-log enable-auto-tool-choice enable-batch-sharded-sampling enable-chunked-prefill
	enable-cumem-allocator enable-dbo enable-elastic-ep enable-ep-weight-filter enable-eplb
	enable-expert-parallel enable-fault-tolerance enable-flash-late-interaction enable-flashinfer-autotune
	enable-force-include-usage enable-hc-sp enable-layerwise-nvtx-tracing enable-log-deltas
	enable-log-outputs enable-log-requests enable-logging-iteration-details enable-lora
	enable-mamba-cache-stochastic-rounding enable-mamba-shared-prefix-checkpoint enable-mfu-metrics
	enable-mixed-moe-lora-format enable-mm-embeds enable-moe-shared-loras enable-nccl-comm-suspend
	enable-offline-docs enable-per-request-metrics enable-prompt-embeds enable-prompt-tokens-details
	enable-reasoning enable-request-id-headers enable-return-routed-experts enable-scale-out
	enable-server-load-tracking enable-shm-tensor-arena enable-sleep-mode enable-ssl-refresh
	enable-tokenizer-info-endpoint enable-tower-connector-lora enable-trace-replay enforce-eager
	exclude-tools-when-tool-choice-none fail-on-environ-validation fully-sharded-loras
	guided-decoding-disable-additional-properties guided-decoding-disable-any-whitespace
	guided-decoding-disable-fallback interleave-mm-strings jit-monitor-verbose kv-cache-metrics
	kv-sharing-fast-prefill language-model-only log-error-stack long-prefill-token-threshold-adaptive
	mm-device-do-normalize mm-encoder-only monokernel multi-step-stream-outputs numa-bind
	ray-workers-use-nsight return-sampling-mask return-tokens-as-token-ids scheduler-reserve-full-isl
	skip-mm-profiling skip-tokenizer-init sleep-mode-offload-cudagraph specialize-active-lora
	swa-bounded-replay trust-remote-code trust-request-chat-template trust-request-mm-kwargs
	use-fp64-gumbel use-replayssm use-tqdm-on-load use-v2-block-manager worker-use-ray
`)

	// Flags with one value.
	idleValues = strings.Fields(`
	additional-config api-server-count all2all-backend allowed-headers allowed-local-media-path allowed-methods
	allowed-origins anthropic-disabled-thinking-effort attention-backend attention-config aux-output-config
	chat-template chat-template-content-format code-revision cohere-format compilation-config config-format
	convert cp-kv-cache-interleave-size cpu-distributed-timeout-seconds cpu-offload-gb
	custom-histogram-buckets data-parallel-address data-parallel-backend data-parallel-rpc-port
	data-parallel-size-local data-parallel-supervisor-port dbo-decode-token-threshold
	dbo-prefill-token-threshold dcp-comm-backend dcp-kv-cache-interleave-size decode-context-parallel-size
	default-chat-template-kwargs default-mm-loras device device-ids device-memory-utilization
	diffusion-config disable-access-log-for-endpoints distributed-executor-backend
	distributed-timeout-seconds download-dir dp-supervisor-probe-failure-threshold
	dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s dp-sync-interval dtype ec-manager-config
	ec-transfer-config elastic-ep-max-dp-size engram-config eplb-config expert-placement-strategy
	fault-tolerance-config fingerprint-mode fingerprint-value gdn-prefill-backend generation-config
	grpc-port guided-decoding-backend h11-max-header-count h11-max-incomplete-event-size hf-config-path
	hf-overrides io-processor-plugin ir-op-priority jit-monitor-mode kda-decode-backend kda-prefill-backend
	kernel-config kv-cache-dtype kv-cache-memory-bytes kv-cache-metrics-sample kv-events-config
	kv-offloading-backend kv-offloading-size limit-mm-per-prompt linear-backend load-format log-config-file
	log-level logging-config logprobs-mode long-prefill-token-threshold lora-dtype mamba-backend
	mamba-block-size mamba-cache-dtype mamba-cache-mode mamba-cache-philox-rounds mamba-ssm-cache-dtype
	mamba-ssu-algorithm master-addr master-port max-cpu-loras max-cudagraph-capture-size max-log-len
	max-logprobs max-long-partial-prefills max-lora-cls-labels max-lora-rank max-loras max-num-active-seqs
	max-num-partial-prefills max-num-queued-reqs max-num-queued-tokens max-num-scheduled-tokens
	max-parallel-loading-workers max-seq-len-to-capture media-io-kwargs middleware mm-encoder-attn-backend
	mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-margin
	mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm mm-ipc-gpu-memory-gb
	mm-processor-cache-gb mm-processor-cache-type mm-processor-device mm-processor-kwargs
	mm-shm-cache-max-object-size-mb mm-tensor-ipc model-class-overrides model-impl
	model-loader-extra-config moe-backend nnodes node-rank num-lookahead-slots num-scheduler-steps
	num-speculative-tokens offload-backend offload-group-size offload-num-in-group offload-prefetch-step
	optimization-level otlp-traces-endpoint override-attention-dtype override-generation-config
	override-neuron-config override-pooler-config per-request-spec-decode-metrics performance-mode
	pooler-config preemption-mode prefill-context-parallel-size prefill-schedule-interval
	prefix-cache-retention-interval prefix-caching-hash-algo prefix-match-unit profiler-config
	pt-load-map-location quantization quantization-config reasoning-config reasoning-effort-map
	reasoning-parser reasoning-parser-plugin renderer-num-workers replayssm-buffer-len response-role
	revision rope-scaling rope-theta runner safetensors-load-strategy safetensors-prefetch-block-size
	safetensors-prefetch-num-threads scheduler-cls scheduler-delay-factor scheduling-policy
	show-hidden-metrics-for-version shutdown-timeout sleep-mode-backend sparse-indexer-topk-backend
	spec-method spec-model spec-tokens speculative-config speculative-model sse-keep-alive-interval
	ssl-ca-certs ssl-cert-reqs ssl-ciphers stream-interval structured-outputs-config swap-space task
	tokenizer tokenizer-mode tokenizer-pool-size tokenizer-pool-type tokenizer-revision tool-call-parser
	tool-parser-plugin tool-server tool-strict-level ubatch-size uvicorn-log-level video-pruning-method
	video-pruning-rate watchdog-config watermark watermark-config weight-transfer-config worker-cls
	worker-extension-cls
`)

	// Flags with one value or more.
	idleLists = strings.Fields(`
	allowed-media-domains collect-detailed-traces cpu-offload-params cuda-graph-sizes
	cudagraph-capture-sizes ignore-patterns kv-cache-dtype-skip-layers logits-processors lora-modules
	lora-target-modules numa-bind-cpus numa-bind-nodes offload-params sleep-preserve-parameter-names
`)

	// Flags whose value may be left out.
	idleOptional = []string{"hf-token"}
)

// beyond are flags of vLLM that change how the server is reached or how many
// there are. Whoever sets one relies on it, so that to ignore it would be to
// mislead.
var beyond = strings.Fields(`
	config data-parallel-external-lb data-parallel-hybrid-lb data-parallel-multi-port-external-lb data-parallel-rank
	data-parallel-start-rank grpc headless root-path ssl-certfile ssl-keyfile tokens-only uds
`)

// shortNames are vLLM's short names.
var shortNames = map[string]string{
	"tp": "tensor-parallel-size", "dp": "data-parallel-size", "pp": "pipeline-parallel-size", "q": "quantization",
	"n": "nnodes", "r": "node-rank", "ep": "enable-expert-parallel", "O": "optimization-level", "asc": "api-server-count",
	"ac": "attention-config", "cc": "compilation-config", "dc": "diffusion-config", "sc": "speculative-config",
	"dcp": "decode-context-parallel-size", "pcp": "prefill-context-parallel-size",
	"dpa": "data-parallel-address", "dpb": "data-parallel-backend", "dpe": "data-parallel-external-lb",
	"dph": "data-parallel-hybrid-lb", "dpl": "data-parallel-size-local", "dpm": "data-parallel-multi-port-external-lb",
	"dpn": "data-parallel-rank", "dpp": "data-parallel-rpc-port", "dpr": "data-parallel-start-rank",
}
