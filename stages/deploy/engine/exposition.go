package engine

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// exposition writes Prometheus' text format.
type exposition struct{ bytes.Buffer }

func (x *exposition) head(name, kind, help string) {
	fmt.Fprintf(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (x *exposition) sample(name, labels string, v float64) {
	x.WriteString(name)
	x.WriteByte('{')
	x.WriteString(labels)
	x.WriteString("} ")
	x.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	x.WriteByte('\n')
}

func (x *exposition) histogram(name, labels string, h *histogram) {
	var n int64
	for i, c := range h.counts {
		n += c
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = strconv.FormatFloat(h.bounds[i], 'g', -1, 64)
		}
		x.sample(name+"_bucket", labels+`,le="`+bound+`"`, float64(n))
	}
	x.sample(name+"_sum", labels, h.sum)
	x.sample(name+"_count", labels, float64(n))
}

// labelEscape writes a label value as the text format wants it.
var labelEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// replica is what one driver has to tell, with the labels that vLLM gives its
// own samples.
type replica struct {
	labels string // name="value" pairs
	stats  Stats
	*metrics
}

// family is one metric: a number for each replica, or a histogram.
type family struct {
	name, kind, help string
	value            func(*replica) float64
	histogram        func(*replica) *histogram
}

func gauge(name, help string, value func(*replica) float64) family {
	return family{name, "gauge", help, value, nil}
}

func counter(name, help string, value func(*replica) float64) family {
	return family{name, "counter", help, value, nil}
}

func distribution(name, help string, of func(*replica) *histogram) family {
	return family{name, "histogram", help, nil, of}
}

// families are the metrics under vLLM's names, and what vLLM has no name for
// under vbp's. Counters end in _total, as vLLM's do once the Prometheus
// client has written them out.
var families = []family{
	gauge("vllm:num_requests_running", "Requests in the batch.", func(r *replica) float64 { return float64(r.stats.Running) }),
	gauge("vllm:num_requests_waiting", "Requests waiting for admission or for remote KV.", func(r *replica) float64 { return float64(r.stats.Waiting + r.stats.Fetching) }),
	gauge("vllm:kv_cache_usage_perc", "Share of the KV blocks in use; 1 is all.", func(r *replica) float64 {
		return 1 - float64(r.stats.FreeBlocks)/float64(r.stats.Blocks)
	}),
	counter("vllm:num_preemptions_total", "Requests thrown out of the batch.", func(r *replica) float64 { return float64(r.stats.Preemptions) }),
	counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", func(r *replica) float64 { return float64(r.stats.PrefixQueries) }),
	counter("vllm:prefix_cache_hits_total", "Prompt tokens found there.", func(r *replica) float64 { return float64(r.stats.PrefixHits) }),
	counter("vllm:external_prefix_cache_queries_total", "Prompt tokens looked up in other instances or a shared cache.", func(r *replica) float64 { return float64(r.stats.ExternalQueries) }),
	counter("vllm:external_prefix_cache_hits_total", "Prompt tokens whose KV came from there.", func(r *replica) float64 { return float64(r.stats.ExternalHits) }),
	counter("vllm:prompt_tokens_total", "Prompt tokens of requests that gave a token.", func(r *replica) float64 { return float64(r.stats.PromptTokens) }),
	counter("vllm:generation_tokens_total", "Tokens generated.", func(r *replica) float64 { return float64(r.stats.GeneratedTokens) }),
	distribution("vllm:request_queue_time_seconds", "From arrival to the first step.", func(r *replica) *histogram { return r.queueTime }),
	distribution("vllm:request_prefill_time_seconds", "From the first step to the first token.", func(r *replica) *histogram { return r.prefillTime }),
	distribution("vllm:request_decode_time_seconds", "From the first to the last token.", func(r *replica) *histogram { return r.decodeTime }),
	distribution("vllm:time_to_first_token_seconds", "From arrival to the first token.", func(r *replica) *histogram { return r.ttft }),
	distribution("vllm:inter_token_latency_seconds", "Between tokens of a request.", func(r *replica) *histogram { return r.itl }),
	distribution("vllm:e2e_request_latency_seconds", "From arrival to the last token.", func(r *replica) *histogram { return r.e2e }),
	distribution("vllm:iteration_tokens_total", "Tokens computed in a step.", func(r *replica) *histogram { return r.iterationTokens }),
	counter("vbp:steps_total", "Steps begun.", func(r *replica) float64 { return float64(r.stats.Steps) }),
	distribution("vbp:step_lateness_seconds", "From the end of a step until its tokens are handed out.", func(r *replica) *histogram { return r.lateness }),
}

// nixlFamilies are there if the instance has NIXL.
var nixlFamilies = []family{
	distribution("vllm:nixl_xfer_time_seconds", "Duration of fetching the KV of a request.", func(r *replica) *histogram { return r.transferTime }),
	distribution("vllm:nixl_bytes_transferred", "Bytes of KV fetched for a request.", func(r *replica) *histogram { return r.transferBytes }),
	counter("vllm:nixl_num_failed_transfers_total", "Fetches of KV that was gone or whose instance could not be told, the latter among them.", func(r *replica) float64 { return float64(r.failedTransfers) }),
	counter("vllm:nixl_num_failed_notifications_total", "Instances that could not be told that their KV was read.", func(r *replica) float64 { return float64(r.failedNotifications) }),
	counter("vllm:nixl_num_kv_expired_reqs_total", "Requests whose KV was not fetched before its lease ended.", func(r *replica) float64 { return float64(r.stats.ExpiredHolds) }),
	counter("vllm:nixl_num_notifications_after_expiry_total", "Fetches that were told of when the KV was not held any more.", func(r *replica) float64 { return float64(r.lateReleases) }),
}

// endings are the values of the label finished_reason.
var endings = []string{"abort", "error", "length", "stop"}

// writeMetrics writes the state of all replicas.
func (s *server) writeMetrics(w io.Writer) error {
	var x exposition
	model := labelEscape.Replace(s.names[0])
	var all []*replica
	// All are held still while they are read, in one order.
	for i, d := range s.replicas.all {
		d.mu.Lock()
		all = append(all, &replica{fmt.Sprintf(`engine="%d",model_name="%s"`, i, model), d.sched.Stats(), d.metrics})
	}
	list := families
	if s.honoursKV() {
		list = append(list[:len(list):len(list)], nixlFamilies...)
	}
	for _, f := range list {
		x.head(f.name, f.kind, f.help)
		for _, r := range all {
			if f.histogram != nil {
				x.histogram(f.name, r.labels, f.histogram(r))
			} else {
				x.sample(f.name, r.labels, f.value(r))
			}
		}
	}
	const success = "vllm:request_success_total"
	x.head(success, "counter", "Requests that ended, by reason.")
	for _, r := range all {
		for _, reason := range endings {
			x.sample(success, r.labels+`,finished_reason="`+reason+`"`, float64(r.success[reason]))
		}
	}
	const source = "vllm:prompt_tokens_by_source_total"
	x.head(source, "counter", "Prompt tokens of requests that gave a token, by where their KV is from.")
	for _, r := range all {
		st := r.stats
		x.sample(source, r.labels+`,source="external_kv_transfer"`, float64(st.PromptLoaded))
		x.sample(source, r.labels+`,source="local_cache_hit"`, float64(st.PromptCached))
		x.sample(source, r.labels+`,source="local_compute"`, float64(st.PromptTokens-st.PromptCached-st.PromptLoaded))
	}
	const info = "vllm:cache_config_info"
	x.head(info, "gauge", "Configuration of the KV cache.")
	c := s.settings.Scheduler
	for i := range all {
		x.sample(info, fmt.Sprintf(`engine="%d",block_size="%d",cache_dtype="auto",enable_prefix_caching="%s",gpu_memory_utilization="%g",num_gpu_blocks="%d"`,
			i, c.BlockSize, python(c.PrefixCaching), s.options.GPUMemoryUtilization, c.Blocks), 1)
	}
	for _, d := range s.replicas.all {
		d.mu.Unlock()
	}
	_, err := x.WriteTo(w)
	return err
}

// python is a boolean as Python writes it.
func python(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
