package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

// Comparison draws all series together: one reading of the objectives against
// request rate and against SLO scale, each series in its colour and with its
// marker, crossings of the target marked with their values.
//
// It fails without series or points, with more than MaxSeries, where rates
// must be shared and none is, and for rates per GPU where GPUs are unknown.
func Comparison(a *analyze.Analysis, o Options) (render.Figure, error) {
	if err := o.check(); err != nil {
		return render.Figure{}, err
	}
	switch n := len(a.Series); {
	case n == 0:
		return render.Figure{}, fmt.Errorf("plot: nothing to compare: the analysis has no series")
	case n > MaxSeries:
		return render.Figure{}, fmt.Errorf("plot: %d series in one figure, and at most %d can be told apart: choose some with the figure's where", n, MaxSeries)
	}
	r := readingOf(o.Only)
	perGPU := o.PerGPU || a.PerGPU
	div := make([]float64, len(a.Series))
	byRate := make([][]render.Vertex, len(a.Series))
	for i, s := range a.Series {
		d, err := divisor(a, s, o.PerGPU)
		if err != nil {
			return render.Figure{}, err
		}
		div[i], byRate[i] = d, rateCurve(s, r, d)
	}
	if empty(byRate) {
		return render.Figure{}, noPoints("any series")
	}
	if o.Xs != "separate" && !perGPU { // per GPU, each has rates of its own
		all := byRate
		byRate = shared(all)
		if line := notDrawn(a.Series, all, byRate); line != "" {
			o.Footer = append([]string{line}, o.Footer...)
		}
		if empty(byRate) {
			return render.Figure{}, fmt.Errorf("plot: the series share no request rate (%s): draw each with its own: --separate-rates, or in a spec xs: separate", ratesOf(a.Series, all))
		}
	}

	left := render.Panel{X: render.Axis{Label: rateLabel(perGPU)}, Y: yAxis(r.axis)}
	right := render.Panel{X: render.Axis{Label: scaleLabel(a.Series, div, perGPU)}, Y: yAxis("")}
	var legend []render.LegendEntry
	var lefts, rights []curve
	for i, l := range looks(a.Series) {
		s := a.Series[i]
		c := render.Curve{Name: s.Name, Color: l.color, Marker: l.marker, Points: byRate[i]}
		left.Curves = append(left.Curves, c)
		lefts = append(lefts, curve{s.Name, l.color, c.Points})
		c.Points = scaleCurve(s, r)
		right.Curves = append(right.Curves, c)
		rights = append(rights, curve{s.Name, l.color, c.Points})
		legend = append(legend, render.LegendEntry{Name: nameOf(s), Detail: ConfigLine(s), Color: l.color, Marker: l.marker, Band: hasBand(byRate[i])})
	}
	target := 100 * a.SLO.Target
	left.Rules, left.Notes = marks(lefts, target)
	right.Rules, right.Notes = marks(rights, target)
	for i, c := range rights {
		if len(byRate[i]) == 0 {
			left.Notes = append(left.Notes, c.name+": no points")
		}
		if len(c.vertices) == 0 {
			right.Notes = append(right.Notes, c.name+": no scale curve")
		}
	}

	f := render.Figure{
		Title:  orTitle(o.Title, strings.TrimSuffix(r.axis, " (%)")+": "+versus(a.Series)),
		Panels: []render.Panel{left, right},
		Legend: legend,
	}
	finish(&f, a, a.Series, div, r, o)
	return f, nil
}

// notDrawn names the rates that a figure of shared rates leaves out; "" if
// there are none.
func notDrawn(series []analyze.Series, all, drawn [][]render.Vertex) string {
	left := make([][]render.Vertex, len(all))
	for i, c := range all {
		left[i] = slices.DeleteFunc(slices.Clone(c), func(v render.Vertex) bool {
			return math.IsNaN(v.Y) || slices.ContainsFunc(drawn[i], func(w render.Vertex) bool { return same(v.X, w.X) })
		})
	}
	if empty(left) {
		return ""
	}
	var names []analyze.Series
	var curves [][]render.Vertex
	for i, c := range left {
		if len(c) > 0 {
			names, curves = append(names, series[i]), append(curves, c)
		}
	}
	return "Not drawn, since not all have these rates: " + ratesOf(names, curves) + ". Marks are of the lines drawn, capacities of all rates."
}

func noPoints(name string) error {
	return fmt.Errorf("plot: no point of %s to draw: at no rate was a request sent", name)
}

// versus names the series of a title, as many as read well.
func versus(series []analyze.Series) string {
	var names []string
	for _, s := range series {
		names = append(names, s.Name)
	}
	if len(names) > 4 {
		return fmt.Sprintf("%d series", len(names))
	}
	return strings.Join(names, " vs ")
}

func ratesOf(series []analyze.Series, curves [][]render.Vertex) string {
	var parts []string
	for i, c := range curves {
		var xs []string
		for _, v := range c {
			xs = append(xs, number(v.X))
		}
		if len(xs) > 6 {
			xs = append(xs[:5], "...")
		}
		parts = append(parts, series[i].Name+" at "+strings.Join(xs, ", "))
	}
	return strings.Join(parts, "; ")
}
