package specs

import (
	"slices"
	"strconv"
	"strings"
)

// configs gives each group its Config. Trees and experiments along the current
// combination are kept, so that the next one, which differs in its last axes,
// begins where it differs.
func (x *expander) configs() {
	axes := x.e.Sweep.Axes
	var shared map[string]*Experiment // of combinations that other modes have as well
	if len(axes) > 0 {
		shared = map[string]*Experiment{}
	}
	trees := make([]*node, len(axes)+1)
	exps := make([]*Experiment, len(axes)+1)
	trees[0], exps[0] = x.root, x.e
	x.graft()
	var before []int
	var key []byte
	for _, g := range x.groups {
		config := x.e
		if len(axes) > 0 {
			key = key[:0]
			own := false
			for i, v := range g.combo {
				key = strconv.AppendInt(append(key, ','), int64(v), 10)
				own = own || v >= 0 && axes[i].Mode != ""
			}
			known, ok := shared[string(key)]
			if config = known; !ok {
				config = x.config(g, before, trees, exps)
				before = g.combo
				if !own && len(x.e.Sweep.Modes) > 1 {
					shared[string(key)] = config
				}
			}
			if len(x.r.errs) >= maxShown {
				return
			}
		}
		for i := g.first; i < g.last; i++ {
			x.points[i].Config = config
		}
	}
}

func (x *expander) config(g group, before []int, trees []*node, exps []*Experiment) *Experiment {
	axes := x.e.Sweep.Axes
	same := 0
	for before != nil && same < len(axes) && before[same] == g.combo[same] {
		same++
	}
	for i := same; i < len(axes); i++ {
		trees[i+1], exps[i+1] = trees[i], exps[i]
		if g.combo[i] < 0 {
			continue
		}
		at := x.root.where("sweep", axes[i].Path)
		changed, err := x.grafts[i].onto(trees[i], x.paths[i], x.items[i][g.combo[i]], at)
		if err != nil { // validateAxes has tried every value
			x.r.errorf(at, "", "%v", err)
			continue
		}
		trees[i+1], exps[i+1] = changed, x.r.variant(exps[i], trees[i], changed)
	}
	errs := len(x.r.errs)
	for _, i := range x.together {
		if g.combo[i] >= 0 {
			x.r.validateVariant(exps[len(axes)], trees[len(axes)], x.paths[i])
		}
	}
	for _, e := range x.r.errs[errs:] {
		e.Msg = x.combination(g) + e.Msg
	}
	return exps[len(axes)]
}

// graft prepares what all combinations need. Each value by itself was found
// right before, so only parts of the spec that several axes change are checked
// again: each such mode, each such stage and the workload once.
func (x *expander) graft() {
	x.grafts = make([]graft, len(x.paths))
	for i, path := range x.paths {
		same := func(p []string) bool { return samePart(p, path) }
		if !slices.ContainsFunc(x.paths[:i], same) && slices.ContainsFunc(x.paths[i+1:], same) {
			x.together = append(x.together, i)
		}
	}
}

// samePart tells whether validateVariant looks at the same for two paths.
func samePart(a, b []string) bool {
	if a[0] != b[0] || a[0] == "workload" || len(a) < 2 || len(b) < 2 {
		return a[0] == b[0]
	}
	return a[1] == b[1]
}

// combination names the values of a group in front of an error.
func (x *expander) combination(g group) string {
	var b strings.Builder
	for i, a := range x.e.Sweep.Axes {
		if g.combo[i] >= 0 {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(a.Path + " = " + x.texts[i][g.combo[i]])
		}
	}
	return "with " + b.String() + ": "
}
