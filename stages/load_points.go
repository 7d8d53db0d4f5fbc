package stages

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/load/arrivals"
	"vbp/stages/load/loop"
	"vbp/stages/load/workload"
	"vbp/stages/runs"
)

// loadInput is the declared identity of a measurement: everything that can be
// known before anything starts and that can change what is measured. SLOs,
// rules of validity, and the axes that other points have are not in it.
type loadInput struct {
	loadShared
	loadOwn
}

// loadShared is what the points of a combination of mode and other axes have
// in common.
type loadShared struct {
	Deployment    deploy.Deployment `json:"deployment"`
	Programs      string            `json:"programs"` // identity of engine and proxy, where they can be known
	Host          string            `json:"host"`
	Client        string            `json:"client"` // version of the load generator's protocol
	Warmup        *warmupInput      `json:"warmup"`
	SideBySide    bool              `json:"side_by_side"`
	Workload      workloadInput     `json:"workload"`
	Timeout       string            `json:"timeout"`
	Cooldown      string            `json:"cooldown"`
	CooldownLimit string            `json:"cooldown_limit"`
	ServerMetrics string            `json:"server_metrics"`
}

// loadOwn is what tells them apart.
type loadOwn struct {
	QPS    float64 `json:"qps"`
	Repeat int     `json:"repeat"`
}

type workloadInput struct {
	Dataset        string         `json:"dataset"`
	Digest         string         `json:"dataset_digest"`
	API            string         `json:"api"`
	Requests       int            `json:"requests"`
	Duration       string         `json:"duration"`
	MaxConcurrency int            `json:"max_concurrency"`
	Arrivals       string         `json:"arrivals"`
	Burstiness     float64        `json:"burstiness"`
	Ramp           *rampInput     `json:"ramp"` // nil unless Arrivals is ramp
	Rescale        bool           `json:"rescale"`
	IgnoreEOS      bool           `json:"ignore_eos"`
	Body           map[string]any `json:"body"`
	Seed           int64          `json:"seed"`
}

type rampInput struct {
	Shape string  `json:"shape"`
	From  float64 `json:"from"`
	Over  string  `json:"over"`
}

// process is the arrivals of a workload at a rate; times are the dataset's own.
func process(w *specs.Workload, rate float64, times []time.Duration) arrivals.Process {
	p := arrivals.Process{
		Kind: w.Arrivals, Burstiness: w.Burstiness, Rate: rate, Requests: w.Requests, Duration: w.Duration,
		Rescale: w.Rescale, Ramp: arrivals.Ramp{Shape: w.Ramp.Shape, From: w.Ramp.From, Over: w.Ramp.Over},
	}
	if w.Arrivals == arrivals.Trace {
		p.Times = times
	}
	return p
}

// loadKind is what the load nodes of a combination share.
type loadKind struct {
	resolved
	input    pipeline.Input // loadShared
	work     func(context.Context, pipeline.Input, *pipeline.Runtime) error
	judge    func(pipeline.Record) pipeline.Verdict
	workload *specs.Workload
	times    []time.Duration // of a trace
	settings *specs.LoadStage
	config   map[string]string
	files    []string
}

// loadKind works out what the points like p share, once.
func (b *builder) loadKind(p *specs.Point) (*loadKind, error) {
	c := combination{p.Config, p.Mode}
	if k, ok := b.kinds[c]; ok {
		return k, nil
	}
	r, err := b.resolve(*p)
	if err != nil {
		return nil, err
	}
	w, s := p.Config.Workload, stagesOf(p.Config)
	src, err := b.source(w.Dataset)
	if err != nil {
		return nil, err
	}
	if w.API == load.Chat && src.TokenIDs() {
		return nil, fmt.Errorf("workload: prompts of a dataset of kind %s are token ids, which the chat API cannot take; use api: completions, or a dataset of text", w.Dataset.Kind)
	}
	k := &loadKind{
		resolved: r, workload: &w, times: src.Times(), settings: s.load, config: configOf(r.deployment),
		work: b.quiet(loadWork{
			source: src, workload: &w, client: r.client, sources: len(s.load.SourceAddresses),
			counts: filepath.Join(b.site.Results, runs.StoreDir, "tokens"),
			slo:    b.exp.SLO, redact: b.exp.Redact, gpus: r.gpus,
		}.work),
	}
	if w.Dataset.Path != "" {
		k.files = []string{w.Dataset.Path}
	}
	std, err := standardOf(b.rules, k.config, r.expect)
	if err != nil {
		return nil, err
	}
	k.judge = func(r pipeline.Record) pipeline.Verdict { return std.judge(r.Facts, r.Environment) }
	k.input, err = pipeline.NewInput(sharedInput(&w, s, r, src))
	b.kinds[c] = k
	return k, err
}

func sharedInput(w *specs.Workload, s settings, r resolved, src *workload.Source) loadShared {
	d := r.deployment
	d.Port = 0 // where servers listen changes nothing that is measured
	if d.Cache != nil {
		d.Cache = &deploy.CacheServer{Program: d.Cache.Program}
	}
	var ramp *rampInput
	if w.Arrivals == arrivals.Ramping {
		ramp = &rampInput{Shape: w.Ramp.Shape, From: w.Ramp.From, Over: w.Ramp.Over.String()}
	}
	return loadShared{
		Deployment: d, Programs: r.programs, Host: r.host, Client: r.client.Protocol(),
		Warmup: r.warmup, SideBySide: r.sideBySide,
		Workload: workloadInput{
			Dataset: w.Dataset.Name, Digest: src.Digest(), API: w.API,
			Requests: w.Requests, Duration: w.Duration.String(), MaxConcurrency: w.MaxConcurrency,
			Arrivals: w.Arrivals, Burstiness: w.Burstiness, Ramp: ramp, Rescale: w.Rescale,
			IgnoreEOS: w.IgnoreEOS, Body: w.Body, Seed: w.Seed,
		},
		Timeout: s.load.Timeout.String(), Cooldown: s.load.Cooldown.String(), CooldownLimit: s.load.CooldownLimit.String(),
		ServerMetrics: s.collect.ServerMetrics.String(),
	}
}

// addLoads adds a measurement for every point of the sweep, in the order of
// measuring.
func (b *builder) addLoads(s specs.Stage) error {
	b.made[s.Name] = make([]made, len(b.points))
	for _, batch := range b.order {
		stand := b.stands[stand{batch.block, batch.on}]
		needs, uses := []string{stand}, map[string]int{"load on " + stand: 1}
		for _, i := range batch.points {
			p := &b.points[i]
			k, err := b.loadKind(p)
			if err != nil {
				return err
			}
			in, err := pipeline.InputWith(k.input, loadOwn{QPS: p.QPS, Repeat: p.Repeat})
			if err != nil {
				return err
			}
			arriving := process(k.workload, p.QPS, k.times)
			if arriving.Kind == arrivals.Trace { // all is known of it, and whether its rate is the point's
				if _, err := arrivals.Schedule(arriving, k.workload.Seed, p.Repeat); err != nil {
					return fmt.Errorf("%s: workload: %w", pointID(p.Axes), err)
				}
			}
			_, span := arriving.Expect()
			n := &pipeline.Node{
				ID: pointID(p.Axes), Stage: "load", Group: s.Name, Kind: pipeline.Measurement, Input: in, Needs: needs,
				Work: k.work, Judge: k.judge, Uses: uses, Files: k.files,
				Retries: k.settings.Retries, MaxAge: b.exp.Reuse.MaxAge,
				Expect: span + k.settings.Cooldown,
			}
			if err := b.graph.Add(n); err != nil { // its work is quiet already
				return err
			}
			b.made[s.Name][i] = made{id: n.ID, mode: p.Mode, at: p, kind: k, number: i}
		}
	}
	return nil
}

// clientOf is the transport that loads a mode's deployment.
func clientOf(mode string, d deploy.Deployment, s *specs.LoadStage) (load.Transport, error) {
	address := "http://127.0.0.1" // where vbp's own deployments listen
	if d.Endpoint != "" {
		address = d.Endpoint
	}
	o := loop.Options{Loops: s.Loops}
	for _, text := range s.SourceAddresses {
		from, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("stages.load.source_addresses: %w", err)
		}
		o.Sources = append(o.Sources, from)
	}
	client, err := loop.For(address, s.Transport, o)
	if err != nil {
		return nil, fmt.Errorf("modes.%s: stages.load.transport: %w", mode, err)
	}
	if len(o.Sources) > 0 && client.Protocol() == load.Protocol {
		return nil, fmt.Errorf("modes.%s: stages.load.source_addresses goes with the transport %s, and %s is loaded over %s", mode, loop.Epoll, address, loop.HTTP)
	}
	return client, nil
}

func (b *builder) source(d specs.Dataset) (*workload.Source, error) {
	w := workload.Dataset{
		Kind: d.Kind, Name: d.Name, Path: d.Path,
		InputTokens: d.InputTokens, OutputTokens: d.OutputTokens, RangeRatio: d.RangeRatio,
		PrefixTokens: d.PrefixTokens, Lengths: d.Lengths, Format: d.Format,
	}
	if src, ok := b.sources[w]; ok {
		return src, nil
	}
	src, err := workload.Open(w)
	if err != nil {
		return nil, fmt.Errorf("workload.dataset: %w", err)
	}
	b.sources[w] = src
	return src, nil
}
