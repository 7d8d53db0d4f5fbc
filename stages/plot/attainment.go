package plot

import (
	"math"
	"strings"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

// yAxis is the same in every panel: all figures compare at a glance.
func yAxis(label string) render.Axis { return render.Axis{Label: label, Min: 0, Max: 105} }

// Attainment draws one series in the manner of DistServe's Figure 9:
// attainment in percent against request rate and against SLO scale, both
// objectives solid, TTFT only dotted, TPOT only dashed, the target and the
// crossings of the solid line. Where only one objective was set, or asked for,
// its line is the only one.
//
// A series without a point has empty panels that say so. It fails for rates
// per GPU without GPUs.
func Attainment(a *analyze.Analysis, s analyze.Series, o Options) (render.Figure, error) {
	if err := o.check(); err != nil {
		return render.Figure{}, err
	}
	if len(s.Rates) == 0 {
		return unmeasured(s, o), nil
	}
	div, err := divisor(a, s, o.PerGPU)
	if err != nil {
		return render.Figure{}, err
	}
	perGPU := o.PerGPU || a.PerGPU
	color := looks([]analyze.Series{s})[0].color
	if color != red && color != blue && color != green {
		color = blue // a colour tells nothing apart here
	}

	main, name := readingOf(o.Only), s.Name
	parts := main.name == both.name && a.SLO.TTFT > 0 && a.SLO.TPOT > 0
	if parts {
		name = both.name
	}
	styles := []struct {
		reading
		color  render.Color
		dash   render.Dash
		marker render.Marker
		draw   bool
	}{
		{ttft, dark, render.Dotted, render.Triangle, parts},
		{tpot, gray, render.Dashed, render.Square, parts},
		{main, color, render.Solid, render.Circle, true}, // last, on top
	}
	left := render.Panel{X: render.Axis{Label: rateLabel(perGPU)}, Y: yAxis(main.axis)}
	right := render.Panel{X: render.Axis{Label: scaleLabel([]analyze.Series{s}, []float64{div}, perGPU)}, Y: yAxis("")}
	var legend []render.LegendEntry
	for _, st := range styles {
		if !st.draw {
			continue
		}
		c := render.Curve{Name: st.name, Color: st.color, Dash: st.dash, Marker: st.marker, Points: rateCurve(s, st.reading, div)}
		if st.reading.name != main.name {
			for i := range c.Points { // one band is light, three hide each other
				c.Points[i].Low, c.Points[i].High = math.NaN(), math.NaN()
			}
		}
		left.Curves = append(left.Curves, c)
		c.Points = scaleCurve(s, st.reading)
		right.Curves = append(right.Curves, c)
		e := render.LegendEntry{Name: st.name, Color: st.color, Dash: st.dash, Marker: st.marker}
		if st.reading.name == main.name {
			e.Name, e.Band = name, hasBand(left.Curves[len(left.Curves)-1].Points)
			legend = append([]render.LegendEntry{e}, legend...)
		} else {
			legend = append(legend, e)
		}
	}
	target := 100 * a.SLO.Target
	left.Rules, left.Notes = marks([]curve{{name, color, rateCurve(s, main, div)}}, target)
	right.Rules, right.Notes = marks([]curve{{name, color, scaleCurve(s, main)}}, target)
	if len(s.Scales.Points) == 0 {
		right.Notes = []string{"no scale curve"}
	}

	f := render.Figure{
		Title:  orTitle(o.Title, strings.TrimSuffix(main.axis, " (%)")+": "+s.Name),
		Panels: []render.Panel{left, right},
		Legend: legend,
	}
	f.Subtitle = []string{joined(s.Name+": "+ConfigLine(s), gpus(s))}
	finish(&f, a, []analyze.Series{s}, []float64{div}, main, o)
	return f, nil
}

// finish adds what all figures have: the target in the legend, the footer,
// and the document properties.
func finish(f *render.Figure, a *analyze.Analysis, series []analyze.Series, div []float64, r reading, o Options) {
	f.Width = render.PageWidth
	f.Legend = append(f.Legend, render.LegendEntry{Name: "target " + percent(100*a.SLO.Target), Color: gray, Dash: render.Dashed, Marker: render.NoMarker})
	slo := objectives(a.SLO, o.Only)
	lines := []string{slo + " " + capacityLine(series, r, div, unitOf(o.PerGPU || a.PerGPU))}
	lines = append(lines, allCounts(series))
	if anyBand(f.Panels) {
		lines[1] += " " + bandLine
	}
	if line := simulatedOf(series); line != "" {
		lines[0] = line + " " + lines[0]
	}
	if anyHollow(f.Panels) {
		f.Legend = append(f.Legend, render.LegendEntry{Name: "not valid", Color: black, Marker: render.Circle, Hollow: true, NoLine: true})
		lines = append(lines, hollowLine(series))
	}
	f.Footer = append(lines, o.Footer...)
	f.Meta = map[string]string{"Title": f.Title, "Subject": slo, "Keywords": "LLM serving, SLO attainment, vbp"}
}

func orTitle(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

func joined(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p = strings.TrimSuffix(p, ": "); p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

// unmeasured is the figure of a series of which no point could be measured: a
// reader who looks for it finds out why there is nothing to see.
func unmeasured(s analyze.Series, o Options) render.Figure {
	panel := func(label string, y render.Axis) render.Panel {
		return render.Panel{X: render.Axis{Label: label, Min: 0, Max: 1}, Y: y, Notes: []string{s.Name + ": no point could be measured"}}
	}
	title := orTitle(o.Title, "SLO attainment: "+s.Name)
	return render.Figure{
		Title: title, Subtitle: []string{nameOf(s)}, Footer: o.Footer, Width: render.PageWidth,
		Panels: []render.Panel{panel(rateLabel(o.PerGPU), yAxis(readingOf(o.Only).axis)), panel("SLO scale", yAxis(""))},
		Meta:   map[string]string{"Title": title},
	}
}
