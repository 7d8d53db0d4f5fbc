package collect

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Instance is a server whose metrics are recorded.
type Instance struct {
	Name string // "prefill-0"
	Role string // server, prefill, decode, proxy
	URL  string // without /metrics

	Headers map[string]string // sent with every request, for servers that ask for a key
}

// scrapeTimeout bounds one request: metrics that take longer than this say
// little of the instant that they are stored under.
const scrapeTimeout = 2 * time.Second

// largestScrape bounds one answer; vLLM's is about 100 KB.
const largestScrape = 16 << 20

// Scraper records the Prometheus metrics of a deployment's instances while a
// point runs. A scrape that fails is counted and told of in Warnings; it never
// ends anything.
type Scraper struct {
	instances []Instance
	interval  time.Duration
	start     time.Time
	client    *http.Client

	mu     sync.Mutex
	rows   []metricRow // in order of scrape, instances in their own order within one
	counts []scrapeCount
}

// metricRow is one value of one metric of one instance at one instant.
type metricRow struct {
	at       int64 // ns from the point's start: when the request was sent
	instance int   // index
	metric   string
	labels   string // JSON object with sorted keys; "" for none
	value    float64
	counter  bool // only ever grows: a counter, or a part of a histogram
}

type scrapeCount struct {
	done, failed int
	first        error
	begun, ended bool // the scrape of Begin, and the one at the end of Run, succeeded
}

// NewScraper returns a Scraper of instances whose times count from start;
// Rebase, once Run has returned, lets them count from the start of the point.
// With an interval of 0 only Begin and the end of Run scrape.
func NewScraper(instances []Instance, interval time.Duration, start time.Time) *Scraper {
	return &Scraper{
		instances: instances, interval: interval, start: start,
		// Connections of its own, so that scrapes neither wait for those of
		// the load nor take them; one kept alive for each instance.
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
		counts: make([]scrapeCount, len(instances)),
	}
}

// Rebase lets times count from start, Unix ns: that of the samples, which is
// known once the load is done. What was scraped before it has negative times.
func (s *Scraper) Rebase(start int64) {
	shift := s.start.UnixNano() - start
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rows {
		s.rows[i].at += shift
	}
	s.start = time.Unix(0, start)
}

// Begin scrapes every instance once: what counters are compared with.
func (s *Scraper) Begin(ctx context.Context) {
	for i, ok := range s.scrape(ctx) {
		s.counts[i].begun = ok
	}
}

// Run scrapes every instance at each interval, and once more when ctx ends, so
// that counters can be compared from end to end. It returns when the last
// scrape is done. It must be called once.
func (s *Scraper) Run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	var tick <-chan time.Time // never, without an interval
	if s.interval > 0 {
		t := time.NewTicker(s.interval)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-tick:
			s.scrape(ctx)
		case <-ctx.Done():
			for i, ok := range s.scrape(context.WithoutCancel(ctx)) {
				s.counts[i].ended = ok
			}
			return
		}
	}
}

// scrape asks every instance side by side, waits for all, and tells of each
// whether it could be read.
func (s *Scraper) scrape(ctx context.Context) []bool {
	could := make([]bool, len(s.instances))
	found := make([][]metricRow, len(s.instances))
	errs := make([]error, len(s.instances))
	var wg sync.WaitGroup
	for i := range s.instances {
		wg.Go(func() { found[i], errs[i] = s.ask(ctx, i) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return could // the end came in between; Run scrapes once more
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.instances {
		if could[i] = errs[i] == nil; could[i] {
			s.counts[i].done++
			s.rows = append(s.rows, found[i]...)
			continue
		}
		if s.counts[i].failed++; s.counts[i].first == nil {
			s.counts[i].first = errs[i]
		}
	}
	return could
}

// ask scrapes one instance.
func (s *Scraper) ask(ctx context.Context, i int) ([]metricRow, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.instances[i].URL, "/")+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	for name, value := range s.instances[i].Headers {
		request.Header.Set(name, value)
	}
	at := time.Since(s.start).Nanoseconds()
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", request.URL, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, largestScrape))
	if err != nil {
		return nil, fmt.Errorf("GET %s: the answer is not metrics: %w", request.URL, err)
	}
	var rows []metricRow
	for _, family := range families {
		if recorded(family.GetName(), s.instances[i].Role) {
			rows = append(rows, flatten(at, i, family)...)
		}
	}
	slices.SortFunc(rows, func(a, b metricRow) int {
		if c := strings.Compare(a.metric, b.metric); c != 0 {
			return c
		}
		return strings.Compare(a.labels, b.labels)
	})
	return rows, nil
}

// recorded tells which families of an instance are kept: the engine's, vbp's
// own, and those of the process. The others describe the server's Python or Go
// runtime. A proxy repeats its engines' metrics, which are scraped from them.
func recorded(family, role string) bool {
	if role == "proxy" && strings.HasPrefix(family, "v") {
		return strings.HasPrefix(family, "vbp_proxy_")
	}
	for _, prefix := range []string{"vllm:", "lmcache:", "sglang:", "llamacpp:", "tgi_", "vbp_", "vbp:", "process_"} {
		if strings.HasPrefix(family, prefix) {
			return true
		}
	}
	return false
}

// flatten turns a family into rows. A histogram becomes NAME_sum, NAME_count
// and NAME_bucket with label le; a summary likewise, its quantiles as NAME.
func flatten(at int64, instance int, family *dto.MetricFamily) []metricRow {
	var rows []metricRow
	name := family.GetName()
	for _, m := range family.Metric {
		add := func(metric string, value float64, counter bool, extra ...string) {
			rows = append(rows, metricRow{
				at: at, instance: instance, metric: metric,
				labels: labelText(m.Label, extra...), value: value, counter: counter,
			})
		}
		switch {
		case m.Counter != nil:
			add(name, m.Counter.GetValue(), true)
		case m.Gauge != nil:
			add(name, m.Gauge.GetValue(), false)
		case m.Untyped != nil:
			add(name, m.Untyped.GetValue(), false)
		case m.Histogram != nil:
			add(name+"_sum", m.Histogram.GetSampleSum(), true)
			add(name+"_count", float64(m.Histogram.GetSampleCount()), true)
			for _, b := range m.Histogram.Bucket {
				add(name+"_bucket", float64(b.GetCumulativeCount()), true, "le", bound(b.GetUpperBound()))
			}
		case m.Summary != nil:
			add(name+"_sum", m.Summary.GetSampleSum(), true)
			add(name+"_count", float64(m.Summary.GetSampleCount()), true)
			for _, q := range m.Summary.Quantile {
				add(name, q.GetValue(), false, "quantile", bound(q.GetQuantile()))
			}
		}
	}
	return rows
}

// Warnings says which instances could not be scraped, and how often.
func (s *Scraper) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for i, c := range s.counts {
		if c.failed > 0 {
			out = append(out, fmt.Sprintf("server metrics of %s: %d of %d scrapes failed, first with: %v",
				s.instances[i].Name, c.failed, c.failed+c.done, c.first))
		}
	}
	return out
}

// Unread lists the instances that could not be read both by Begin and at the
// end of Run: nothing can be said of their counters.
func (s *Scraper) Unread() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for i, c := range s.counts {
		if !c.begun || !c.ended {
			out = append(out, s.instances[i].Name)
		}
	}
	return out
}

// Delta is by how much a counter (or NAME_sum, NAME_count of a histogram) grew
// on each instance from Begin to the end of Run, summed over its labels. An
// instance that does not report it, or could not be read at either end, is
// absent.
func (s *Scraper) Delta(metric string) map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	type series struct {
		instance int
		labels   string
	}
	first := map[series]float64{}
	last := map[series]float64{}
	begun := map[int]int64{}
	for _, r := range s.rows {
		if _, ok := begun[r.instance]; !ok {
			begun[r.instance] = r.at
		}
		if r.metric != metric || !r.counter || math.IsNaN(r.value) {
			continue
		}
		k := series{r.instance, r.labels}
		if _, ok := first[k]; !ok {
			// A label that appears later has counted from 0.
			if first[k] = 0; r.at == begun[r.instance] {
				first[k] = r.value
			}
		}
		last[k] = r.value
	}
	out := map[string]float64{}
	for k, v := range last {
		if c := s.counts[k.instance]; !c.begun || !c.ended {
			continue
		}
		out[s.instances[k.instance].Name] += v - first[k]
	}
	return out
}
