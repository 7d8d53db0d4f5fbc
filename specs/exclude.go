package specs

import (
	"slices"

	"github.com/expr-lang/expr/vm"
)

// exclude is one rule of sweep.exclude.
type exclude struct {
	x       *expression
	n       *node
	matched bool
	broken  bool

	byRate, byRepeat bool // whether the rule reads qps, and repeat
	answered         int  // the question, see excluder, that it was last asked
	answer           bool
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
		x.excludes = append(x.excludes, &exclude{
			x: compiled, n: item,
			byRate: slices.Contains(compiled.reads, "qps"), byRepeat: slices.Contains(compiled.reads, "repeat"),
		})
	}
}

// excluder asks the rules about points. A rule that reads neither qps nor
// repeat has one answer for a whole combination of mode and axes, and one that
// does not read repeat has one for all repeats of a rate.
type excluder struct {
	x       *expander
	machine vm.VM
	axis    map[string]any
	env     map[string]any
	rates   []any
	repeats []any

	// The combination, rate and point that are being looked at, counted in one
	// series from 1.
	question, ofCombination, ofRate int
}

func newExcluder(x *expander) *excluder {
	s := &x.e.Sweep
	a := &excluder{x: x, axis: make(map[string]any, len(s.Axes))}
	a.env = map[string]any{"axis": a.axis}
	if len(x.excludes) == 0 {
		return a
	}
	for _, q := range s.QPS {
		a.rates = append(a.rates, q)
	}
	for i := range s.Repeat {
		a.repeats = append(a.repeats, i)
	}
	return a
}

// combination begins with the points of a mode and a combination of axes.
func (a *excluder) combination(mode string, combo []int) {
	if len(a.x.excludes) == 0 {
		return
	}
	a.question++
	a.ofCombination = a.question
	a.env["mode"] = mode
	clear(a.axis)
	for i, axis := range a.x.e.Sweep.Axes {
		if combo[i] >= 0 {
			a.axis[axis.Path] = axis.Values[combo[i]]
		}
	}
}

// rate begins with the points of a rate.
func (a *excluder) rate(i int) {
	if len(a.x.excludes) == 0 {
		return
	}
	a.question++
	a.ofRate = a.question
	a.env["qps"] = a.rates[i]
}

// excluded tells whether a rule matches a repeat. All are asked, since each
// must match somewhere.
func (a *excluder) excluded(repeat int) bool {
	if len(a.x.excludes) == 0 {
		return false
	}
	a.question++
	a.env["repeat"] = a.repeats[repeat]
	out := false
	for _, ex := range a.x.excludes {
		if ex.broken || out && ex.matched {
			continue
		}
		about := a.ofCombination
		switch {
		case ex.byRepeat:
			about = a.question
		case ex.byRate:
			about = a.ofRate
		}
		if ex.answered != about {
			ex.answered, ex.answer = about, a.ask(ex)
		}
		if ex.answer {
			out, ex.matched = true, true
		}
	}
	return out
}

// ask runs a rule. A comparison with an axis of another mode matches nothing.
func (a *excluder) ask(ex *exclude) bool {
	ok, err := ex.x.holds(&a.machine, a.env)
	if err != nil && !lacks(a.axis, ex.x.axes) {
		ex.broken = true
		a.x.r.exprError(ex.n, "sweep.exclude", asExprError(ex.x.src, err))
	}
	return ok && err == nil
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
