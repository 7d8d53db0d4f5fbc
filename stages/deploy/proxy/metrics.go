package proxy

import (
	"bytes"
	"maps"
	"net/http"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// textFormat is what instances are asked for and what is answered.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// instanceLabel tells the instances' samples apart; one that a server set
// itself becomes exported_instance, as Prometheus does it.
const instanceLabel = "instance"

// metrics answers with the metrics of all instances, each sample labelled with
// the instance it is from, and the proxy's own. An instance whose metrics
// cannot be had is left out, and its vbp_proxy_instance_scraped is 0.
func (p *Proxy) metrics(w http.ResponseWriter, r *http.Request) {
	families := map[string]*dto.MetricFamily{}
	scraped := map[string]bool{}
	for _, a := range p.askAll(r, http.MethodGet, "/metrics", textFormat) {
		if a.problem() != "" {
			continue
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		theirs, err := parser.TextToMetricFamilies(bytes.NewReader(a.body))
		if err != nil {
			// A part of it would look like counters that went back.
			p.log.Printf("metrics of %s (%s) cannot be read: %v", a.in.name, a.in.url, err)
			continue
		}
		scraped[a.in.name] = true
		mergeFamilies(families, theirs, a.in.name)
	}
	for _, f := range p.ownMetrics(scraped) {
		families[f.GetName()] = f
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(families)) {
		whole := b.Len()
		if _, err := expfmt.MetricFamilyToText(&b, families[name]); err != nil {
			b.Truncate(whole)
			p.log.Printf("metric %s is left out: %v", name, err)
		}
	}
	w.Header().Set("Content-Type", textFormat)
	_, _ = w.Write(b.Bytes())
}

// mergeFamilies adds one instance's metrics to those of others. A family that
// has another type there than here is left out: the text format can give a
// name only one.
func mergeFamilies(into, theirs map[string]*dto.MetricFamily, instance string) {
	for name, f := range theirs {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == instanceLabel {
					l.Name = new("exported_" + instanceLabel)
				}
			}
			m.Label = append(m.Label, label(instanceLabel, instance))
		}
		have, ok := into[name]
		switch {
		case !ok:
			into[name] = f
		case have.GetType() == f.GetType():
			have.Metric = append(have.Metric, f.Metric...)
		}
	}
}

// ownMetrics are the proxy's counters.
func (p *Proxy) ownMetrics(scraped map[string]bool) []*dto.MetricFamily {
	c := p.Counts()
	one := func(name, help string, v int64) *dto.MetricFamily {
		return family(name, help, dto.MetricType_COUNTER, counter(v))
	}
	sent := family("vbp_proxy_instance_requests_total", "Legs sent to the instance.", dto.MetricType_COUNTER)
	failed := family("vbp_proxy_instance_errors_total", "Legs to the instance that failed.", dto.MetricType_COUNTER)
	up := family("vbp_proxy_instance_scraped", "Whether the instance's own metrics are among these.", dto.MetricType_GAUGE)
	for _, in := range p.instances() {
		l := label(instanceLabel, in.name)
		sent.Metric = append(sent.Metric, counter(in.requests.Load(), l))
		failed.Metric = append(failed.Metric, counter(in.errors.Load(), l))
		v := 0.0
		if scraped[in.name] {
			v = 1
		}
		up.Metric = append(up.Metric, &dto.Metric{Label: []*dto.LabelPair{l}, Gauge: &dto.Gauge{Value: &v}})
	}
	return []*dto.MetricFamily{
		one("vbp_proxy_requests_total", "Completions asked for.", c.Requests),
		one("vbp_proxy_fallbacks_total", "Completions whose prefill gave no transfer parameters, so that decode prefilled by itself.", c.Fallbacks),
		one("vbp_proxy_prefill_errors_total", "Completions whose prefill leg failed.", c.PrefillErrors),
		one("vbp_proxy_decode_errors_total", "Completions whose decode leg failed, in mid-stream included.", c.DecodeErrors),
		one("vbp_proxy_cancelled_total", "Completions whose client went before the answer was whole.", c.Cancelled),
		one("vbp_proxy_rejected_total", "Requests refused for their body.", c.Rejected),
		sent, failed, up,
	}
}

func family(name, help string, kind dto.MetricType, metrics ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: metrics}
}

func counter(v int64, labels ...*dto.LabelPair) *dto.Metric {
	return &dto.Metric{Label: labels, Counter: &dto.Counter{Value: new(float64(v))}}
}

func label(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: &name, Value: &value}
}
