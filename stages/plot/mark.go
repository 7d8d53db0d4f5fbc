package plot

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/plot/render"
)

// crossings returns every x at which a drawn curve passes the target (in the
// curve's unit): in each segment with exactly one end below the target, the x
// of the straight line at the target. It is analyze's formula, applied to
// what is drawn, for a mark must lie on its curve even where the figure shows
// only the rates that all series share. Nothing crosses in a gap.
func crossings(vs []render.Vertex, target float64) []float64 {
	var out []float64
	for i := 1; i < len(vs); i++ {
		a, b := vs[i-1], vs[i]
		if math.IsNaN(a.Y) || math.IsNaN(b.Y) || (a.Y < target) == (b.Y < target) {
			continue
		}
		x := b.X
		if b.Y != target {
			x = a.X + (target-a.Y)*(b.X-a.X)/(b.Y-a.Y)
		}
		if len(out) == 0 || out[len(out)-1] != x {
			out = append(out, x)
		}
	}
	return out
}

// gapped reports whether a curve has a gap.
func gapped(vs []render.Vertex) bool {
	return slices.ContainsFunc(vs, func(v render.Vertex) bool { return math.IsNaN(v.Y) })
}

// differs reports whether a curve has points on both sides of the target.
func differs(vs []render.Vertex, target float64) bool {
	below := slices.ContainsFunc(vs, func(v render.Vertex) bool { return v.Y < target })
	return below && slices.ContainsFunc(vs, func(v render.Vertex) bool { return v.Y >= target })
}

// mostMarks is how many crossings of one curve are marked in a panel of n
// curves. A curve with more runs along the target; its first and last
// crossing say between where.
func mostMarks(n int) int {
	if n <= 4 {
		return 3
	}
	return 2
}

// marks gives the rules of one panel: the target, and one for each crossing
// of each curve. Notes say what has no mark.
func marks(curves []curve, target float64) (rules []render.Rule, notes []string) {
	rules = append(rules, render.Rule{Horizontal: true, At: target, Color: gray, Dash: render.Dashed})
	var below, above, many, hidden []string
	for _, c := range curves {
		first := slices.IndexFunc(c.vertices, func(v render.Vertex) bool { return !math.IsNaN(v.Y) })
		if first < 0 {
			continue
		}
		xs := crossings(c.vertices, target)
		switch {
		case len(xs) > mostMarks(len(curves)):
			many = append(many, fmt.Sprintf("%s (%d)", c.name, len(xs)))
			xs = []float64{xs[0], xs[len(xs)-1]}
		case len(xs) > 0:
		case gapped(c.vertices) && differs(c.vertices, target):
			hidden = append(hidden, c.name)
		case c.vertices[first].Y < target:
			below = append(below, c.name)
		default:
			above = append(above, c.name)
		}
		for _, x := range xs {
			rules = append(rules, render.Rule{At: x, To: target, Dot: true, Color: c.color, Dash: render.Dashed, Label: value(x)})
		}
	}
	for _, n := range []struct {
		names []string
		text  string
	}{
		{below, "below " + percent(target) + " throughout: "},
		{above, "never below " + percent(target) + ": "},
		{hidden, "passes " + percent(target) + " where nothing could be measured: "},
		{many, "first and last of several crossings marked: "},
	} {
		if len(n.names) > 0 {
			notes = append(notes, n.text+strings.Join(n.names, ", "))
		}
	}
	return rules, notes
}

// value writes a crossing with three significant digits: more than the
// requests behind a point can tell apart.
func value(x float64) string {
	if x == 0 || !(math.Abs(x) < 1e6) {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	return strconv.FormatFloat(x, 'f', max(decimals, 0), 64)
}

// number writes a rate or an objective as people wrote it.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func percent(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) + " %" }
