package stages

import (
	"fmt"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/specs"
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
		stands:  make(map[stand]string), resolved: make(map[combination]resolved), kinds: make(map[combination]*loadKind),
		warmups: make(map[standing]*warmupInput),
	}
	b.firsts = firstPoints(points)
	b.graph.Grow(len(points))
	if err := b.findAccelerators(); err != nil {
		return nil, err
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
	firsts  []*specs.Point // of points, one of each mode and combination of other axes
	rules   []*specs.Rule
	gpus    accelerators
	graph   *pipeline.Graph
	made    map[string][]made // stage -> its nodes
	sources map[workload.Dataset]*workload.Source
	order   []batch          // of measuring
	stands  map[stand]string // node that the points of a batch stand on

	resolved map[combination]resolved
	kinds    map[combination]*loadKind
	warmups  map[standing]*warmupInput
}

// made is a node of a stage and the part of the sweep that it belongs to: a
// point, a mode, or the whole run.
type made struct {
	id   string
	mode string       // "" for the whole run
	at   *specs.Point // nil but for a point

	kind   *loadKind // of a point
	number int       // of a point in the sweep
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

// pointID is the ID of a point's load node: every axis that applies.
func pointID(axes []specs.AxisValue) string {
	id := make([]byte, 0, 64)
	id = append(id, loadPrefix[:len(loadPrefix)-1]...)
	for i := range axes {
		if a := &axes[i]; a.Set {
			id = append(id, ' ')
			id = append(id, a.Name...)
			id = append(id, '=')
			id = append(id, a.Value...)
		}
	}
	return string(id)
}

// pointLabel is every axis that applies.
func pointLabel(axes []specs.AxisValue) string {
	return strings.TrimPrefix(pointID(axes), loadPrefix)
}

// seriesAxes is the axes that apply and tell series apart: those named, or all
// but the two along which a curve runs and repeats.
func seriesAxes(axes []sample.Axis, named []string) []sample.Axis {
	var out []sample.Axis
	for _, a := range axes {
		if a.Set && a.Name != "qps" && a.Name != "repeat" && (named == nil || slices.Contains(named, a.Name)) {
			out = append(out, a)
		}
	}
	return out
}

// labelsOf is axes as a map.
func labelsOf(axes []sample.Axis) map[string]string {
	labels := make(map[string]string)
	for _, a := range axes {
		labels[a.Name] = a.Value
	}
	return labels
}

func sampleAxes(axes []specs.AxisValue) []sample.Axis {
	out := make([]sample.Axis, len(axes))
	for i, a := range axes {
		out[i] = sample.Axis(a)
	}
	return out
}

// firstPoints is the first point of each combination of mode and other axes
// than qps and repeat: those of one share their Config.
func firstPoints(points []specs.Point) []*specs.Point {
	var out []*specs.Point
	seen := make(map[combination]bool)
	for i := range points {
		p := &points[i]
		if c := (combination{p.Config, p.Mode}); !seen[c] {
			seen[c] = true
			out = append(out, p)
		}
	}
	return out
}

// needed lists the nodes of a stage that belong to the same part of the sweep
// as m.
func (b *builder) needed(stage string, m made) []string {
	all := b.made[stage]
	if m.at != nil && len(all) > m.number && all[m.number].at == m.at {
		return []string{all[m.number].id} // a stage of points has one for each, in their order
	}
	var ids []string
	for _, e := range all {
		switch {
		case m.mode != "" && e.mode != "" && m.mode != e.mode:
		default:
			ids = append(ids, e.id)
		}
	}
	return ids
}

// seriesModes lists the modes that have points, in the order of the sweep.
func (b *builder) seriesModes() []string {
	var modes []string
	for _, p := range b.firsts {
		if !slices.Contains(modes, p.Mode) {
			modes = append(modes, p.Mode)
		}
	}
	return modes
}
