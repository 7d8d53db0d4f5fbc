package analyze

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"vbp/stages/sample"
)

// curve is a series being made: its rates, and the sorted samples behind each.
type curve struct {
	missing  []float64 // x of the rates at which nothing was sent
	absent   []string  // why
	group    *group
	rates    []Rate
	scored   []*scored // the samples pooled in rates[i]
	slo      objectives
	warnings []string
}

// newCurve scores every rate of a group.
func newCurve(g *group, slo objectives, p Params) (*curve, error) {
	c := &curve{group: g, slo: slo, rates: []Rate{}}
	divisor := 1.0
	if p.PerGPU {
		if g.gpus == 0 {
			return nil, fmt.Errorf("analyze: rates per GPU were asked for, but nothing says how many GPUs %s used: leave the option out, or give results that record it", g.name)
		}
		divisor = float64(g.gpus)
	}
	for _, r := range g.byRate() {
		c.add(r, r.rate/divisor)
	}
	if len(c.missing) > 0 {
		c.warn("not measured at rate %s: %s", numbers(c.missing), strings.Join(c.absent, "; "))
	}
	return c, nil
}

// add scores the repeats of one rate and appends them as one Rate.
func (c *curve) add(r rates, x float64) {
	rate := Rate{QPS: x, Each: []Repeat{}}
	var valid, all pool
	var reasons []string
	for _, p := range r.points {
		s := score(c.slo, p.Table)
		each := Repeat{Repeat: p.Table.Meta.Repeat, Sent: s.sent, Failed: s.failed, Valid: p.Valid && !p.Missing && s.sent > 0}
		if p.Attempts > 1 {
			each.Attempts, each.Rejected = p.Attempts, p.Rejected
		}
		if !each.Valid {
			each.Reason = reason(p, s.sent)
			reasons = append(reasons, each.Reason)
		}
		if s.sent > 0 {
			h := s.at(1)
			each.Shares = h.shares(s.sent)
			all.add(p.Table, h, s)
			if each.Valid {
				valid.add(p.Table, h, s)
			}
		}
		rate.Each = append(rate.Each, each)
	}
	slices.Sort(reasons)
	rate.Reason = strings.Join(slices.Compact(reasons), "; ")
	if all.empty() {
		c.missing = append(c.missing, x)
		if !slices.Contains(c.absent, rate.Reason) {
			c.absent = append(c.absent, rate.Reason)
		}
		return
	}
	pooled := valid
	rate.Valid = !valid.empty()
	if !rate.Valid {
		pooled = all
	} else if n := len(r.points) - len(valid.tables); n > 0 {
		c.warn("rate %s: %d of %d repeats left out (%s)", number(x), n, len(r.points), rate.Reason)
		rate.Reason = "" // it is valid; Each says what is not
	}
	s := pooled.fill(&rate, c.slo)
	c.warnUnknown(x, s)
	c.rates = append(c.rates, rate)
	c.scored = append(c.scored, s)
}

// reason says why a repeat does not count.
func reason(p Point, sent int) string {
	switch {
	case p.Reason != "":
		return p.Reason
	case p.Missing:
		return "no record could be made"
	case sent == 0:
		return "nothing was sent"
	}
	return "not valid"
}

func (c *curve) warn(format string, args ...any) {
	c.warnings = append(c.warnings, c.group.name+": "+fmt.Sprintf(format, args...))
}

func (c *curve) warnUnknown(x float64, p *scored) {
	if p.unknownTTFT > 0 {
		c.warn("rate %s: %d successful requests have no TTFT and count as misses", number(x), p.unknownTTFT)
	}
	if p.unknownTPOT > 0 {
		c.warn("rate %s: %d successful requests have more than one token or an unknown number and no TPOT: they count as misses", number(x), p.unknownTPOT)
	}
}

// pool is repeats taken together.
type pool struct {
	tables []*sample.Table
	scored []*scored
	hits   []hits
	sent   []int
}

func (p *pool) empty() bool { return len(p.tables) == 0 }

func (p *pool) add(t *sample.Table, h hits, s *scored) {
	p.tables = append(p.tables, t)
	p.hits = append(p.hits, h)
	p.sent = append(p.sent, s.sent)
	p.scored = append(p.scored, s)
}

// fill writes what was pooled into r and returns the pooled samples.
func (p *pool) fill(r *Rate, slo objectives) *scored {
	all := p.scored[0]
	if len(p.scored) > 1 {
		all = score(slo, p.tables...)
	}
	r.Repeats, r.Sent, r.Failed = len(p.tables), all.sent, all.failed
	r.Shares = all.at(1).shares(all.sent)
	r.CI95 = intervals(p.hits, p.sent)
	r.Latency = Latency{TTFT: percentiles(all.ttft), TPOT: percentiles(all.tpot)}
	r.OutputTokens = outputRate(p.tables)
	return all
}

func (c *curve) xs() []float64 {
	xs := make([]float64, len(c.rates))
	for i, r := range c.rates {
		xs[i] = r.QPS
	}
	return xs
}

// series finishes the curve: the scale panel at rate at (NaN: the series have
// no rate in common), crossings and capacity.
func (c *curve) series(at float64, p Params) Series {
	s := Series{
		Name: c.group.name, Labels: c.group.labels, GPUs: c.group.gpus, Config: c.group.config,
		Rates: c.rates, Missing: c.missing, Scales: Scales{Points: []ScalePoint{}},
	}
	i := slices.IndexFunc(c.rates, func(r Rate) bool { return same(r.QPS, at) })
	switch {
	case i >= 0:
		q := c.rates[i].QPS
		s.Scales.QPS = &q
		scored := c.scored[i]
		for _, scale := range ascending(p.Scales) {
			s.Scales.Points = append(s.Scales.Points, ScalePoint{Scale: scale, Shares: scored.at(scale).shares(scored.sent)})
		}
	case len(c.rates) == 0 || len(p.Scales) == 0: // nothing to score, or nobody asked
	case math.IsNaN(at):
		c.warn("no scale curve: the series have no rate in common; choose a scale rate. %s has %s", c.group.name, numbers(c.xs()))
	default:
		c.warn("no scale curve: it has no rate %s, only %s", number(at), numbers(c.xs()))
	}

	byRate := func(y func(Shares) float64) []vertex {
		return withGaps(vertices(s.Rates, func(r Rate) vertex { return vertex{r.QPS, y(r.Shares)} }), c.missing)
	}
	byScale := func(y func(Shares) float64) []vertex {
		return vertices(s.Scales.Points, func(q ScalePoint) vertex { return vertex{q.Scale, y(q.Shares)} })
	}
	for _, reading := range []struct {
		name        string
		y           func(Shares) float64
		rate, scale *[]float64
		capacity    *Capacity
	}{
		{"both SLOs", func(h Shares) float64 { return h.Both }, &s.Crossings.Rate.Both, &s.Crossings.Scale.Both, &s.Capacity.Both},
		{"TTFT only", func(h Shares) float64 { return h.TTFT }, &s.Crossings.Rate.TTFT, &s.Crossings.Scale.TTFT, &s.Capacity.TTFT},
		{"TPOT only", func(h Shares) float64 { return h.TPOT }, &s.Crossings.Rate.TPOT, &s.Crossings.Scale.TPOT, &s.Capacity.TPOT},
	} {
		*reading.rate = crossings(byRate(reading.y), p.Target)
		*reading.scale = crossings(byScale(reading.y), p.Target)
		var recovers bool
		*reading.capacity, recovers = capacity(byRate(reading.y), p.Target)
		if recovers {
			c.warn("%s: attainment falls through the target at %s and is back above it at the last rate: some of its points are noise; more requests or repeats would tell",
				reading.name, number(*reading.capacity.Value))
		}
	}
	return s
}

func vertices[T any](points []T, at func(T) vertex) []vertex {
	out := make([]vertex, len(points))
	for i, p := range points {
		out[i] = at(p)
	}
	return out
}
