package analyze

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// Analyze scores measured points against the objectives of p.
//
// Series come in the order in which their points first appear. Rates at which
// nothing was sent are left out of the curves and told of in Warnings. It
// fails if there is no point, if p or a table makes no sense, if the rows of a
// point cannot be read, if p asks for rates per GPU and the GPUs of a series
// are not known, or if it asks for a window and a point's instants are not
// known (ErrNoInstant).
func Analyze(points []Point, p Params) (*Analysis, error) {
	slo, err := p.check()
	if err != nil {
		return nil, err
	}
	if err := checkPoints(points); err != nil {
		return nil, err
	}
	a := &Analysis{
		Schema: Schema,
		SLO:    SLO{TTFT: milliseconds(slo.ttft), TPOT: milliseconds(slo.tpot), Target: p.Target},
		PerGPU: p.PerGPU,
		Window: p.Window,
		Series: []Series{},
		Counts: make([]Count, len(points)),
	}
	points = slices.Clone(points)
	for i := range points {
		points[i].count = &a.Counts[i]
	}
	all, warnings := groups(points, p.Series)
	a.Warnings = warnings

	curves := make([]*curve, 0, len(all))
	xs := make([][]float64, 0, len(all))
	for _, g := range all {
		c, err := newCurve(g, slo, p)
		if err != nil {
			return nil, err
		}
		curves = append(curves, c)
		xs = append(xs, c.xs())
	}
	at := p.ScaleRate
	if math.IsNaN(at) {
		at = medianCommon(xs)
	}
	for _, c := range curves {
		s := c.series(at)
		a.Series = append(a.Series, s)
		a.Warnings = append(a.Warnings, c.warnings...)
	}
	if !p.Window.IsZero() {
		a.Windowed = &Windowed{}
		for _, c := range a.Counts {
			a.Windowed.Sent += c.Sent + c.LeftOut
			a.Windowed.LeftOut += c.LeftOut
		}
	}
	return a, nil
}

// check validates p and returns its objectives, +Inf for none.
func (p *Params) check() (objectives, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("analyze: "+format, args...)) }
	slo := objectives{ttft: p.TTFT, tpot: p.TPOT}
	for _, o := range []struct {
		name  string
		value *float64
	}{{"TTFT", &slo.ttft}, {"TPOT", &slo.tpot}} {
		switch {
		case math.IsNaN(*o.value) || *o.value < 0:
			bad("the %s objective is %v s: give a time above 0, or 0 for none", o.name, *o.value)
		case *o.value == 0:
			*o.value = math.Inf(1)
		}
	}
	if !(p.Target > 0 && p.Target <= 1) {
		bad("the target is %v: give a share above 0 and up to 1", p.Target)
	}
	for _, s := range p.Scales {
		if !(s > 0) || math.IsInf(s, 1) {
			bad("SLO scale %v: give finite numbers above 0", s)
		}
	}
	if !math.IsNaN(p.ScaleRate) && !(p.ScaleRate > 0) || math.IsInf(p.ScaleRate, 1) {
		bad("the rate of the scale panel is %v: give a rate above 0, or NaN for the median common rate", p.ScaleRate)
	}
	if err := p.Window.Check(); err != nil {
		errs = append(errs, fmt.Errorf("analyze: %w", err))
	}
	return slo, errors.Join(errs...)
}

func checkPoints(points []Point) error {
	if len(points) == 0 {
		return errors.New("analyze: no points to analyze: measure some, or name a folder that holds results")
	}
	for i, p := range points {
		if p.Table == nil {
			return fmt.Errorf("analyze: point %d has no table", i)
		}
		if err := p.Table.Check(); err != nil {
			return fmt.Errorf("analyze: point %d: %w", i, err)
		}
		if r := p.Table.Meta.Rate; !(r > 0) || math.IsInf(r, 1) {
			return fmt.Errorf("analyze: point %d (%s) has rate %v: a curve needs finite rates above 0", i, coordinates(p.Table.Meta.Axes), r)
		}
	}
	return nil
}

// coordinates writes axes for messages.
func coordinates(axes []sample.Axis) string {
	var parts []string
	for _, a := range axes {
		if a.Set {
			parts = append(parts, a.Name+"="+a.Value)
		}
	}
	return strings.Join(parts, " ")
}

// milliseconds turns an objective in seconds into the number that people
// wrote: the shortest one whose thousandth is exactly s. 0 for none.
func milliseconds(s float64) float64 {
	if math.IsInf(s, 1) {
		return 0
	}
	if ms := math.Round(s*1e6) / 1e3; ms/1000 == s {
		return ms
	}
	return s * 1000
}

// number writes a rate as people do.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func numbers(vs []float64) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = number(v)
	}
	return strings.Join(parts, ", ")
}

// ascending returns the distinct values of vs in ascending order.
func ascending(vs []float64) []float64 {
	out := slices.Clone(vs)
	slices.Sort(out)
	return slices.Compact(out)
}
