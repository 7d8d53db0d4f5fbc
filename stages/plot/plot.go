// Package plot turns an analysis into figures: which curves, which colours,
// which words. How they get onto a page is the business of stages/plot/render.
//
// Steps: choose a reading of the objectives (reading.go) and the points to
// draw (curve.go), mark where curves cross the target (mark.go), and write
// what stands around the panels (config.go, footer.go); attainment.go and
// comparison.go put these together. Its neighbours are stages/analyze, which
// scored the samples, and render. It is pure: an Analysis in, a Figure out.
package plot

import (
	"fmt"
	"slices"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

// Options is what is asked of a figure. The zero value is the usual figure.
type Options struct {
	Title  string
	Only   string   // which objectives: "both" (default), "ttft", "tpot"
	Xs     string   // "shared" (default): only rates that all series have; "separate": each its own; Comparison only
	PerGPU bool     // x is rate per GPU
	Footer []string // further lines at the bottom
}

// MaxSeries is how many series one figure tells apart: as many as there are
// marker shapes and colours that stay distinct in print.
const MaxSeries = 8

func (o Options) check() error {
	if !slices.Contains([]string{"", "both", "ttft", "tpot"}, o.Only) {
		return fmt.Errorf("plot: unknown objectives %q: choose both, ttft or tpot", o.Only)
	}
	if !slices.Contains([]string{"", "shared", "separate"}, o.Xs) {
		return fmt.Errorf("plot: unknown choice of rates %q: choose shared or separate", o.Xs)
	}
	return nil
}

// look is how a series appears in every panel of every figure.
type look struct {
	color  render.Color
	marker render.Marker
}

var (
	red   = render.Color{R: 204, G: 37, B: 41}
	blue  = render.Color{R: 0, G: 98, B: 178}
	green = render.Color{R: 0, G: 146, B: 105}
	gray  = render.Color{R: 130, G: 130, B: 130}
	dark  = render.Color{R: 80, G: 80, B: 80}
	black = render.Color{R: 34, G: 34, B: 34}
)

// named are the colours that users know their modes by.
var named = []struct {
	name string
	look
}{
	{"simple", look{red, render.Circle}},
	{"nixl", look{blue, render.Square}},
	{"lmcache", look{green, render.Triangle}},
}

// further are the other looks, after Okabe and Ito's palette for colour-blind
// readers: less what is too close to the three above or too light for a line
// on white, with a darker purple, a grey and a brown. Shapes tell them apart
// in any case.
var further = []look{
	{render.Color{R: 230, G: 159, B: 0}, render.Diamond},
	{render.Color{R: 160, G: 80, B: 150}, render.TriangleDown},
	{render.Color{R: 86, G: 180, B: 233}, render.Star},
	{render.Color{R: 90, G: 90, B: 90}, render.Plus},
	{render.Color{R: 140, G: 86, B: 60}, render.Cross},
}

// looks gives each series a look of its own. A series gets the colour of its
// name or else of its mode, if no series before it has; the others take what
// is left, in order.
func looks(series []analyze.Series) []look {
	out := make([]look, len(series))
	done := make([]bool, len(series))
	rest := slices.Clone(further)
	for _, n := range named {
		i := slices.IndexFunc(series, func(s analyze.Series) bool { return s.Name == n.name })
		if i < 0 {
			i = slices.IndexFunc(series, func(s analyze.Series) bool { return s.Labels["mode"] == n.name })
		}
		if i < 0 || done[i] {
			rest = append(rest, n.look)
			continue
		}
		out[i], done[i] = n.look, true
	}
	for i := range out {
		if !done[i] {
			out[i], rest = rest[0], rest[1:]
		}
	}
	return out
}
