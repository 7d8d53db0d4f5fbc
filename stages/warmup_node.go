package stages

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/warmup"
)

// warmupPrefix begins the IDs of warm-ups' nodes.
const warmupPrefix = "warmup "

// warmupInput is a short load before the first point of a deployment.
type warmupInput struct {
	Requests  int            `json:"requests"`
	API       string         `json:"api"`
	IgnoreEOS bool           `json:"ignore_eos"`
	Body      map[string]any `json:"body"`
	Timeout   string         `json:"timeout"`
	Seed      int64          `json:"seed"`
	Instances int            `json:"instances"`

	first  *firstPace // of the deployment; no part of what is sent
	client load.Transport
}

// firstPace is how fast the warm-up of a deployment's first start in an apply
// was answered. The nodes that warm the deployment up have it in common: of
// every block, and of every start again.
type firstPace struct {
	mu    sync.Mutex
	known bool
	pace  warmup.Pace
}

// slowdown compares a start's pace with the first one's, or keeps it if there
// is none; 0 if it cannot be told.
func (f *firstPace) slowdown(p warmup.Pace) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, comparable := p.Slowdown(p); !f.known && comparable {
		f.known, f.pace = true, p
	}
	ratio, _ := p.Slowdown(f.pace)
	return ratio
}

// newWarmupInput is the warm-up of a point's deployment; nil if there is none.
func newWarmupInput(p specs.Point, d deploy.Deployment, s settings, client load.Transport) *warmupInput {
	if s.warmup.Requests == 0 {
		return nil
	}
	w := p.Config.Workload
	return &warmupInput{
		Requests: s.warmup.Requests, API: w.API, IgnoreEOS: w.IgnoreEOS, Body: w.Body,
		Timeout: s.load.Timeout.String(), Seed: w.Seed, Instances: instances(d),
		first: &firstPace{}, client: client,
	}
}

// addWarmup adds the effect that warms the deployment of node service up.
func (b *builder) addWarmup(label, service, mode string, in warmupInput) (string, error) {
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return "", err
	}
	n := &pipeline.Node{
		ID: warmupPrefix + label, Stage: "warmup", Group: "warmup", Kind: pipeline.Effect, Input: raw,
		Needs: []string{service}, Work: warmupWork(in.first, in.client),
	}
	b.made["warmup"] = append(b.made["warmup"], made{id: n.ID, mode: mode})
	return n.ID, b.addNode(n)
}

// instances is how many requests it takes to reach every instance.
func instances(d deploy.Deployment) int {
	n := 1
	for _, p := range []*deploy.Pool{d.Server, d.Prefill, d.Decode} {
		if p != nil {
			n = max(n, p.Instances)
		}
	}
	return n
}

// warmupWork warms a deployment up and tells it how its pace compares with the
// first start's.
func warmupWork(first *firstPace, client load.Transport) func(context.Context, pipeline.Input, *pipeline.Runtime) error {
	return func(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
		var in warmupInput
		if err := raw.Decode(&in); err != nil {
			return err
		}
		srv, ok := rt.Service.(*serving)
		if !ok {
			return fmt.Errorf("a warm-up has no deployment")
		}
		report, err := in.send(ctx, srv.Endpoint(), client, "warmup-"+rt.Attempt, in.Requests, in.Instances)
		if err != nil {
			return err
		}
		srv.slowdown = first.slowdown(report.Pace)
		if report.Failed > 0 {
			rt.Emit(pipeline.Event{Text: fmt.Sprintf("%d of %d warm-up requests failed: %s", report.Failed, report.Sent, report.Error)})
		}
		return nil
	}
}

// send sends n warm-up requests, and at least atOnce at one instant.
func (in *warmupInput) send(ctx context.Context, e deploy.Endpoint, client load.Transport, prefix string, n, atOnce int) (warmup.Report, error) {
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil {
		return warmup.Report{}, err
	}
	return warmup.Run(ctx, load.Target{URL: e.URL, Model: e.Model, Headers: e.Headers}, warmup.Options{
		Requests: n, API: in.API, IgnoreEOS: in.IgnoreEOS, Body: in.Body,
		Timeout: timeout, Seed: in.Seed, MinConcurrent: atOnce, IDPrefix: prefix, Transport: client,
	})
}
