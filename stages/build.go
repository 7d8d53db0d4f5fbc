package stages

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// Build turns an experiment into the graph of its work. Nothing is started;
// datasets and inputs of commands are read, for their content is part of
// keys. An error is one of the plan: the spec asks for what cannot be done.
func Build(exp *specs.Experiment, site *Site) (*pipeline.Graph, error) {
	points, err := exp.Points()
	if err != nil {
		return nil, err
	}
	rules, err := compileRules(exp.Valid)
	if err != nil {
		return nil, err
	}
	b := &builder{
		exp: exp, site: site, points: points, rules: rules,
		graph:   &pipeline.Graph{Scope: exp.Name},
		made:    make(map[string][]made),
		sources: make(map[workload.Dataset]*workload.Source),
		stands:  make(map[string]string),
	}
	for _, s := range inOrder(exp.Stages) {
		if err := b.add(s); err != nil {
			return nil, err
		}
	}
	return b.graph, nil
}

// builder holds what has been made of an experiment so far.
type builder struct {
	exp     *specs.Experiment
	site    *Site
	points  []specs.Point
	rules   []*specs.Rule
	graph   *pipeline.Graph
	made    map[string][]made // stage -> its nodes
	sources map[workload.Dataset]*workload.Source
	stands  map[string]string // deployment -> node that its points stand on
}

// made is a node of a stage and the part of the sweep that it belongs to: a
// point, a mode, or the whole run.
type made struct {
	id   string
	mode string       // "" for the whole run
	at   *specs.Point // nil but for a point
}

// inOrder sorts stages so that each comes after its needs. The spec has been
// checked for cycles.
func inOrder(stages []specs.Stage) []specs.Stage {
	var out []specs.Stage
	done := make(map[string]bool)
	for len(out) < len(stages) {
		before := len(out)
		for _, s := range stages {
			ready := !done[s.Name]
			for _, n := range s.Needs {
				ready = ready && done[n]
			}
			if ready {
				done[s.Name] = true
				out = append(out, s)
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}

func (b *builder) add(s specs.Stage) error {
	switch {
	case s.Deploy != nil:
		return b.addDeployments(s)
	case s.Warmup != nil:
		return nil // made with the deployments that it warms
	case s.Load != nil:
		return b.addLoads(s)
	case s.Collect != nil:
		return b.addCollect(s)
	case s.Analyze != nil:
		return b.addAnalyze(s)
	case s.Plot != nil:
		return b.addPlots(s, b.made[s.Needs[0]][0].id)
	case s.Command != nil:
		return b.addCommands(s)
	}
	return fmt.Errorf("stage %s uses %q, which is not known", s.Name, s.Uses)
}

// addDeployments adds one service for every distinct deployment of the sweep
// and its warm-up.
func (b *builder) addDeployments(s specs.Stage) error {
	for _, p := range b.points {
		d, m := b.deployment(p)
		key, err := deploymentKey(d)
		if err != nil {
			return err
		}
		if _, ok := b.stands[key]; ok {
			continue
		}
		if err := checkDeployable(b.site, d); err != nil {
			return fmt.Errorf("mode %s: %w", m.Name, err)
		}
		label := b.deploymentLabel(p, m)
		settings := stagesOf(p.Config)
		side := settings.load.SideBySide && d.Engine == "simulated"
		id, err := b.addDeploy(label, d, settings.deploy, side, p.Config.Reveal)
		if err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: id, mode: m.Name})
		b.stands[key] = id
		if settings.warmup.Requests > 0 {
			if b.stands[key], err = b.addWarmup(label, id, p, d, settings); err != nil {
				return err
			}
		}
	}
	return nil
}

// settings are the entries of stages that exactly one of exists.
type settings struct {
	deploy  *specs.DeployStage
	warmup  *specs.WarmupStage
	load    *specs.LoadStage
	collect *specs.CollectStage
}

func stagesOf(e *specs.Experiment) settings {
	var out settings
	for _, s := range e.Stages {
		switch {
		case s.Deploy != nil:
			out.deploy = s.Deploy
		case s.Warmup != nil:
			out.warmup = s.Warmup
		case s.Load != nil:
			out.load = s.Load
		case s.Collect != nil:
			out.collect = s.Collect
		}
	}
	return out
}

func (b *builder) deployment(p specs.Point) (deploy.Deployment, specs.Mode) {
	i := slices.IndexFunc(p.Config.Modes, func(m specs.Mode) bool { return m.Name == p.Mode })
	m := p.Config.Modes[i]
	return deploymentOf(p.Config, m), m
}

// deploymentLabel names a deployment after its mode, and after the other axes
// too if those give the mode several deployments.
func (b *builder) deploymentLabel(p specs.Point, m specs.Mode) string {
	label := "mode=" + m.Name
	for _, e := range b.made["deploy"] {
		if e.mode == m.Name {
			return seriesLabel(p.Axes)
		}
	}
	return label
}

// seriesLabel is every axis that applies but qps and repeat.
func seriesLabel(axes []specs.AxisValue) string {
	return pointLabel(slices.DeleteFunc(slices.Clone(axes), func(a specs.AxisValue) bool {
		return a.Name == "qps" || a.Name == "repeat"
	}))
}

// pointLabel is every axis that applies.
func pointLabel(axes []specs.AxisValue) string { return axesLabel(sampleAxes(axes)) }

func sampleAxes(axes []specs.AxisValue) []sample.Axis {
	out := make([]sample.Axis, len(axes))
	for i, a := range axes {
		out[i] = sample.Axis(a)
	}
	return out
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

func (b *builder) addLoads(s specs.Stage) error {
	for i := range b.points {
		p := &b.points[i]
		d, m := b.deployment(*p)
		key, err := deploymentKey(d)
		if err != nil {
			return err
		}
		src, err := b.source(p.Config.Workload.Dataset)
		if err != nil {
			return err
		}
		in, err := pipeline.NewInput(b.loadInput(*p, d, src))
		if err != nil {
			return err
		}
		needs := []string{b.stands[key]}
		for _, need := range s.Needs {
			if need != "warmup" && need != "deploy" {
				needs = append(needs, b.needed(need, made{mode: m.Name, at: p})...)
			}
		}
		w := loadWork{source: src, slo: b.exp.SLO}
		n := &pipeline.Node{
			ID: "load " + pointLabel(p.Axes), Stage: "load", Kind: pipeline.Measurement, Input: in, Needs: needs,
			Work: w.work, Judge: func(r pipeline.Record) pipeline.Verdict { return judge(b.rules, r.Facts) },
			Uses:   map[string]int{"load on " + b.stands[key]: 1},
			Expect: time.Duration(float64(p.Config.Workload.Requests) / p.QPS * float64(time.Second)),
		}
		if err := b.graph.Add(n); err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: m.Name, at: p})
	}
	return nil
}

// needed lists the nodes of a stage that belong to the same part of the sweep
// as m.
func (b *builder) needed(stage string, m made) []string {
	var ids []string
	for _, e := range b.made[stage] {
		switch {
		case m.at != nil && e.at != nil && m.at != e.at:
		case m.mode != "" && e.mode != "" && m.mode != e.mode:
		default:
			ids = append(ids, e.id)
		}
	}
	return ids
}

func (b *builder) addCollect(s specs.Stage) error {
	in := collectInput{Code: b.site.Code, Formats: s.Collect.Formats}
	var needs []string
	for _, m := range b.made["load"] {
		d, _ := b.deployment(*m.at)
		in.Points = append(in.Points, collectPoint{Need: m.id, Axes: sampleAxes(m.at.Axes), GPUs: d.GPUs(), Config: configOf(d)})
		needs = append(needs, m.id)
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return err
	}
	n := &pipeline.Node{
		ID: s.Name, Stage: "collect", Kind: pipeline.Pure, Input: raw, Needs: needs,
		Tolerant: true, Work: collectWork, Place: ".",
	}
	b.made[s.Name] = []made{{id: n.ID}}
	return b.graph.Add(n)
}

func (b *builder) addAnalyze(s specs.Stage) error {
	need := b.made[s.Needs[0]][0].id
	raw, err := pipeline.NewInput(analyzeInput{
		Code: b.site.Code, SLO: newSLOInput(s.Analyze.SLO), Scales: s.Analyze.SLOScales,
		ScaleRate: s.Analyze.ScaleRate, Valid: b.exp.Valid, Need: need,
	})
	if err != nil {
		return err
	}
	place := s.Name
	if s.Name == "analyze" {
		place = "."
	}
	n := &pipeline.Node{
		ID: s.Name, Stage: "analyze", Kind: pipeline.Pure, Input: raw, Needs: []string{need},
		Work: analyzeWork, Place: place,
	}
	b.made[s.Name] = []made{{id: n.ID}}
	return b.graph.Add(n)
}

// addCommands adds a user's step: once, for each mode, or for each point.
func (b *builder) addCommands(s specs.Stage) error {
	parts := []made{{}}
	switch s.Per {
	case "mode":
		parts = nil
		for _, mode := range b.seriesModes() {
			parts = append(parts, made{mode: mode})
		}
	case "point":
		parts = b.made["load"]
	}
	base, w, err := newCommandInput(s.Command, b.exp.Reveal)
	if err != nil {
		return fmt.Errorf("stage %s: %w", s.Name, err)
	}
	for _, part := range parts {
		in, label := base, ""
		switch {
		case part.at != nil:
			label = " " + pointLabel(part.at.Axes)
		case part.mode != "":
			label = " mode=" + part.mode
		}
		var needs []string
		for _, stage := range s.Needs {
			ids := b.needed(stage, part)
			for _, id := range ids {
				name := variable(stage)
				if len(ids) > 1 {
					name = variable(id)
				}
				in.Needs = append(in.Needs, namedNeed{name, id})
			}
			needs = append(needs, ids...)
		}
		raw, err := pipeline.NewInput(in)
		if err != nil {
			return err
		}
		n := &pipeline.Node{
			ID: s.Name + label, Stage: "command", Kind: pipeline.Pure, Input: raw, Needs: needs,
			Work: w.work, Place: s.Name + "/" + fileName(strings.TrimSpace(label)),
		}
		if err := b.graph.Add(n); err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: part.mode, at: part.at})
	}
	return nil
}

// seriesModes lists the modes that have points, in the order of the sweep.
func (b *builder) seriesModes() []string {
	var modes []string
	for _, p := range b.points {
		if !slices.Contains(modes, p.Mode) {
			modes = append(modes, p.Mode)
		}
	}
	return modes
}
