package plot

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

// curve is what one series shows in one panel: attainment in percent.
type curve struct {
	name     string
	color    render.Color
	vertices []render.Vertex
}

// rateCurve is attainment against the given rates of a series; divisor is
// GPUs for rates per GPU, else 1.
func rateCurve(s analyze.Series, r reading, divisor float64) []render.Vertex {
	var out []render.Vertex
	for _, q := range s.Rates {
		iv := r.interval(q.CI95)
		v := render.Vertex{X: q.QPS / divisor, Y: 100 * r.share(q.Shares), Low: 100 * iv[0], High: 100 * iv[1], Hollow: !q.Valid}
		if iv[0] >= iv[1] { // none was computed
			v.Low, v.High = math.NaN(), math.NaN()
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil
	}
	nan := math.NaN()
	for _, x := range s.Missing { // the line breaks there
		out = append(out, render.Vertex{X: x / divisor, Y: nan, Low: nan, High: nan})
	}
	slices.SortStableFunc(out, func(a, b render.Vertex) int { return cmp.Compare(a.X, b.X) })
	return out
}

// scaleCurve is attainment against SLO scale. Where the rate that it re-scores
// is not valid, neither are its points.
func scaleCurve(s analyze.Series, r reading) []render.Vertex {
	hollow := slices.ContainsFunc(s.Rates, func(q analyze.Rate) bool {
		return s.Scales.QPS != nil && same(q.QPS, *s.Scales.QPS) && !q.Valid
	})
	var out []render.Vertex
	for _, p := range s.Scales.Points {
		out = append(out, render.Vertex{X: p.Scale, Y: 100 * r.share(p.Shares), Low: math.NaN(), High: math.NaN(), Hollow: hollow})
	}
	return out
}

// same tells whether two rates are meant to be one, as analyze does: they are
// decimal numbers divided at most once.
func same(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

// divisor is what turns a series' rates into the figure's.
func divisor(a *analyze.Analysis, s analyze.Series, perGPU bool) (float64, error) {
	if !perGPU || a.PerGPU {
		return 1, nil
	}
	if s.GPUs <= 0 {
		return 0, fmt.Errorf("plot: rates per GPU were asked for, but nothing says how many GPUs %s used: leave the option out, or give results that record it", s.Name)
	}
	return float64(s.GPUs), nil
}

// shared keeps the vertices whose x every curve has. Curves without any
// vertex have nothing to share and are passed over.
func shared(curves [][]render.Vertex) [][]render.Vertex {
	out := make([][]render.Vertex, len(curves))
	for i, c := range curves {
		out[i] = slices.DeleteFunc(slices.Clone(c), func(v render.Vertex) bool {
			return slices.ContainsFunc(curves, func(o []render.Vertex) bool {
				return len(o) > 0 && !slices.ContainsFunc(o, func(w render.Vertex) bool { return same(v.X, w.X) })
			})
		})
	}
	return out
}

func empty(curves [][]render.Vertex) bool {
	return !slices.ContainsFunc(curves, func(c []render.Vertex) bool { return len(c) > 0 })
}

func anyHollow(panels []render.Panel) bool {
	for _, p := range panels {
		for _, c := range p.Curves {
			if slices.ContainsFunc(c.Points, func(v render.Vertex) bool { return v.Hollow }) {
				return true
			}
		}
	}
	return false
}

func anyBand(panels []render.Panel) bool {
	for _, p := range panels {
		for _, c := range p.Curves {
			if hasBand(c.Points) {
				return true
			}
		}
	}
	return false
}

func hasBand(vs []render.Vertex) bool {
	return slices.ContainsFunc(vs, func(v render.Vertex) bool { return v.Low < v.High })
}
