package specs

import (
	"slices"
	"strings"
)

// Axes over these are answered from stored samples, without new load.
var scoredKeys = []string{"slo", "slo_scales", "scale_rate", "figures", "valid"}

// validateAxes finds out which mode each axis belongs to and tries every value
// in its place. It runs only on a spec that is right without its axes, so that
// what goes wrong then is the value's doing. It returns the keys of each path.
func (r *reader) validateAxes(e *Experiment, root *node) [][]string {
	paths := make([][]string, len(e.Sweep.Axes))
	for i := range e.Sweep.Axes {
		a := &e.Sweep.Axes[i]
		n := root.find("sweep")
		en := n.entries[n.index(a.Path)]
		parts, err := splitPath(root, a.Path)
		if err != nil {
			r.errorf(en.at, "", "the axis %v", err)
			continue
		}
		if !r.axisMayBe(e, a, parts, en.at) {
			continue
		}
		paths[i] = parts
		for j, other := range paths[:i] {
			if k := min(len(other), len(parts)); k > 0 && slices.Equal(other[:k], parts[:k]) {
				r.errorf(en.at, "", "the axes %s and %s set the same value", e.Sweep.Axes[j].Path, a.Path)
			}
		}
		for k, item := range r.list(en.value, a.Path) {
			r.prefix = "axis " + a.Path + " = " + canonical(a.Values[k]) + ": "
			changed, err := root.with(parts, item, en.at)
			if err != nil {
				r.errorf(en.at, "", "%v", err)
				continue
			}
			v := r.variant(e, root, changed)
			r.validateVariant(v, changed, parts)
		}
		r.prefix = ""
	}
	return paths
}

// axisMayBe tells whether the values of an experiment at a path can differ
// between its points, and sets the axis' mode.
func (r *reader) axisMayBe(e *Experiment, a *Axis, parts []string, at pos) bool {
	no := func(hint, format string, args ...any) bool {
		r.errorf(at, hint, "the axis "+a.Path+" "+format, args...)
		return false
	}
	scored := func() bool {
		return no("override it with --set and apply again: only analyze and plot run", "needs no load: stored samples answer it")
	}
	var settings []string
	switch first := parts[0]; {
	case slices.Contains(scoredKeys, first):
		return scored()
	case first == "model" && len(parts) == 1, first == "workload" && len(parts) > 1:
		return true
	case first == "modes" || first == "stages":
		if len(parts) < 2 {
			return no("", "is the whole of %s", first)
		}
		settings = parts[2:]
	case first == "reuse":
		return no("what is reused is decided for the whole run", "changes nothing that is measured")
	case slices.Contains(topKeys, first):
		return no("", "cannot differ between points of one run")
	default:
		return no(didYouMean(first, append(slices.Clone(sweepKeys), topKeys...)), "is neither a key of sweep nor a path of the spec")
	}
	if parts[0] == "modes" {
		name := parts[1]
		switch names := modeNames(e); {
		case !slices.Contains(names, name):
			return no(didYouMean(name, names), "names no mode: there is no %q", name)
		case !slices.Contains(e.Sweep.Modes, name):
			return no("", "multiplies the mode %s, which is not in sweep.mode", name)
		case len(settings) == 0:
			return no("say which key of it", "is a whole mode")
		}
		a.Mode = name
		return true
	}
	i := slices.IndexFunc(e.Stages, func(s Stage) bool { return s.Name == parts[1] })
	if i < 0 {
		var names []string
		for _, s := range e.Stages {
			names = append(names, s.Name)
		}
		return no(didYouMean(parts[1], names), "names no stage: there is no %q", parts[1])
	}
	switch s := e.Stages[i]; {
	case s.Uses == "plot" || s.Uses == "analyze":
		return scored()
	case len(settings) == 0:
		return no("say which key of it", "is a whole stage")
	case slices.Contains(stageCommonKeys, settings[0]):
		return no("", "would change the graph: %s cannot differ between points", strings.Join(settings, "."))
	case settings[0] == stageEffort[s.Uses]:
		return no("it is set for the whole run", "changes nothing that is measured")
	case s.Uses == "command" && s.Per != "point":
		return no("say per: point", "belongs to a stage that does not run for each point")
	}
	return true
}

// variant is prev with the parts of the spec read again that differ between
// two trees. It shares all else, so that a sweep of many combinations costs
// little.
func (r *reader) variant(prev *Experiment, before, after *node) *Experiment {
	e := *prev
	for _, en := range after.entries {
		old := before.find(en.key)
		if old == en.value {
			continue
		}
		switch en.key {
		case "model":
			e.Model = r.word(en.value, "model")
		case "workload":
			e.Workload = r.decodeWorkload(en.value)
			r.defaultWorkload(&e.Workload, en.value)
		case "modes":
			e.Modes = slices.Clone(prev.Modes)
			for i, m := range en.value.entries {
				if old.find(m.key) != m.value {
					e.Modes[i] = r.decodeMode(m.key, m.value)
					defaultMode(&e.Modes[i], m.value)
				}
			}
		case "stages":
			e.Stages = slices.Clone(prev.Stages)
			for i := range e.Stages {
				name := e.Stages[i].Name
				if n := en.value.find(name); n != old.find(name) {
					e.Stages[i] = r.decodeStage(name, n)
					defaultStage(&e.Stages[i], n, &e)
				}
			}
		}
	}
	return &e
}

// validateVariant checks what an axis at path may have made wrong.
func (r *reader) validateVariant(e *Experiment, root *node, path []string) {
	switch path[0] {
	case "workload":
		r.validateWorkload(&e.Workload, root.find("workload"), root)
	case "modes":
		i := slices.IndexFunc(e.Modes, func(m Mode) bool { return m.Name == path[1] })
		r.validateMode(&e.Modes[i], root.find("modes", path[1]), root.where("modes", path[1]))
		r.validateGPUs(&e.Modes[i], e.GPUs, root.where(path...))
	case "stages":
		i := slices.IndexFunc(e.Stages, func(s Stage) bool { return s.Name == path[1] })
		r.validateStage(&e.Stages[i], root)
	}
}
