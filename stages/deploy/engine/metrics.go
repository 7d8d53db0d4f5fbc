package engine

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// metrics are the histograms and counters that the scheduler's Stats do not
// hold. They are guarded by the driver's mutex.
type metrics struct {
	queueTime, prefillTime, decodeTime, ttft, itl, e2e *histogram // s

	iterationTokens *histogram
	lateness        *histogram // s, from a step's end until its tokens are handed out
	transferTime    *histogram // s
	transferBytes   *histogram

	success             map[string]int64 // by finish reason
	failedTransfers     int64
	failedNotifications int64
}

// Bucket bounds as vLLM has them, for the same queries to work on both.
var (
	phaseBounds     = []float64{.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
	ttftBounds      = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
	itlBounds       = []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	iterationBounds = []float64{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}
	transferBounds  = []float64{.005, .01, .025, .05, .075, .1, .2, .3, .5, .75, 1, 5}
	byteBounds      = []float64{1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 1 << 32, 1 << 34}
	latenessBounds  = []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1}
)

func newMetrics() *metrics {
	return &metrics{
		queueTime: newHistogram(phaseBounds), prefillTime: newHistogram(phaseBounds), decodeTime: newHistogram(phaseBounds),
		e2e: newHistogram(phaseBounds), ttft: newHistogram(ttftBounds), itl: newHistogram(itlBounds),
		iterationTokens: newHistogram(iterationBounds), lateness: newHistogram(latenessBounds),
		transferTime: newHistogram(transferBounds), transferBytes: newHistogram(byteBounds),
		success: map[string]int64{"stop": 0, "length": 0, "abort": 0},
	}
}

// token records one token of a request.
func (m *metrics) token(c *call, e Event) {
	r := e.Request
	if r.Generated == 1 {
		m.ttft.observe((e.At - r.Arrival).Seconds())
		m.queueTime.observe((r.Scheduled - r.Arrival).Seconds())
		m.prefillTime.observe((e.At - r.Scheduled).Seconds())
	} else {
		m.itl.observe((e.At - c.previous).Seconds())
	}
	c.previous = e.At
	if e.Done {
		m.decodeTime.observe((e.At - r.First).Seconds())
		m.e2e.observe((e.At - r.Arrival).Seconds())
		m.finished(c.reason)
	}
}

func (m *metrics) finished(reason string) { m.success[reason]++ }

// histogram is a Prometheus histogram. Its bounds are shared.
type histogram struct {
	bounds []float64
	counts []int64 // per bucket, not cumulative; the last one is above all bounds
	sum    float64
}

func newHistogram(bounds []float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]int64, len(bounds)+1)}
}

func (h *histogram) observe(v float64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += v
}

// exposition writes Prometheus' text format. Every sample carries the labels
// that vLLM gives its own.
type exposition struct {
	bytes.Buffer
	labels string // name="value" pairs
}

func (x *exposition) head(name, kind, help string) {
	fmt.Fprintf(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (x *exposition) sample(name, extra string, v float64) {
	x.WriteString(name)
	x.WriteByte('{')
	x.WriteString(x.labels)
	x.WriteString(extra)
	x.WriteString("} ")
	x.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	x.WriteByte('\n')
}

func (x *exposition) value(name, kind, help string, v float64) {
	x.head(name, kind, help)
	x.sample(name, "", v)
}

func (x *exposition) histogram(name, help string, h *histogram) {
	x.head(name, "histogram", help)
	var n int64
	for i, c := range h.counts {
		n += c
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = strconv.FormatFloat(h.bounds[i], 'g', -1, 64)
		}
		x.sample(name+"_bucket", `,le="`+bound+`"`, float64(n))
	}
	x.sample(name+"_sum", "", h.sum)
	x.sample(name+"_count", "", float64(n))
}

// labelEscape writes a label value as the text format wants it.
var labelEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// writeMetrics writes the driver's state under vLLM's names, and what vLLM
// has no name for under vbp's.
func (d *driver) writeMetrics(w io.Writer, model string) error {
	x := &exposition{labels: `engine="0",model_name="` + labelEscape.Replace(model) + `"`}
	d.mu.Lock()
	st, m := d.sched.Stats(), d.metrics
	x.value("vllm:num_requests_running", "gauge", "Requests in the batch.", float64(st.Running))
	x.value("vllm:num_requests_waiting", "gauge", "Requests waiting for admission or for remote KV.", float64(st.Waiting+st.Fetching))
	x.value("vllm:kv_cache_usage_perc", "gauge", "Share of the KV blocks in use; 1 is all.", 1-float64(st.FreeBlocks)/float64(st.Blocks))
	x.value("vllm:num_preemptions_total", "counter", "Requests thrown out of the batch.", float64(st.Preemptions))
	x.value("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.", float64(st.PrefixQueries))
	x.value("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found there.", float64(st.PrefixHits))
	x.value("vllm:prompt_tokens_total", "counter", "Prompt tokens of requests that gave a token.", float64(st.PromptTokens))
	x.value("vllm:generation_tokens_total", "counter", "Tokens generated.", float64(st.GeneratedTokens))
	x.head("vllm:request_success_total", "counter", "Requests that ended, by reason.")
	for _, reason := range []string{"abort", "length", "stop"} {
		x.sample("vllm:request_success_total", `,finished_reason="`+reason+`"`, float64(m.success[reason]))
	}
	x.histogram("vllm:request_queue_time_seconds", "From arrival to the first step.", m.queueTime)
	x.histogram("vllm:request_prefill_time_seconds", "From the first step to the first token.", m.prefillTime)
	x.histogram("vllm:request_decode_time_seconds", "From the first to the last token.", m.decodeTime)
	x.histogram("vllm:time_to_first_token_seconds", "From arrival to the first token.", m.ttft)
	x.histogram("vllm:inter_token_latency_seconds", "Between tokens of a request.", m.itl)
	x.histogram("vllm:e2e_request_latency_seconds", "From arrival to the last token.", m.e2e)
	x.histogram("vllm:iteration_tokens_total", "Tokens computed in a step.", m.iterationTokens)
	x.histogram("vllm:nixl_xfer_time_seconds", "Duration of fetching the KV of a request.", m.transferTime)
	x.histogram("vllm:nixl_bytes_transferred", "Bytes of KV fetched for a request.", m.transferBytes)
	x.value("vllm:nixl_num_failed_transfers", "counter", "Fetches of KV that was gone or could not be reached.", float64(m.failedTransfers))
	x.value("vllm:nixl_num_failed_notifications", "counter", "Instances that could not be told that their KV was read.", float64(m.failedNotifications))
	x.value("vllm:nixl_num_kv_expired_reqs", "counter", "Requests whose KV was not fetched before its lease ended.", float64(st.ExpiredHolds))
	x.value("vbp:steps_total", "counter", "Steps begun.", float64(st.Steps))
	x.histogram("vbp:step_lateness_seconds", "From the end of a step until its tokens are handed out.", m.lateness)
	d.mu.Unlock()
	_, err := x.WriteTo(w)
	return err
}
