package specs

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/vm"
)

// source is what an Experiment keeps of the text it was read from.
type source struct {
	lookup func(string) (string, bool)
	points []Point
}

func (e *Experiment) lookup() func(string) (string, bool) {
	if e.src != nil {
		return e.src.lookup
	}
	return lookupEnv
}

// Points expands the sweep: by mode in the order of sweep.mode, then by the
// other axes in the order of the spec (the first changes slowest), then by
// qps, then by repeat from 0. Excluded points are left out. Points of the same
// values of the other axes share one Config, and what axes do not touch is
// shared by all: none of it may be changed.
//
// An Experiment from Parse was expanded there, and every combination found to
// be right. One that was put together otherwise can have no other axes and no
// excludes.
func (e *Experiment) Points() ([]Point, error) {
	if e.src != nil {
		return slices.Clone(e.src.points), nil
	}
	if len(e.Sweep.Axes) > 0 || len(e.Sweep.Exclude) > 0 {
		return nil, errors.New("axes and excludes can be expanded only for an experiment that was parsed")
	}
	x := &expander{r: &reader{}, e: e}
	x.coordinates()
	for i := range x.points {
		x.points[i].Config = e
	}
	return x.points, nil
}

// expander makes points: first their coordinates, without what is excluded;
// then one Config for every combination that is left.
type expander struct {
	r     *reader
	e     *Experiment
	root  *node
	paths [][]string // keys of each axis
	items [][]*node  // values of each axis in the tree
	texts [][]string // and as texts

	excludes []*exclude
	points   []Point
	groups   []group
}

// group is the points of one mode and one combination of the other axes.
type group struct {
	mode        string
	combo       []int // index into the values of each axis; -1: it is another mode's
	first, last int   // points[first:last]
}

// exclude is one rule of sweep.exclude.
type exclude struct {
	x       *expression
	n       *node
	matched bool
	broken  bool
}

// expand fills in what needs the whole sweep: points, figures, Configs.
func (r *reader) expand(e *Experiment, root *node) {
	x := &expander{r: r, e: e, root: root, paths: r.validateAxes(e, root)}
	x.compileExcludes()
	if len(r.errs) > 0 {
		return
	}
	for i := range e.Sweep.Axes {
		x.items = append(x.items, r.list(root.find("sweep", e.Sweep.Axes[i].Path), ""))
	}
	if x.tooMany() {
		r.errorf(root.where("sweep"), "", "the sweep has more than %d points", maxPoints)
		return
	}
	x.coordinates()
	x.checkExcludes()
	if len(r.errs) > 0 {
		return
	}
	x.figures()
	e.Warnings = r.warned
	e.src = &source{lookup: r.lookup}
	if len(r.errs) == 0 {
		x.configs()
	}
	e.src.points = x.points
}

func (x *expander) compileExcludes() {
	axes := make([]string, len(x.e.Sweep.Axes))
	for i, a := range x.e.Sweep.Axes {
		axes[i] = a.Path
	}
	env := map[string]any{"mode": "", "qps": 0.0, "repeat": 0, "axis": map[string]any{}}
	n := x.root.find("sweep", "exclude")
	for i, src := range x.e.Sweep.Exclude {
		item := n
		if n.kind == list {
			item = n.items[i]
		}
		compiled, err := compileExpr(src, env, false)
		if err == nil {
			err = compiled.knowsAxes(axes)
		}
		if err != nil {
			x.r.exprError(item, "sweep.exclude", err)
			continue
		}
		x.excludes = append(x.excludes, &exclude{x: compiled, n: item})
	}
}

// applies are the axes that multiply a mode, as indices.
func (x *expander) applies(mode string) []int {
	var out []int
	for i, a := range x.e.Sweep.Axes {
		if a.Mode == "" || a.Mode == mode {
			out = append(out, i)
		}
	}
	return out
}

func (x *expander) tooMany() bool {
	total := 0
	for _, mode := range x.e.Sweep.Modes {
		n := 1
		factors := []int{len(x.e.Sweep.QPS), x.e.Sweep.Repeat}
		for _, i := range x.applies(mode) {
			factors = append(factors, len(x.e.Sweep.Axes[i].Values))
		}
		for _, f := range factors {
			if n > maxPoints/f {
				return true
			}
			n *= f
		}
		if total += n; total > maxPoints {
			return true
		}
	}
	return false
}

// coordinates fills points and groups.
func (x *expander) coordinates() {
	s := &x.e.Sweep
	x.texts = make([][]string, len(s.Axes))
	for i, a := range s.Axes {
		for _, v := range a.Values {
			x.texts[i] = append(x.texts[i], canonical(v))
		}
	}
	rates := make([]string, len(s.QPS))
	boxedRates := make([]any, len(s.QPS))
	for i, q := range s.QPS {
		rates[i], boxedRates[i] = canonical(q), q
	}
	repeats := make([]string, s.Repeat)
	for i := range repeats {
		repeats[i] = strconv.Itoa(i)
	}
	width := len(s.Axes) + 3
	axis := make(map[string]any, len(s.Axes))
	env := map[string]any{"axis": axis}
	machine := &vm.VM{}
	for _, mode := range s.Modes {
		env["mode"] = mode
		applies := x.applies(mode)
		combo := make([]int, len(s.Axes))
		for i := range combo {
			combo[i] = -1
		}
		for _, i := range applies {
			combo[i] = 0
		}
		for more := true; more; more = x.next(combo, applies) {
			clear(axis)
			for _, i := range applies {
				axis[s.Axes[i].Path] = s.Axes[i].Values[combo[i]]
			}
			g := group{mode: mode, combo: slices.Clone(combo), first: len(x.points)}
			store := make([]AxisValue, 0, width*len(s.QPS)*s.Repeat)
			for q, rate := range s.QPS {
				env["qps"] = boxedRates[q]
				for rep := range s.Repeat {
					if len(x.excludes) > 0 {
						env["repeat"] = rep
						if x.excluded(machine, env, axis) {
							continue
						}
					}
					start := len(store)
					store = append(store, AxisValue{Name: "mode", Value: mode, Set: true})
					for i, a := range s.Axes {
						v := AxisValue{Name: a.Path}
						if combo[i] >= 0 {
							v.Value, v.Set = x.texts[i][combo[i]], true
						}
						store = append(store, v)
					}
					store = append(store, AxisValue{Name: "qps", Value: rates[q], Set: true}, AxisValue{Name: "repeat", Value: repeats[rep], Set: true})
					x.points = append(x.points, Point{Axes: store[start:len(store):len(store)], Mode: mode, QPS: rate, Repeat: rep})
				}
			}
			if g.last = len(x.points); g.last > g.first {
				x.groups = append(x.groups, g)
			}
		}
	}
}

// next moves combo to the next combination of the axes that apply, the last
// one fastest; false after the last.
func (x *expander) next(combo, applies []int) bool {
	for k := len(applies) - 1; k >= 0; k-- {
		i := applies[k]
		if combo[i]++; combo[i] < len(x.e.Sweep.Axes[i].Values) {
			return true
		}
		combo[i] = 0
	}
	return false
}

// excluded tells whether a rule matches the point. All are asked, since each
// must match somewhere. A comparison with an axis of another mode matches
// nothing.
func (x *expander) excluded(machine *vm.VM, env, axis map[string]any) bool {
	out := false
	for _, ex := range x.excludes {
		if ex.broken || out && ex.matched {
			continue
		}
		ok, err := ex.x.holds(machine, env)
		if err != nil && !lacks(axis, ex.x.axes) {
			ex.broken = true
			x.r.exprError(ex.n, "sweep.exclude", asExprError(ex.x.src, err))
		}
		if ok && err == nil {
			out, ex.matched = true, true
		}
	}
	return out
}

func (x *expander) checkExcludes() {
	for _, ex := range x.excludes {
		if !ex.matched && !ex.broken {
			x.r.errorf(ex.n.pos, "", "sweep.exclude: %s matches no point", inQuotes(ex.x.src))
		}
	}
	if len(x.points) == 0 {
		x.r.errorf(x.root.where("sweep", "exclude"), "", "sweep.exclude leaves no point to measure")
	}
	for _, mode := range x.e.Sweep.Modes {
		if !slices.ContainsFunc(x.groups, func(g group) bool { return g.mode == mode }) {
			x.r.warnf("sweep.exclude leaves no point of the mode %s", mode)
		}
	}
}

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
		changed, err := trees[i].with(x.paths[i], x.items[i][g.combo[i]], at)
		if err != nil { // validateAxes has tried every value
			x.r.errorf(at, "", "%v", err)
			continue
		}
		trees[i+1], exps[i+1] = changed, x.r.variant(exps[i], trees[i], changed)
	}
	if len(axes) > 1 { // each value by itself was found right before
		errs := len(x.r.errs)
		for i := range axes {
			// Each mode, each stage and the workload once.
			again := slices.ContainsFunc(x.paths[:i], func(p []string) bool { return samePart(p, x.paths[i]) })
			if g.combo[i] >= 0 && !again {
				x.r.validateVariant(exps[len(axes)], trees[len(axes)], x.paths[i])
			}
		}
		for _, e := range x.r.errs[errs:] {
			e.Msg = x.combination(g) + e.Msg
		}
	}
	return exps[len(axes)]
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
