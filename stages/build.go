package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
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
	if err := checkFacts(rules); err != nil {
		return nil, err
	}
	b := &builder{
		exp: exp, site: site, points: points, rules: rules,
		graph:   &pipeline.Graph{Scope: exp.Name, Capacity: map[string]int{hostResource: hostUnits}},
		made:    make(map[string][]made),
		sources: make(map[workload.Dataset]*workload.Source),
		stands:  make(map[standing]string),
	}
	for _, s := range inOrder(exp.Stages) {
		if err := b.add(s); err != nil {
			return nil, err
		}
	}
	return b.graph, nil
}

// checkFacts refuses rules about facts that no point has: each would make
// every point invalid, for ever.
func checkFacts(rules []*specs.Rule) error {
	for _, r := range rules {
		for _, name := range r.Names() {
			if !knownFact(name) {
				var all []string
				for _, f := range slices.Concat(load.FactNames, facts) {
					all = append(all, f.Name)
				}
				return fmt.Errorf("valid: %s: no point has a fact %s; there is: %s", r, name, strings.Join(all, ", "))
			}
		}
	}
	return nil
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
	stands  map[standing]string // node that the points of a deployment stand on
}

// made is a node of a stage and the part of the sweep that it belongs to: a
// point, a mode, or the whole run.
type made struct {
	id   string
	mode string       // "" for the whole run
	at   *specs.Point // nil but for a point

	gpus   int               // of a point's deployment
	config map[string]string // likewise
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

// standing is all that makes two points share a running deployment, as JSON.
type standing string

// resolved is what a point resolves to.
type resolved struct {
	deployment deploy.Deployment
	deploy     deployInput
	warmup     *warmupInput // nil: none
	sideBySide bool
	on         standing
}

// resolve says what point p is to be measured on.
func (b *builder) resolve(p specs.Point) (resolved, error) {
	i := slices.IndexFunc(p.Config.Modes, func(m specs.Mode) bool { return m.Name == p.Mode })
	s := stagesOf(p.Config)
	var r resolved
	r.deployment = deploymentOf(p.Config, p.Config.Modes[i])
	r.deploy = deployInput{r.deployment, s.deploy.ReadyTimeout.String()}
	r.warmup = newWarmupInput(p, r.deployment, s)
	r.sideBySide = s.load.SideBySide && engines[r.deployment.Engine].sideBySide
	data, err := json.Marshal(struct {
		Deploy     deployInput
		Warmup     *warmupInput
		SideBySide bool
	}{r.deploy, r.warmup, r.sideBySide})
	r.on = standing(data)
	return r, err
}

// addDeployments adds one service for all points that can share it, and its
// warm-up.
func (b *builder) addDeployments(s specs.Stage) error {
	for _, p := range b.points {
		r, err := b.resolve(p)
		if err != nil {
			return err
		}
		if _, ok := b.stands[r.on]; ok {
			continue
		}
		if err := checkDeployable(b.site, r.deployment); err != nil {
			return fmt.Errorf("mode %s: %w", p.Mode, err)
		}
		label := b.deploymentLabel(p)
		id, err := b.addDeploy(label, r.deploy, r.sideBySide, p.Config)
		if err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: id, mode: p.Mode})
		b.stands[r.on] = id
		if r.warmup != nil {
			if b.stands[r.on], err = b.addWarmup(label, id, p.Mode, *r.warmup); err != nil {
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

// deploymentLabel names a deployment after its mode, and after the other axes
// too if those give the mode several deployments.
func (b *builder) deploymentLabel(p specs.Point) string {
	for _, e := range b.made["deploy"] {
		if e.mode == p.Mode {
			return seriesLabel(p.Axes)
		}
	}
	return "mode=" + p.Mode
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
		stand := b.stands[r.on]
		n := &pipeline.Node{
			ID: "load " + pointLabel(p.Axes), Stage: "load", Kind: pipeline.Measurement, Input: in, Needs: []string{stand},
			Work:   loadWork{source: src, slo: b.exp.SLO, redact: b.exp.Redact}.work,
			Judge:  func(r pipeline.Record) pipeline.Verdict { return judge(b.rules, r.Facts) },
			Uses:   map[string]int{"load on " + stand: 1},
			Expect: time.Duration(float64(w.Requests)/p.QPS*float64(time.Second)) + stagesOf(p.Config).load.Cooldown,
		}
		if err := b.addNode(n); err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: p.Mode, at: p, gpus: r.deployment.GPUs(), config: configOf(r.deployment)})
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
		in.Points = append(in.Points, collectPoint{Need: m.id, Axes: sampleAxes(m.at.Axes), GPUs: m.gpus, Config: m.config})
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
	return b.addNode(n)
}

func (b *builder) addAnalyze(s specs.Stage) error {
	place := s.Name
	if s.Name == "analyze" {
		place = "."
	}
	b.made[s.Name] = []made{{id: s.Name}}
	return b.addAnalysis(s.Name, place, s, nil)
}

// addAnalysis adds a node that judges the samples as stage s says; axes are
// those that tell series apart, nil: all.
func (b *builder) addAnalysis(id, place string, s specs.Stage, axes []string) error {
	need := b.made[s.Needs[0]][0].id
	raw, err := pipeline.NewInput(analyzeInput{
		Code: b.site.Code, SLO: newSLOInput(s.Analyze.SLO), Scales: s.Analyze.SLOScales,
		ScaleRate: s.Analyze.ScaleRate, Valid: b.exp.Valid, Series: axes, Need: need,
	})
	if err != nil {
		return err
	}
	return b.addNode(&pipeline.Node{
		ID: id, Stage: "analyze", Kind: pipeline.Pure, Input: raw, Needs: []string{need},
		Work: analyzeWork, Place: place,
	})
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
	for _, part := range parts {
		if err := b.addCommand(s, part); err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
	}
	return nil
}

func (b *builder) addCommand(s specs.Stage, part made) error {
	label := ""
	switch {
	case part.at != nil:
		label = " " + pointLabel(part.at.Axes)
		// An axis may lie below the stage's settings.
		i := slices.IndexFunc(part.at.Config.Stages, func(o specs.Stage) bool { return o.Name == s.Name })
		s = part.at.Config.Stages[i]
	case part.mode != "":
		label = " mode=" + part.mode
	}
	in, w, err := newCommandInput(s.Command, b.exp, b.site)
	if err != nil {
		return err
	}
	var needs []string
	for _, stage := range s.Needs {
		ids := b.needed(stage, part)
		in.Needs = append(in.Needs, namedNeed{variable(stage), ids})
		needs = append(needs, ids...)
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return err
	}
	n := &pipeline.Node{
		ID: s.Name + label, Stage: "command", Kind: pipeline.Pure, Input: raw, Needs: needs,
		Work: w.work, Place: s.Name + "/" + fileName(strings.TrimSpace(label)),
		// What a user's command does to the machine nobody knows: not while a
		// deployment has it to itself.
		Uses: map[string]int{hostResource: 1},
	}
	if err := b.addNode(n); err != nil {
		return err
	}
	b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: part.mode, at: part.at})
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
