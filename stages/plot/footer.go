package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"vbp/stages/analyze"
)

// objectives writes what was scored against.
func objectives(slo analyze.SLO, only string) string {
	var parts []string
	if slo.TTFT > 0 && only != "tpot" {
		parts = append(parts, "TTFT ≤ "+number(slo.TTFT)+" ms")
	}
	if slo.TPOT > 0 && only != "ttft" {
		parts = append(parts, "TPOT ≤ "+number(slo.TPOT)+" ms")
	}
	if len(parts) == 0 {
		parts = append(parts, "none")
	}
	return fmt.Sprintf("SLO: %s; target %s.", strings.Join(parts, " and "), percent(100*slo.Target))
}

// counts says what stands behind the points of a series.
func counts(s analyze.Series) string {
	if len(s.Rates) == 0 {
		return "no points"
	}
	perPoint, repeats, again := span{}, span{}, false
	sent, failed, invalid, attempts, rejected, shown := 0, 0, 0, 0, 0, 0
	for _, r := range s.Rates {
		if r.Repeats > 0 {
			perPoint.add(r.Sent / r.Repeats)
		}
		repeats.add(r.Repeats)
		sent, failed = sent+r.Sent, failed+r.Failed
		if !r.Valid {
			invalid++
		}
		for _, e := range r.Each {
			if e.Sent == 0 {
				continue
			}
			attempts, rejected = attempts+max(1, e.Attempts), rejected+e.Rejected
			if !e.Valid && e.Rejected == 0 {
				rejected++ // the only attempt
			}
			again = again || e.Attempts > 1
			if e.Valid {
				shown++
			}
		}
	}
	line := fmt.Sprintf("%s requests per point, %s", perPoint, repeats.of("repeat"))
	line += fmt.Sprintf("; %d of %d requests failed", failed, sent)
	if invalid > 0 {
		line += fmt.Sprintf("; %d of %d points not valid", invalid, len(s.Rates))
	}
	if again {
		line += fmt.Sprintf("; %d attempts, %d rejected", attempts, rejected)
		if replaced := attempts - rejected - shown; replaced > 0 {
			line += fmt.Sprintf(", %d replaced by a later one", replaced)
		}
	}
	return line
}

// allCounts writes the counts of all series, equal ones together.
func allCounts(series []analyze.Series) string {
	var lines []string
	names := map[string][]string{}
	for _, s := range series {
		line := counts(s)
		if names[line] == nil {
			lines = append(lines, line)
		}
		names[line] = append(names[line], s.Name)
	}
	for i, l := range lines {
		each := ": "
		if len(names[l]) > 1 {
			each = ", each: "
		}
		lines[i] = strings.Join(names[l], ", ") + each + l + "."
	}
	return strings.Join(lines, " ")
}

// hollowLine explains the empty markers: each reason with the points it
// applies to.
func hollowLine(series []analyze.Series) string {
	var reasons []string
	at := map[string][]string{}
	for _, s := range series {
		for _, r := range s.Rates {
			if r.Valid {
				continue
			}
			// Without the value that broke the rule: points that broke the
			// same one stand together.
			reason, _, _ := strings.Cut(r.Reason, ", it was ")
			if reason == "" {
				reason = "no reason recorded"
			}
			if _, ok := at[reason]; !ok {
				reasons = append(reasons, reason)
			}
			at[reason] = append(at[reason], s.Name+" "+number(r.QPS))
		}
	}
	for i, r := range reasons {
		where := at[r]
		if n := len(where); n > 4 {
			where = append(slices.Clone(where[:3]), fmt.Sprintf("%d more", n-3))
		}
		reasons[i] = r + " (" + strings.Join(where, ", ") + ")"
	}
	line := "Hollow markers: not valid"
	if len(reasons) > 0 {
		line += ": " + strings.Join(reasons, "; ")
	}
	return line + "."
}

// capacityLine lists the capacity of each series.
func capacityLine(series []analyze.Series, r reading, div []float64, unit string) string {
	var parts []string
	for i, s := range series {
		c := r.capacity(s.Capacity)
		switch {
		case len(s.Rates) == 0:
			parts = append(parts, s.Name+" not measured")
		case c.Value == nil || c.Bound == analyze.None:
			parts = append(parts, s.Name+" none")
		case c.Bound == analyze.AtLeast:
			parts = append(parts, s.Name+" at least "+value(*c.Value/div[i]))
		default:
			parts = append(parts, s.Name+" "+value(*c.Value/div[i]))
		}
	}
	return "Capacity at the target (" + unit + "): " + strings.Join(parts, ", ") + "."
}

const (
	bandLine      = "Bands: 95 % intervals."
	simulatedLine = "Simulated engine: no GPU was measured."
)

// simulatedOf says which of the series are not measurements.
func simulatedOf(series []analyze.Series) string {
	var names []string
	for _, s := range series {
		if simulated(s) {
			names = append(names, s.Name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case len(series):
		return simulatedLine
	}
	return strings.Join(names, ", ") + ": " + simulatedLine
}

// span is the range of some counts.
type span struct {
	lo, hi int
	set    bool
}

func (s *span) add(n int) {
	if !s.set {
		*s = span{n, n, true}
	}
	s.lo, s.hi = min(s.lo, n), max(s.hi, n)
}

func (s span) String() string {
	if s.lo == s.hi {
		return fmt.Sprint(s.lo)
	}
	return fmt.Sprintf("%d to %d", s.lo, s.hi)
}

func (s span) of(noun string) string {
	if s.hi == 1 {
		return s.String() + " " + noun
	}
	return s.String() + " " + noun + "s"
}

// scaleLabel names the x axis of a scale panel with the rate that it
// re-scores, where the series agree on one: per GPU if that is the unit, else
// of the whole deployment.
func scaleLabel(series []analyze.Series, div []float64, perGPU bool) string {
	ones := make([]float64, len(div))
	for i := range ones {
		ones[i] = 1
	}
	if q, ok := scaleRate(series, div); ok {
		return fmt.Sprintf("SLO scale at %s %s", number(q), unitOf(perGPU))
	}
	if q, ok := scaleRate(series, ones); ok {
		return fmt.Sprintf("SLO scale at %s req/s in all", number(q))
	}
	return "SLO scale"
}

func scaleRate(series []analyze.Series, div []float64) (float64, bool) {
	at := math.NaN()
	for i, s := range series {
		if s.Scales.QPS == nil || len(s.Scales.Points) == 0 {
			continue
		}
		q := *s.Scales.QPS / div[i]
		if !math.IsNaN(at) && !same(at, q) {
			return 0, false
		}
		at = q
	}
	return at, !math.IsNaN(at)
}

func unitOf(perGPU bool) string {
	if perGPU {
		return "req/s per GPU"
	}
	return "req/s"
}

func rateLabel(perGPU bool) string {
	if perGPU {
		return "Request rate per GPU (req/s)"
	}
	return "Request rate (req/s)"
}
