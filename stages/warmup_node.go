package stages

import (
	"context"
	"fmt"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/warmup"
)

// warmupInput is a short load before the first point of a deployment.
type warmupInput struct {
	Requests  int            `json:"requests"`
	API       string         `json:"api"`
	IgnoreEOS bool           `json:"ignore_eos"`
	Body      map[string]any `json:"body"`
	Timeout   string         `json:"timeout"`
	Seed      int64          `json:"seed"`
	Instances int            `json:"instances"`
}

// newWarmupInput is the warm-up of a point's deployment; nil if there is none.
func newWarmupInput(p specs.Point, d deploy.Deployment, s settings) *warmupInput {
	if s.warmup.Requests == 0 {
		return nil
	}
	w := p.Config.Workload
	return &warmupInput{
		Requests: s.warmup.Requests, API: w.API, IgnoreEOS: w.IgnoreEOS, Body: w.Body,
		Timeout: s.load.Timeout.String(), Seed: w.Seed, Instances: instances(d),
	}
}

// addWarmup adds the effect that warms the deployment of node service up.
func (b *builder) addWarmup(label, service, mode string, in warmupInput) (string, error) {
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return "", err
	}
	n := &pipeline.Node{
		ID: "warmup " + label, Stage: "warmup", Kind: pipeline.Effect, Input: raw,
		Needs: []string{service}, Work: warmupWork,
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

func warmupWork(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in warmupInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil {
		return err
	}
	srv, ok := rt.Service.(*serving)
	if !ok {
		return fmt.Errorf("a warm-up has no deployment")
	}
	e := srv.Endpoint()
	report, err := warmup.Run(ctx, load.Target{URL: e.URL, Model: e.Model, Headers: e.Headers}, warmup.Options{
		Requests: in.Requests, API: in.API, IgnoreEOS: in.IgnoreEOS, Body: in.Body,
		Timeout: timeout, Seed: in.Seed, MinConcurrent: in.Instances,
		IDPrefix: "warmup-" + rt.Attempt,
	})
	if err != nil {
		return err
	}
	if report.Failed > 0 {
		rt.Emit(pipeline.Event{Text: fmt.Sprintf("%d of %d warm-up requests failed: %s", report.Failed, report.Sent, report.Error)})
	}
	return nil
}
