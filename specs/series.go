package specs

import (
	"fmt"
	"slices"
	"strings"
)

// figures gives the experiment its default figures if it says none, and counts
// the series of each that it says.
func (x *expander) figures() {
	n := x.root.find("figures")
	if n.isNull() {
		x.defaultFigures()
		return
	}
	items := x.r.list(n, "figures")
	for i := range x.e.Figures {
		f := &x.e.Figures[i]
		where := items[i].find("where")
		drawings, err := x.series(f)
		if err != nil {
			x.r.exprError(where, "figures.where", err)
			continue
		}
		total := 0
		for name, count := range drawings {
			total += count
			if count <= maxSeries {
				continue
			}
			of := ""
			if name != "" {
				of = " for the mode " + name
			}
			x.r.errorf(items[i].pos, `choose some with where: "mode == '...'", or fewer axes with series: [mode]`,
				"the figure %s%s would have more than %d series", f.File, of, maxSeries)
			break
		}
		if total == 0 && where != nil {
			x.r.errorf(where.pos, "", "figures.where: %s leaves no series", inQuotes(f.Where))
		}
	}
}

// defaultFigures is one attainment drawing for each mode and, if there is
// something to compare, one comparison.
func (x *expander) defaultFigures() {
	for _, kind := range []string{"attainment", "comparison"} {
		f := Figure{Kind: kind}
		defaultFigure(&f, nil, x.e)
		drawings, _ := x.series(&f)
		most := 0
		for _, count := range drawings {
			most = max(most, count)
		}
		switch {
		case most > maxSeries:
			x.r.warnf("%s is not drawn: it would have more than %d series; say under figures which, with where or series", f.File, maxSeries)
		case kind == "attainment" || most > 1:
			x.e.Figures = append(x.e.Figures, f)
		}
	}
}

// series counts the series of each drawing of a figure: by mode if it is for
// modes, else under "". A count above maxSeries stands for any.
func (x *expander) series(f *Figure) (map[string]int, *exprError) {
	axes := x.e.seriesAxes()
	var where *Where
	if f.Where != "" {
		var err *exprError
		if where, err = compileWhere(f.Where, axes); err != nil {
			return nil, err
		}
	}
	seen := map[string]map[string]bool{}
	counts := map[string]int{}
	for _, g := range x.groups {
		drawing := ""
		if f.For == "mode" {
			drawing = g.mode
		}
		if counts[drawing] > maxSeries {
			continue
		}
		if where != nil {
			labels := map[string]string{"mode": g.mode}
			for i, a := range x.e.Sweep.Axes {
				if g.combo[i] >= 0 {
					labels[a.Path] = x.texts[i][g.combo[i]]
				}
			}
			ok, err := where.Matches(labels)
			if err != nil {
				return nil, asExprError(f.Where, err)
			}
			if !ok {
				continue
			}
		}
		var key strings.Builder
		if slices.Contains(f.Series, "mode") {
			key.WriteString(g.mode)
		}
		for i, a := range x.e.Sweep.Axes {
			if slices.Contains(f.Series, a.Path) {
				fmt.Fprintf(&key, "\x00%d", g.combo[i])
			}
		}
		if seen[drawing] == nil {
			seen[drawing] = map[string]bool{}
		}
		if !seen[drawing][key.String()] {
			seen[drawing][key.String()] = true
			counts[drawing]++
		}
	}
	return counts, nil
}
