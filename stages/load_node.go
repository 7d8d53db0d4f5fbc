package stages

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/collect"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/load/arrivals"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// loadInput is the declared identity of a measurement: everything that can be
// known before anything starts and that can change what is measured. SLOs,
// rules of validity, and the axes that other points have are not in it.
type loadInput struct {
	Deployment    deploy.Deployment `json:"deployment"`
	Engine        string            `json:"engine"` // identity of the engine's program, where it can be known
	Host          string            `json:"host"`
	Client        string            `json:"client"` // version of the load generator's protocol
	Workload      workloadInput     `json:"workload"`
	QPS           float64           `json:"qps"`
	Repeat        int               `json:"repeat"`
	Timeout       string            `json:"timeout"`
	Cooldown      string            `json:"cooldown"`
	Warmup        int               `json:"warmup_requests"`
	ServerMetrics string            `json:"server_metrics"`
}

type workloadInput struct {
	Dataset    string         `json:"dataset"`
	Digest     string         `json:"dataset_digest"`
	API        string         `json:"api"`
	Requests   int            `json:"requests"`
	Arrivals   string         `json:"arrivals"`
	Burstiness float64        `json:"burstiness"`
	IgnoreEOS  bool           `json:"ignore_eos"`
	Body       map[string]any `json:"body"`
	Seed       int64          `json:"seed"`
}

// Files of a load artefact.
const (
	samplesFile = "samples.parquet"
	metricsFile = "metrics.parquet"
)

// loadWork is what a load node works with beside its input: the prompts whose
// digest the input holds, and the objectives that live attainment is shown
// for, which change nothing that is measured.
type loadWork struct {
	source *workload.Source
	slo    specs.SLO
}

func (b *builder) loadInput(p specs.Point, d deploy.Deployment, src *workload.Source) loadInput {
	w := p.Config.Workload
	in := loadInput{
		Deployment: d, Engine: engineIdentity(d), Host: b.site.Host, Client: load.Protocol,
		Workload: workloadInput{
			Dataset: w.Dataset.Name, Digest: src.Digest(), API: w.API, Requests: w.Requests,
			Arrivals: w.Arrivals, Burstiness: w.Burstiness, IgnoreEOS: w.IgnoreEOS, Body: w.Body, Seed: w.Seed,
		},
		QPS: p.QPS, Repeat: p.Repeat,
	}
	for _, s := range p.Config.Stages {
		switch {
		case s.Load != nil:
			in.Timeout, in.Cooldown = s.Load.Timeout.String(), s.Load.Cooldown.String()
		case s.Warmup != nil:
			in.Warmup = s.Warmup.Requests
		case s.Collect != nil:
			in.ServerMetrics = s.Collect.ServerMetrics.String()
		}
	}
	return in
}

// work measures one point.
func (w loadWork) work(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in loadInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	srv, ok := rt.Service.(*serving)
	if !ok {
		return fmt.Errorf("a load point has no deployment")
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil {
		return err
	}
	prompts, notes, err := w.source.Draw(in.Workload.Requests, in.Workload.Seed, in.Repeat)
	if err != nil {
		return err
	}
	schedule, err := arrivals.Schedule(in.Workload.Arrivals, in.Workload.Burstiness,
		in.Workload.Requests, in.QPS, in.Workload.Seed, in.Repeat)
	if err != nil {
		return err
	}
	if err := cooldown(ctx, rt, srv, in.Cooldown); err != nil {
		return err
	}
	reset, err := srv.ResetCaches(ctx)
	if err != nil {
		// The record says so; whether the server is fit at all, the load shows.
		notes = append(notes, fmt.Sprintf("prefix caches were not reset: %v", err))
	}

	e := srv.Endpoint()
	watch := newLive(rt, w.slo, in.Workload.Requests, schedule)
	metrics := startMetrics(ctx, rt, e, in.ServerMetrics)
	table, err := load.Run(ctx, load.Config{
		Target: load.Target{URL: e.URL, Model: e.Model, Headers: e.Headers},
		API:    in.Workload.API, Prompts: prompts, Arrivals: schedule, Timeout: timeout,
		IgnoreEOS: in.Workload.IgnoreEOS, Body: in.Workload.Body, IDPrefix: rt.Attempt,
		Abort: srv.Died(), AbortErr: srv.Err,
	}, load.NewHTTP(), watch.observe)
	srv.lastEnd = rt.Now()
	metricNotes, metricsErr := metrics.finish(filepath.Join(rt.Dir, metricsFile))
	if err != nil {
		return err
	}
	if metricsErr != nil {
		return metricsErr
	}
	notes = append(notes, metricNotes...)
	if err := srv.Check(ctx); err != nil {
		// The server died or stopped answering while it was measured.
		return err
	}

	table.Meta = w.meta(in, srv.Running, table.Meta)
	table.Meta.Facts["cache_reset"] = boolFact(reset)
	metrics.facts(table.Meta.Facts)
	if err := collect.WriteSamples(filepath.Join(rt.Dir, samplesFile), table); err != nil {
		return err
	}
	rt.Keep(pipeline.Record{Facts: table.Meta.Facts, Environment: srv.Environment(), Notes: notes})
	return nil
}

// meta completes what load knows of the point by what only the deployment and
// the spec know.
func (w loadWork) meta(in loadInput, srv deploy.Running, m sample.Meta) sample.Meta {
	env := srv.Environment()
	m.Axes = []sample.Axis{
		{Name: "qps", Value: formatRate(in.QPS), Set: true},
		{Name: "repeat", Value: strconv.Itoa(in.Repeat), Set: true},
	}
	m.Rate, m.Repeat, m.Seed = in.QPS, in.Repeat, in.Workload.Seed
	m.Model, m.Dataset, m.Host = srv.Endpoint().Model, in.Workload.Dataset, in.Host
	m.Engine = env["engine_version"]
	m.GPUs, m.Config = in.Deployment.GPUs(), configOf(in.Deployment)
	if m.Extra == nil {
		m.Extra = make(map[string]string)
	}
	m.Extra["prompt_counting"] = workload.Counting
	m.Extra["client"] = in.Client
	if m.Facts == nil {
		m.Facts = make(map[string]float64)
	}
	return m
}

func boolFact(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func formatRate(qps float64) string { return strconv.FormatFloat(qps, 'f', -1, 64) }

// cooldown waits until the deployment has been left alone for long enough
// since its last point.
func cooldown(ctx context.Context, rt *pipeline.Runtime, srv *serving, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || srv.lastEnd.IsZero() {
		return err
	}
	wait := d - rt.Now().Sub(srv.lastEnd)
	if wait <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// metricsReader reads /metrics of every instance while a point is loaded.
type metricsReader struct {
	scraper *collect.Scraper
	stop    context.CancelFunc
	done    chan struct{}
}

// startMetrics begins to read, if the interval is not zero. finish must be
// called.
func startMetrics(ctx context.Context, rt *pipeline.Runtime, e deploy.Endpoint, interval string) *metricsReader {
	every, err := time.ParseDuration(interval)
	if err != nil || every <= 0 {
		return nil
	}
	var instances []collect.Instance
	for _, in := range e.Instances {
		instances = append(instances, collect.Instance{Name: in.Name, Role: string(in.Role), URL: in.URL})
	}
	ctx, stop := context.WithCancel(ctx)
	m := &metricsReader{scraper: collect.NewScraper(instances, every, rt.Now()), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.scraper.Run(ctx)
	}()
	return m
}

// finish reads once more, stops, and writes what was read.
func (m *metricsReader) finish(path string) (notes []string, err error) {
	if m == nil {
		return nil, nil
	}
	m.stop()
	<-m.done
	if err := m.scraper.Write(path); err != nil {
		return nil, fmt.Errorf("server metrics: %w", err)
	}
	return m.scraper.Warnings(), nil
}

// facts adds what the servers tell of how well they did their part.
//
// engine_late_mean_ms: how late a simulated engine handed out the tokens of a
// step, on average, for the worst instance: of a machine too busy to simulate
// at full pace the results say nothing about the engine that is simulated.
func (m *metricsReader) facts(f map[string]float64) {
	if m == nil {
		return
	}
	sums, steps := m.scraper.Delta(lateness+"_sum"), m.scraper.Delta(lateness+"_count")
	for instance, n := range steps {
		if n > 0 {
			f["engine_late_mean_ms"] = max(f["engine_late_mean_ms"], 1000*sums[instance]/n)
		}
	}
}

// lateness is the simulated engine's histogram of its own lateness, seconds.
const lateness = "vbp:step_lateness_seconds"

// judge is the verdict on a load point: it is recomputed from the stored facts
// whenever it is asked for, and never part of a key.
func judge(rules []*specs.Rule, facts map[string]float64) pipeline.Verdict {
	if sent := facts["sent"]; sent > 0 && facts["failed"] >= sent {
		return pipeline.Verdict{Reason: "every request failed"}
	}
	values := make(map[string]any, len(facts))
	for k, v := range facts {
		if !math.IsNaN(v) {
			values[k] = v
		}
	}
	for _, r := range rules {
		ok, err := r.Holds(values)
		if err != nil {
			return pipeline.Verdict{Reason: err.Error()}
		}
		if !ok {
			return pipeline.Verdict{Reason: r.Failure(values)}
		}
	}
	return pipeline.Verdict{Usable: true}
}
