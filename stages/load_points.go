package stages

import (
	"errors"
	"fmt"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/load/workload"
)

// loadInput is the declared identity of a measurement: everything that can be
// known before anything starts and that can change what is measured. SLOs,
// rules of validity, and the axes that other points have are not in it.
type loadInput struct {
	Deployment    deploy.Deployment `json:"deployment"`
	Programs      string            `json:"programs"` // identity of engine and proxy, where they can be known
	Host          string            `json:"host"`
	Client        string            `json:"client"` // version of the load generator's protocol
	Warmup        *warmupInput      `json:"warmup"`
	SideBySide    bool              `json:"side_by_side"`
	Workload      workloadInput     `json:"workload"`
	QPS           float64           `json:"qps"`
	Repeat        int               `json:"repeat"`
	Timeout       string            `json:"timeout"`
	Cooldown      string            `json:"cooldown"`
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

func (b *builder) loadInput(p specs.Point, r resolved, src *workload.Source) loadInput {
	w, s := p.Config.Workload, stagesOf(p.Config)
	d := r.deployment
	d.Port = 0 // where servers listen changes nothing that is measured
	if d.Cache != nil {
		d.Cache = &deploy.CacheServer{Program: d.Cache.Program}
	}
	return loadInput{
		Deployment: d, Programs: r.programs, Host: r.host, Client: load.Protocol,
		Warmup: r.warmup, SideBySide: r.sideBySide,
		Workload: workloadInput{
			Dataset: w.Dataset.Name, Digest: src.Digest(), API: w.API, Requests: w.Requests,
			Arrivals: w.Arrivals, Burstiness: w.Burstiness, IgnoreEOS: w.IgnoreEOS, Body: w.Body, Seed: w.Seed,
		},
		QPS: p.QPS, Repeat: p.Repeat,
		Timeout: s.load.Timeout.String(), Cooldown: s.load.Cooldown.String(), ServerMetrics: s.collect.ServerMetrics.String(),
	}
}

// addLoads adds a measurement for every point of the sweep.
func (b *builder) addLoads(s specs.Stage) error {
	for i := range b.points {
		p := &b.points[i]
		r, err := b.resolve(*p)
		if err != nil {
			return err
		}
		w := p.Config.Workload
		if w.API == load.Chat && w.Dataset.Kind == workload.Random {
			return errors.New("workload: prompts of the random dataset are token ids, which the chat API cannot take; use api: completions, or a dataset of text")
		}
		src, err := b.source(w.Dataset)
		if err != nil {
			return err
		}
		in, err := pipeline.NewInput(b.loadInput(*p, r, src))
		if err != nil {
			return err
		}
		std, err := standardOf(b.rules, configOf(r.deployment), r.expect)
		if err != nil {
			return err
		}
		stand := b.stands[r.on]
		n := &pipeline.Node{
			ID: "load " + pointLabel(p.Axes), Stage: "load", Kind: pipeline.Measurement, Input: in, Needs: []string{stand},
			Work:   loadWork{source: src, slo: b.exp.SLO, redact: b.exp.Redact, gpus: r.gpus}.work,
			Judge:  func(r pipeline.Record) pipeline.Verdict { return std.judge(r.Facts, r.Environment) },
			Uses:   map[string]int{"load on " + stand: 1},
			Expect: time.Duration(float64(w.Requests)/p.QPS*float64(time.Second)) + stagesOf(p.Config).load.Cooldown,
		}
		if err := b.addNode(n); err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: p.Mode, at: p, gpus: r.gpus, config: configOf(r.deployment), expect: r.expect})
	}
	return nil
}

func (b *builder) source(d specs.Dataset) (*workload.Source, error) {
	w := workload.Dataset{
		Kind: d.Kind, Name: d.Name, Path: d.Path,
		InputTokens: d.InputTokens, OutputTokens: d.OutputTokens, RangeRatio: d.RangeRatio,
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
