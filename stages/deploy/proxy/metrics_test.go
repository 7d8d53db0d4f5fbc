package proxy

import (
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const theirMetrics = `# HELP vllm:num_requests_running Number of requests running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
# HELP vllm:prompt_tokens_total Prefill tokens.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",instance="old"} 1.0e+06
# HELP vllm:request_queue_time_seconds Queue.
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{le="0.3"} 4.0
vllm:request_queue_time_seconds_bucket{le="+Inf"} 5.0
vllm:request_queue_time_seconds_count 5.0
vllm:request_queue_time_seconds_sum 1.25
`

// samples flattens families to "name{label=value,...}" -> value; a histogram
// to its sum and count.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := name + "{" + strings.Join(labels, ",") + "}"
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[key] = m.Counter.GetValue()
			case dto.MetricType_GAUGE:
				out[key] = m.Gauge.GetValue()
			case dto.MetricType_HISTOGRAM:
				out[key+" sum"] = m.Histogram.GetSampleSum()
				out[key+" count"] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	f := &fakes{t: t}
	_, url := serve(t, Options{
		Prefill: []string{f.start("a", func(w http.ResponseWriter, r *http.Request, body string) {
			answer := `{}`
			if r.URL.Path == "/metrics" {
				answer = theirMetrics
			}
			says(200, answer)(w, r, body)
		})},
		Decode: []string{
			f.start("b", says(200, strings.ReplaceAll(theirMetrics, "3.0", "7.0"))),
			f.start("none", says(404, "")),
			f.start("broken", says(200, "vllm:x{ 1\n")),
			f.start("other type", says(200, "# TYPE vllm:num_requests_running counter\nvllm:num_requests_running 9\n")),
		},
	})
	post(t, url+"/v1/completions", `{}`) // answered by a and b; a gives no parameters back
	resp, text := get(t, url+"/metrics")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	got := samples(t, text)
	for key, want := range map[string]float64{
		"vllm:num_requests_running{engine=0,model_name=m,instance=prefill-0}":         3,
		"vllm:num_requests_running{engine=0,model_name=m,instance=decode-0}":          7,
		"vllm:prompt_tokens_total{engine=0,exported_instance=old,instance=prefill-0}": 1e6,
		"vllm:request_queue_time_seconds{instance=prefill-0} sum":                     1.25,
		"vllm:request_queue_time_seconds{instance=decode-0} count":                    5,
		"vbp_proxy_requests_total{}":                                                  1,
		"vbp_proxy_fallbacks_total{}":                                                 1,
		"vbp_proxy_prefill_errors_total{}":                                            0,
		"vbp_proxy_decode_errors_total{}":                                             0,
		"vbp_proxy_instance_requests_total{instance=prefill-0}":                       1,
		"vbp_proxy_instance_requests_total{instance=decode-0}":                        1,
		"vbp_proxy_instance_requests_total{instance=decode-1}":                        0,
		"vbp_proxy_instance_errors_total{instance=prefill-0}":                         0,
		"vbp_proxy_instance_scraped{instance=decode-0}":                               1,
		"vbp_proxy_instance_scraped{instance=decode-1}":                               0,
		"vbp_proxy_instance_scraped{instance=decode-2}":                               0,
		"vbp_proxy_instance_scraped{instance=decode-3}":                               1,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	for key := range got {
		if strings.HasPrefix(key, "vllm:x") || strings.HasPrefix(key, "vllm:num_requests_running{instance=decode-3") {
			t.Errorf("%s is told", key)
		}
	}
	if n := strings.Count(text, "# TYPE vllm:num_requests_running "); n != 1 {
		t.Errorf("%d TYPE lines of one metric", n)
	}
}
