package analyze

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// group is the points of one series before they are scored.
type group struct {
	name   string
	labels map[string]string
	gpus   int
	config Config
	points []Point
}

// tells reports whether an axis tells series apart: of those named, or, if
// none are, of all but the axes along which a curve runs or repeats.
func tells(axis string, named []string) bool {
	if axis == "qps" || axis == "repeat" {
		return false
	}
	return named == nil || slices.Contains(named, axis)
}

// groups sorts points into series, in the order in which they first appear.
// axes are those that tell series apart; nil: all.
func groups(points []Point, axes []string) ([]*group, []string) {
	var all []*group
	var warnings []string
	known := map[string]*group{}
	for _, p := range points {
		id := ""
		labels := map[string]string{}
		for _, a := range p.Table.Meta.Axes {
			if tells(a.Name, axes) && a.Set {
				id += strconv.Quote(a.Name) + "=" + strconv.Quote(a.Value) + ","
				labels[a.Name] = a.Value
			}
		}
		g := known[id]
		if g == nil {
			g = &group{labels: labels}
			known[id] = g
			all = append(all, g)
		}
		g.points = append(g.points, p)
	}
	name(all, axes)
	for _, g := range all {
		warnings = append(warnings, g.describe()...)
	}
	return all, warnings
}

// name names each series by the labels in which series differ, in the order of
// the run's axes: "nixl, burstiness=0.5". If they differ in none, there is one series
// and its mode names it. Should two get one name, labels are written in full.
func name(all []*group, named []string) {
	var axes []string
	for _, g := range all {
		for _, p := range g.points {
			for _, a := range p.Table.Meta.Axes {
				if tells(a.Name, named) && !slices.Contains(axes, a.Name) {
					axes = append(axes, a.Name)
				}
			}
		}
	}
	differ := slices.DeleteFunc(slices.Clone(axes), func(axis string) bool {
		first, set := all[0].labels[axis]
		return !slices.ContainsFunc(all, func(g *group) bool {
			v, ok := g.labels[axis]
			return v != first || ok != set
		})
	})
	if len(differ) == 0 {
		differ = axes
		if slices.Contains(axes, "mode") {
			differ = []string{"mode"}
		}
	}
	join := func(g *group, write func(axis, value string) string) string {
		var parts []string
		for _, axis := range differ {
			if v, ok := g.labels[axis]; ok {
				parts = append(parts, write(axis, v))
			}
		}
		if len(parts) == 0 {
			return "run"
		}
		return strings.Join(parts, ", ")
	}
	seen := map[string]bool{}
	for _, g := range all {
		g.name = join(g, short)
		seen[g.name] = true
	}
	if len(seen) < len(all) {
		for _, g := range all {
			g.name = join(g, func(axis, v string) string { return axis + "=" + v })
		}
	}
}

// short writes a label as people speak of it: a mode by its name, any other
// axis by the last part of its path.
func short(axis, value string) string {
	if axis == "mode" {
		return value
	}
	return axis[strings.LastIndex(axis, ".")+1:] + "=" + value
}

// describe merges GPUs and configuration of the group's points.
func (g *group) describe() (warnings []string) {
	values := map[string][]string{}
	var gpus []int
	measured := func(p Point) bool { return !p.Missing }
	some := slices.ContainsFunc(g.points, measured)
	for _, p := range g.points {
		if some && !measured(p) {
			continue // what was measured knows better
		}
		m := p.Table.Meta
		if m.GPUs > 0 && !slices.Contains(gpus, m.GPUs) {
			gpus = append(gpus, m.GPUs)
		}
		for k, v := range m.Config {
			if !slices.Contains(values[k], v) {
				values[k] = append(values[k], v)
			}
		}
	}
	if len(gpus) == 1 {
		g.gpus = gpus[0]
	}
	if len(gpus) > 1 {
		warnings = append(warnings, fmt.Sprintf("%s: its points used different numbers of GPUs (%s), so none is shown",
			g.name, strings.Trim(fmt.Sprint(gpus), "[]")))
	}
	g.config = Config{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		g.config[k] = strings.Join(values[k], " | ")
		if len(values[k]) > 1 {
			warnings = append(warnings, fmt.Sprintf("%s: its points differ in %s (%s)", g.name, k, g.config[k]))
		}
	}
	return warnings
}

// rates are the points of a group at one rate, in order of repeat.
type rates struct {
	rate   float64 // requests per second, as asked for
	points []Point
}

// byRate splits a group by rate, in ascending order.
func (g *group) byRate() []rates {
	var out []rates
	for _, p := range g.points {
		i, ok := slices.BinarySearchFunc(out, p.Table.Meta.Rate, func(r rates, v float64) int {
			switch {
			case same(r.rate, v):
				return 0
			case r.rate < v:
				return -1
			}
			return 1
		})
		if !ok {
			out = slices.Insert(out, i, rates{rate: p.Table.Meta.Rate})
		}
		out[i].points = append(out[i].points, p)
	}
	for _, r := range out {
		slices.SortStableFunc(r.points, func(a, b Point) int { return a.Table.Meta.Repeat - b.Table.Meta.Repeat })
	}
	return out
}

// same tells whether two rates are meant to be one. Rates are decimal numbers
// that were divided at most once (by GPUs, or by people); a relative 1e-9 is
// far above what that loses and far below any two rates of a sweep.
func same(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

// medianCommon is the median of the rates that all curves share, the lower of
// the two middle ones if their number is even; NaN if they share none. Curves
// are in ascending order; an empty one has nothing to share and is passed
// over.
func medianCommon(curves [][]float64) float64 {
	var common []float64
	first := true
	for _, c := range curves {
		if len(c) == 0 {
			continue
		}
		if first {
			common, first = slices.Clone(c), false
			continue
		}
		common = slices.DeleteFunc(common, func(x float64) bool {
			return !slices.ContainsFunc(c, func(y float64) bool { return same(x, y) })
		})
	}
	if len(common) == 0 {
		return math.NaN()
	}
	return common[(len(common)-1)/2]
}
