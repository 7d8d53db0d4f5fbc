package analyze

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"vbp/stages/sample"
)

// curve is a series being made: its rates, and the scale curve of each, since
// which one is shown is known when all series are.
type curve struct {
	missing  []float64 // x of the rates at which nothing was sent
	absent   []string  // why
	group    *group
	rates    []Rate
	scales   [][]ScalePoint // of rates[i]
	slo      objectives
	params   Params
	warnings []string
}

// newCurve scores every rate of a group.
func newCurve(g *group, slo objectives, p Params) (*curve, error) {
	c := &curve{group: g, slo: slo, params: p, rates: []Rate{}}
	divisor := 1.0
	if p.PerGPU {
		if g.gpus == 0 {
			return nil, fmt.Errorf("analyze: rates per GPU were asked for, but nothing says how many GPUs %s used: leave the option out, or give results that record it", g.name)
		}
		divisor = float64(g.gpus)
	}
	for _, r := range g.byRate() {
		if err := c.add(r, r.rate/divisor); err != nil {
			return nil, err
		}
	}
	if len(c.missing) > 0 {
		c.warn("not measured at rate %s: %s", numbers(c.missing), strings.Join(c.absent, "; "))
	}
	return c, nil
}

// add scores the repeats of one rate and appends them as one Rate.
func (c *curve) add(r rates, x float64) error {
	rate := Rate{QPS: x, Each: []Repeat{}}
	var valid, all pool
	var reasons []string
	var sent []float64 // per second, where that was another rate
	var why string
	for _, p := range r.points {
		rows, err := p.rows(c.params.Window)
		if err != nil {
			return err
		}
		s := score(c.slo, rows)
		*p.count = countOf(rows, s)
		each := Repeat{
			Repeat: p.Table.Meta.Repeat, Sent: s.sent, Failed: s.failed, LeftOut: p.count.LeftOut,
			Valid: p.Valid && !p.Missing && s.sent > 0,
		}
		if p.Attempts > 1 {
			each.Attempts, each.Rejected = p.Attempts, p.Rejected
		}
		if !each.Valid {
			each.Reason = reason(p)
			reasons = append(reasons, each.Reason)
		}
		if other, cause := sentRate(&p.Table.Meta); cause != "" {
			sent, why = append(sent, other*x/r.rate), cause
		}
		if s.sent > 0 {
			m := member{s, s.at(1), s.sent, each.LeftOut, outputOf(rows)}
			each.Shares = m.hits.shares(m.sent)
			all.members = append(all.members, m)
			if each.Valid {
				valid.members = append(valid.members, m)
			}
		}
		rate.Each = append(rate.Each, each)
	}
	slices.Sort(reasons)
	rate.Reason = strings.Join(slices.Compact(reasons), "; ")
	if len(all.members) == 0 {
		c.missing = append(c.missing, x)
		if !slices.Contains(c.absent, rate.Reason) {
			c.absent = append(c.absent, rate.Reason)
		}
		return nil
	}
	pooled := valid
	rate.Valid = len(valid.members) > 0
	if !rate.Valid {
		pooled = all
	} else if n := len(r.points) - len(valid.members); n > 0 {
		c.warn("rate %s: %d of %d repeats left out (%s)", number(x), n, len(r.points), rate.Reason)
		rate.Reason = "" // it is valid; Each says what is not
	}
	s := pooled.fill(&rate)
	c.warnUnknown(x, s)
	if len(sent) > 0 {
		mean := stat.Mean(sent, nil) // of its repeats
		rate.SentQPS = &mean
		c.warn("rate %s: %s, and %s were sent per second on average: it counts neither for crossings nor for the capacity", number(x), why, number(math.Round(mean*100)/100))
	}
	c.rates = append(c.rates, rate)
	scales := []ScalePoint{}
	for _, scale := range ascending(c.params.Scales) {
		scales = append(scales, ScalePoint{Scale: scale, Shares: s.at(scale).shares(s.sent)})
	}
	c.scales = append(c.scales, scales)
	return nil
}

// keptShare is how much of a rate must have been sent for it to count as
// offered, as in the default rule about schedule_kept.
const keptShare = 0.97

// sentRate is the rate that was sent at a point which did not offer the one
// that it is named for, by no fault of the client, and why; "" for others.
func sentRate(m *sample.Meta) (rate float64, why string) {
	rate = m.Facts["achieved_qps"]
	if _, ramp := m.Facts["ramp_from_qps"]; ramp {
		return rate, "arrivals were a ramp up to it"
	}
	if m.Facts["slot_waited"] > 0 && rate < keptShare*m.Facts["scheduled_qps"] {
		return rate, "max_concurrency held requests back (slot_wait_s; latencies count from the sending)"
	}
	return 0, ""
}

// rows are those of the point that lie in the window.
func (p *Point) rows(w Window) (counted, error) {
	t := p.Table
	if p.Read != nil && !p.Missing {
		read, err := p.Read()
		if err != nil {
			return counted{}, fmt.Errorf("analyze: the rows of %s: %w", coordinates(t.Meta.Axes), err)
		}
		if err := read.Check(); err != nil {
			return counted{}, fmt.Errorf("analyze: the rows of %s: %w", coordinates(t.Meta.Axes), err)
		}
		rows := *read // what was read is the reader's, and its Meta is not the point's
		rows.Meta = t.Meta
		t = &rows
	}
	c, err := w.on(t)
	if err != nil {
		err = fmt.Errorf("analyze: %s: %w", coordinates(t.Meta.Axes), err)
	}
	return c, err
}

// countOf says of the rows of a point what Analysis tells of each.
func countOf(rows counted, s *scored) Count {
	c := Count{Sent: s.sent, Failed: s.failed, LeftOut: rows.leftOut()}
	for i := 0; s.failed > 0 && i < rows.Len(); i++ {
		if rows.has(i) && rows.Outcome[i] != sample.OK {
			c.Outcome, c.Error = rows.Outcome[i], strings.Clone(rows.Error[i])
			break
		}
	}
	return c
}

// reason says why a repeat does not count.
func reason(p Point) string {
	switch {
	case p.Reason != "":
		return p.Reason
	case p.Missing:
		return "no record could be made"
	case p.count.Sent == 0 && p.count.LeftOut > 0:
		return fmt.Sprintf("none of its %d requests lies in the window", p.count.LeftOut)
	case p.count.Sent == 0:
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

// member is one repeat of a pool. Its table is gone by then.
type member struct {
	scored        *scored
	hits          hits
	sent, leftOut int
	output        output
}

// pool is repeats taken together.
type pool struct{ members []member }

// fill writes what was pooled into r and returns the pooled samples. Those of
// the members are in them afterwards.
func (p *pool) fill(r *Rate) *scored {
	var parts []*scored
	var h []hits
	var sent []int
	var made []output
	for _, m := range p.members {
		parts, h, sent, made = append(parts, m.scored), append(h, m.hits), append(sent, m.sent), append(made, m.output)
		r.LeftOut += m.leftOut
	}
	all := merge(parts)
	r.Repeats, r.Sent, r.Failed = len(p.members), all.sent, all.failed
	r.Shares = all.at(1).shares(all.sent)
	r.CI95 = intervals(h, sent)
	r.Latency = Latency{TTFT: percentiles(all.ttft), TPOT: percentiles(all.tpot)}
	r.OutputTokens = outputRate(made)
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
func (c *curve) series(at float64) Series {
	p := c.params
	s := Series{
		Name: c.group.name, Labels: c.group.labels, GPUs: c.group.gpus, Config: c.group.config,
		Rates: c.rates, Missing: c.missing, Scales: Scales{Points: []ScalePoint{}},
	}
	i := slices.IndexFunc(c.rates, func(r Rate) bool { return same(r.QPS, at) })
	switch {
	case i >= 0:
		q := c.rates[i].QPS
		s.Scales.QPS, s.Scales.Points = &q, c.scales[i]
	case len(c.rates) == 0 || len(p.Scales) == 0: // nothing to score, or nobody asked
	case math.IsNaN(at):
		c.warn("no scale curve: the series have no rate in common; choose a scale rate. %s has %s", c.group.name, numbers(c.xs()))
	default:
		c.warn("no scale curve: it has no rate %s, only %s", number(at), numbers(c.xs()))
	}

	var offered []Rate
	gaps := slices.Clone(c.missing)
	for _, r := range s.Rates {
		if r.SentQPS == nil {
			offered = append(offered, r)
		} else {
			gaps = append(gaps, r.QPS)
		}
	}
	slices.Sort(gaps)
	byRate := func(y func(Shares) float64) []vertex {
		return withGaps(vertices(offered, func(r Rate) vertex { return vertex{r.QPS, y(r.Shares)} }), gaps)
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
