package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// vllmFile is what is read of a result of `vllm bench serve --save-result
// --save-detailed`, and of the scripts' form of it, which has tpots. Lists
// have one entry for each request in order of dispatch, failures included.
// Times are seconds.
type vllmFile struct {
	TTFTs      []float64   `json:"ttfts"` // 0 for a failed request
	TPOTs      []*float64  `json:"tpots"` // the scripts' form only
	ITLs       [][]float64 `json:"itls"`  // gaps between events, not tokens
	Latencies  []*float64  `json:"latencies"`
	InputLens  []int64     `json:"input_lens"`
	OutputLens []int64     `json:"output_lens"` // 0 for a failed request
	StartTimes []float64   `json:"start_times"` // of an arbitrary epoch
	Errors     []string    `json:"errors"`      // reason phrase or traceback; may be empty for a failure
}

// errUnlimited marks a result without a rate: requests sent as fast as
// possible, or at a rate that rose. It has no place on a rate axis.
var errUnlimited = errors.New("no fixed request rate")

// vllmKeys are the members of which a vLLM bench result has at least one.
var vllmKeys = []string{
	"ttfts", "tpots", "itls", "request_rate", "request_throughput", "completed",
	"endpoint_type", "mean_ttft_ms", "num_prompts", "deployment_mode",
}

// isVLLM tells whether an object looks like a vLLM bench result.
func isVLLM(object json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return false
	}
	return slices.ContainsFunc(vllmKeys, func(k string) bool { _, ok := members[k]; return ok })
}

// readVLLM turns one result into a point: the exact one, if vbp wrote the
// result, else one made of vLLM's lists. name is the file's name, for its
// rate; mode is used where the result names none. errUnlimited is returned
// for one that has no fixed rate.
func readVLLM(object json.RawMessage, name, mode string) (Loaded, error) {
	about := scalars(object)
	rate, err := vllmRate(about, name)
	if err != nil {
		return Loaded{}, err
	}
	var f vllmFile
	if err := json.Unmarshal(object, &f); err != nil {
		return Loaded{}, typeError(err)
	}
	if p, run, ok, err := readOwn(object, &f); ok {
		return Loaded{Table: p.Table, Exact: true, Valid: p.Valid, Reason: p.Reason, Run: run}, err
	}
	if err := f.check(); err != nil {
		return Loaded{}, err
	}
	t := &sample.Table{Meta: vllmMeta(about, rate, mode)}
	epoch := math.NaN()
	if len(f.StartTimes) > 0 {
		epoch = slices.Min(f.StartTimes)
	}
	for i := range f.TTFTs {
		t.Append(f.row(i, epoch))
	}
	return Loaded{Table: t, Valid: true}, nil
}

// check tells what keeps the lists from being requests.
func (f *vllmFile) check() error {
	if f.TTFTs == nil {
		return errors.New("it has no per-request lists (ttfts is missing): run `vllm bench serve` with --save-detailed beside --save-result")
	}
	n := len(f.TTFTs)
	if n == 0 {
		return errors.New("its list ttfts is empty: it holds no request")
	}
	var uneven []string
	for _, l := range []struct {
		name string
		has  bool
		n    int
	}{
		{"tpots", f.TPOTs != nil, len(f.TPOTs)},
		{"itls", f.ITLs != nil, len(f.ITLs)},
		{"latencies", f.Latencies != nil, len(f.Latencies)},
		{"input_lens", f.InputLens != nil, len(f.InputLens)},
		{"output_lens", f.OutputLens != nil, len(f.OutputLens)},
		{"start_times", f.StartTimes != nil, len(f.StartTimes)},
		{"errors", f.Errors != nil, len(f.Errors)},
	} {
		if l.has && l.n != n {
			uneven = append(uneven, fmt.Sprintf("%s has %d entries", l.name, l.n))
		}
	}
	if len(uneven) > 0 {
		return fmt.Errorf("%s, but ttfts has %d: every list needs one entry for each request, failed ones included", strings.Join(uneven, ", "), n)
	}
	if f.TPOTs == nil {
		if f.ITLs == nil && f.Latencies == nil {
			return errors.New("it has neither tpots nor itls nor latencies, one of which is needed for TPOT: run `vllm bench serve` with --save-detailed")
		}
		if f.OutputLens == nil {
			return errors.New("it has neither tpots nor output_lens, one of which is needed for TPOT: run `vllm bench serve` with --save-detailed")
		}
	}
	for i, v := range f.TTFTs {
		if v < 0 {
			return fmt.Errorf("ttfts[%d] is %v: a time cannot be below 0", i, v)
		}
	}
	for i, v := range f.OutputLens {
		if v < 0 {
			return fmt.Errorf("output_lens[%d] is %d: a count cannot be below 0", i, v)
		}
	}
	for i, gaps := range f.ITLs {
		for j, v := range gaps {
			if v < 0 {
				return fmt.Errorf("itls[%d][%d] is %v: a time cannot be below 0", i, j, v)
			}
		}
	}
	for i, v := range f.Latencies {
		// A failed request may have a TTFT and no latency.
		if v != nil && *v < f.TTFTs[i] && (f.OutputLens == nil || f.OutputLens[i] > 0) && (f.Errors == nil || f.Errors[i] == "") {
			return fmt.Errorf("latencies[%d] is %v, below ttfts[%d], %v: an answer cannot end before it begins", i, *v, i, f.TTFTs[i])
		}
	}
	for i, v := range f.TPOTs {
		if v != nil && *v < 0 {
			return fmt.Errorf("tpots[%d] is %v: a time cannot be below 0", i, *v)
		}
	}
	return nil
}

// row is request i. The epoch is NaN if start times are not known.
//
//	latency = latencies[i], else ttft + sum(itls)
//	TPOT    = tpots[i], else (latency - ttft) / (output_len - 1)
//
// A request failed if its error text is not empty, if it has no output token,
// or if its TTFT is 0, which no real answer has.
func (f *vllmFile) row(i int, epoch float64) sample.Outcome {
	o := sample.NewOutcome("")
	o.Events = sample.Absent
	o.Outcome = sample.OK
	ttft := f.TTFTs[i]
	if f.InputLens != nil {
		o.PromptTokens = f.InputLens[i]
	}
	if f.OutputLens != nil {
		o.OutputTokens = f.OutputLens[i]
	}
	text := ""
	if f.Errors != nil {
		text = f.Errors[i]
	}
	failed := text != "" || ttft == 0 || o.OutputTokens == 0
	if ttft > 0 {
		o.TTFT = ttft
	}
	latency := math.NaN()
	if f.ITLs != nil && (len(f.ITLs[i]) > 0 || o.OutputTokens <= 1) { // no gaps, many tokens: not known
		latency = ttft
		sum := 0.0
		for _, gap := range f.ITLs[i] {
			sum += gap
			o.Gaps = append(o.Gaps, microseconds(gap))
		}
		latency += sum
		if ttft > 0 {
			o.Events = int64(len(f.ITLs[i])) + 1
		}
	}
	if f.Latencies != nil && f.Latencies[i] != nil {
		latency = *f.Latencies[i]
	}
	switch {
	case failed:
		o.Outcome, o.Error = vllmFailure(text, ttft), text
	case o.OutputTokens == 1: // no TPOT, whatever the file says
	case f.TPOTs != nil:
		if f.TPOTs[i] != nil {
			o.TPOT = *f.TPOTs[i]
		}
	default:
		o.TPOT = (latency - ttft) / float64(o.OutputTokens-1)
	}
	if !failed {
		o.E2E = latency
	}
	if start := f.start(i) - epoch; !math.IsNaN(start) {
		o.Sent = nanoseconds(start)
		if ttft > 0 {
			o.FirstToken = nanoseconds(start + ttft)
			o.LastToken = nanoseconds(start + latency)
		}
	}
	return o
}

func (f *vllmFile) start(i int) float64 {
	if len(f.StartTimes) == 0 {
		return math.NaN()
	}
	return f.StartTimes[i]
}

// vllmFailure sorts a failure by its text, a reason phrase or a traceback, and
// by whether a token had come.
func vllmFailure(text string, ttft float64) string {
	switch {
	case strings.Contains(text, "Timeout"):
		return sample.Timeout
	case strings.Contains(text, "ClientConnector") || strings.Contains(text, "ConnectionRefused"):
		return sample.ConnectError
	case ttft > 0:
		return sample.StreamError
	}
	return sample.HTTPError
}

// vllmRate is request_rate, else the rate in the file's name.
func vllmRate(about map[string]string, name string) (float64, error) {
	if about["ramp_up_strategy"] != "" || strings.Contains(name, "-ramp-up-") {
		return 0, fmt.Errorf("%w: its rate rose during the run (ramp-up)", errUnlimited)
	}
	rate := namedRate(name)
	if text, ok := about["request_rate"]; ok {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("request_rate is %q: a number of requests per second is needed", text)
		}
		rate = v
	} else if math.IsNaN(rate) {
		return 0, errors.New("it has no request_rate, and its name tells none: name it like vllm-2.5qps-... or rate_2.5")
	}
	switch {
	case math.IsInf(rate, 1):
		return 0, fmt.Errorf("%w: its request rate is inf", errUnlimited)
	case !(rate > 0):
		return 0, fmt.Errorf("its request rate is %v: it must be above 0", rate)
	}
	return rate, nil
}

// vllmConfig are the members worth showing as configuration; the last are
// those that the scripts add.
var vllmConfig = []string{
	"max_concurrency", "burstiness", "engine", "deployment_mode", "model_name",
	"num_prefill_instances", "num_decode_instances", "prefiller_tp_size", "decoder_tp_size",
	"tensor_parallel_size", "gpu_memory_utilization",
}

func vllmMeta(about map[string]string, rate float64, mode string) sample.Meta {
	m := sample.Meta{
		Rate: rate, Start: sample.Absent, Length: math.NaN(),
		Model: about["model_id"], Dataset: about["dataset_name"], Engine: about["backend"],
		GPUs: vllmGPUs(about), Config: map[string]string{}, Extra: map[string]string{},
	}
	if m.Model == "" {
		m.Model = about["model_name"]
	}
	if v := about["deployment_mode"]; v != "" {
		mode = v
	}
	if v, err := strconv.ParseFloat(about["duration"], 64); err == nil && v > 0 {
		m.Length = v
	}
	if v, err := strconv.ParseInt(about["seed"], 10, 64); err == nil {
		m.Seed = v
	}
	for _, k := range vllmConfig {
		if v := about[k]; v != "" {
			m.Config[k] = v
		}
	}
	if m.Config["model_name"] == "" && m.Model != "" {
		m.Config["model_name"] = m.Model[strings.LastIndexByte(m.Model, '/')+1:]
	}
	// Statistics are made from the requests; the rest is kept as it is.
	for k, v := range about {
		if _, shown := m.Config[k]; !shown && !vllmStatistic(k) {
			m.Extra[k] = v
		}
	}
	m.Axes = foreignAxes(mode, rate)
	return m
}

// vllmStatistic tells whether a member is computed from the requests.
func vllmStatistic(key string) bool {
	switch key {
	case "duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "num_prompts",
		"request_throughput", "request_goodput", "output_throughput", "total_token_throughput",
		"max_output_tokens_per_s", "max_concurrent_requests", "request_rate":
		return true
	}
	return strings.HasSuffix(key, "_ms")
}

// vllmGPUs is instances x tensor-parallel size where the result tells; 0 where
// it does not.
func vllmGPUs(about map[string]string) int {
	count := func(keys ...string) int {
		for _, k := range keys {
			if v, err := strconv.Atoi(about[k]); err == nil && v > 0 && v < 1<<20 {
				return v
			}
		}
		return 0
	}
	prefill, decode := count("num_prefill_instances"), count("num_decode_instances")
	if about["deployment_mode"] != "simple" && prefill > 0 && decode > 0 {
		p, d := count("prefiller_tp_size", "tensor_parallel_size"), count("decoder_tp_size", "tensor_parallel_size")
		if p == 0 || d == 0 {
			return 0
		}
		return prefill*p + decode*d
	}
	if m := about["deployment_mode"]; m != "simple" && m != "" {
		return 0 // disaggregated, and how is not said
	}
	return count("tensor_parallel_size")
}

// foreignAxes are the axes of a point of a foreign file. The repeat is set
// once it is known which files share a rate.
func foreignAxes(mode string, rate float64) []sample.Axis {
	return []sample.Axis{
		{Name: "mode", Value: mode, Set: true},
		{Name: "qps", Value: strconv.FormatFloat(rate, 'f', -1, 64), Set: true},
		{Name: "repeat", Value: "0", Set: true},
	}
}
