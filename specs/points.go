package specs

import (
	"errors"
	"slices"
	"strconv"
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
	rows     []AxisValue // room for the coordinates of further points
	combos   []int       // and for the combinations of further groups
	grafts   []graft     // of each axis
	together []int       // axes whose part of the spec others change too, one for each part
}

// group is the points of one mode and one combination of the other axes.
type group struct {
	mode        string
	combo       []int // index into the values of each axis; -1: it is another mode's
	first, last int   // points[first:last]
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
	if x.count() > maxPoints {
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

// count is how many points the sweep has before any are excluded; more than
// maxPoints stands for any.
func (x *expander) count() int {
	total := 0
	for _, mode := range x.e.Sweep.Modes {
		n := 1
		factors := []int{len(x.e.Sweep.QPS), x.e.Sweep.Repeat}
		for _, i := range x.applies(mode) {
			factors = append(factors, len(x.e.Sweep.Axes[i].Values))
		}
		for _, f := range factors {
			if f > 0 && n > maxPoints/f {
				return maxPoints + 1
			}
			n *= f
		}
		if total += n; total > maxPoints {
			return total
		}
	}
	return total
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
	for i, q := range s.QPS {
		rates[i] = canonical(q)
	}
	repeats := make([]string, s.Repeat)
	for i := range repeats {
		repeats[i] = strconv.Itoa(i)
	}
	total := min(x.count(), maxPoints)
	x.points = make([]Point, 0, total)
	x.groups = make([]group, 0, total/max(1, len(s.QPS)*s.Repeat))

	rules := newExcluder(x)
	// What the points of a combination have in common: all but the last two.
	row := make([]AxisValue, len(s.Axes)+3)
	rate, repeat := &row[len(row)-2], &row[len(row)-1]
	*rate, *repeat = AxisValue{Name: "qps", Set: true}, AxisValue{Name: "repeat", Set: true}
	for _, mode := range s.Modes {
		row[0] = AxisValue{Name: "mode", Value: mode, Set: true}
		applies := x.applies(mode)
		combo := make([]int, len(s.Axes))
		for i := range combo {
			combo[i] = -1
		}
		for _, i := range applies {
			combo[i] = 0
		}
		for more := true; more; more = x.next(combo, applies) {
			for i, a := range s.Axes {
				row[i+1] = AxisValue{Name: a.Path}
				if combo[i] >= 0 {
					row[i+1].Value, row[i+1].Set = x.texts[i][combo[i]], true
				}
			}
			rules.combination(mode, combo)
			first := len(x.points)
			for q, qps := range s.QPS {
				rate.Value = rates[q]
				rules.rate(q)
				for rep := range s.Repeat {
					if rules.excluded(rep) {
						continue
					}
					repeat.Value = repeats[rep]
					x.points = append(x.points, Point{Axes: x.row(row, total), Mode: mode, QPS: qps, Repeat: rep})
				}
			}
			if last := len(x.points); last > first {
				x.groups = append(x.groups, group{mode: mode, combo: x.combo(combo), first: first, last: last})
			}
		}
	}
	// Room for points that were left out is given back if it is much.
	if len(x.points) < total/2 {
		x.points = slices.Clone(x.points)
	}
}

// batch is how many points get their coordinates from one allocation: few
// enough that a small sweep costs little.
const batch = 1024

// row is a copy of a point's coordinates that cannot be appended to.
func (x *expander) row(of []AxisValue, total int) []AxisValue {
	if cap(x.rows)-len(x.rows) < len(of) {
		x.rows = make([]AxisValue, 0, len(of)*max(1, min(batch, total-len(x.points))))
	}
	start := len(x.rows)
	x.rows = append(x.rows, of...)
	return x.rows[start:len(x.rows):len(x.rows)]
}

// combo is a copy of a group's combination.
func (x *expander) combo(of []int) []int {
	if cap(x.combos)-len(x.combos) < len(of) {
		x.combos = make([]int, 0, len(of)*max(1, min(batch, cap(x.groups)-len(x.groups))))
	}
	start := len(x.combos)
	x.combos = append(x.combos, of...)
	return x.combos[start:len(x.combos):len(x.combos)]
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
