package stages

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"vbp/pipeline"
	"vbp/stages/deploy"
)

// cooldown waits until the deployment has been left alone for rest since its
// last point ended (the zero time: there was none), and then until it has no
// requests, for limit at most in all. If it still has some then, the note says
// so, and the point that follows goes on.
func cooldown(ctx context.Context, rt *pipeline.Runtime, lastEnd time.Time, rest, limit time.Duration, ask func(context.Context) backlog) (note string, err error) {
	if lastEnd.IsZero() {
		rest = 0
	} else {
		rest -= rt.Now().Sub(lastEnd)
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	if rest = min(rest, limit); rest > 0 {
		rt.Emit(pipeline.Event{Text: "cooling down"})
		pause := time.NewTimer(rest)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-pause.C:
		}
	}
	for told := false; ; told = true {
		left := ask(ctx)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if left.requests == 0 {
			return "", nil
		}
		if !told {
			rt.Emit(pipeline.Event{Text: "cooling down until the servers have no requests: " + left.String()})
		}
		pause := time.NewTimer(queueStep)
		select {
		case <-ctx.Done():
			pause.Stop()
			return "", ctx.Err()
		case <-over.C:
			pause.Stop()
			return fmt.Sprintf("cool-down ended after %v (cooldown_limit) though the servers still had requests, running or waiting: %s", limit, left), nil
		case <-pause.C:
		}
	}
}

const (
	// queueStep lies between two questions for the queues: short beside a
	// point, long beside what the answer costs a server.
	queueStep = 250 * time.Millisecond

	// queueTimeout bounds one question; a server that is slower is taken for
	// one that does not tell.
	queueTimeout = 2 * time.Second

	// mostMetrics bounds one answer; vLLM's is about 100 KB.
	mostMetrics = 16 << 20
)

// queueGauges are the metrics of requests that a server has: in the batch, and
// waiting to be. vLLM and the simulated engine have these.
var queueGauges = []string{"vllm:num_requests_running", "vllm:num_requests_waiting"}

// backlog is the requests that the servers of a deployment have, running or
// waiting, as far as they tell.
type backlog struct {
	requests float64
	told     bool     // by any of them
	of       []string // "decode-0 3" of those that have some
}

func (b backlog) String() string { return strings.Join(b.of, ", ") }

// queues asks the servers of a deployment for their requests.
type queues struct {
	client    *http.Client
	headers   map[string]string
	instances []deploy.Instance
}

// newQueues asks the servers of the model: what a proxy tells is theirs, and a
// cache speaks no HTTP. close must be called.
func newQueues(e deploy.Endpoint) *queues {
	q := &queues{
		// Connections of its own, which the load neither waits for nor takes.
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: queueTimeout},
		headers: e.Headers,
	}
	for _, in := range e.Instances {
		if in.Role != deploy.Cache && in.Role != deploy.Proxy {
			q.instances = append(q.instances, in)
		}
	}
	return q
}

func (q *queues) close() { q.client.CloseIdleConnections() }

// ask asks all at once. An instance that cannot be read tells nothing, as one
// that has no such metrics.
func (q *queues) ask(ctx context.Context) backlog {
	counts, told := make([]float64, len(q.instances)), make([]bool, len(q.instances))
	var asked sync.WaitGroup
	for i, in := range q.instances {
		asked.Go(func() { counts[i], told[i] = q.read(ctx, in.URL) })
	}
	asked.Wait()
	var b backlog
	for i, n := range counts {
		b.requests += n
		b.told = b.told || told[i]
		if n > 0 {
			b.of = append(b.of, fmt.Sprintf("%s %g", q.instances[i].Name, n))
		}
	}
	return b
}

// read is the requests of one server.
func (q *queues) read(ctx context.Context, url string) (n float64, told bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	for name, value := range q.headers {
		request.Header.Set(name, value)
	}
	response, err := q.client.Do(request)
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, false
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, mostMetrics))
	if err != nil {
		return 0, false
	}
	for _, name := range queueGauges {
		for _, m := range families[name].GetMetric() {
			v := m.GetGauge().GetValue() + m.GetUntyped().GetValue() // one of them is there
			if v >= 0 {
				n, told = n+v, true
			}
		}
	}
	return n, told
}
