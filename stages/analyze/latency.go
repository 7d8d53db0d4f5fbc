package analyze

import (
	"math"

	"vbp/stages/sample"
)

// percentile returns the q-quantile of an ascending slice, q in [0, 1],
// interpolating linearly between the two nearest ranks, position (n-1)q
// counted from 0: type 7 of Hyndman and Fan, "Sample quantiles in statistical
// packages" (1996), and numpy's default. It interpolates from the nearer end,
// as numpy does, so that the two agree to the last bit. nil if empty.
func percentile(ascending []float64, q float64) *float64 {
	n := len(ascending)
	if n == 0 {
		return nil
	}
	h := float64(n-1) * q
	i := int(math.Floor(h))
	a, b, t := ascending[i], ascending[min(i+1, n-1)], h-math.Floor(h)
	v := a + (b-a)*t
	if t >= 0.5 {
		v = b - (b-a)*(1-t)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil // a time that no clock gives; JSON could not hold it either
	}
	return &v
}

func percentiles(ascending []float64) Percentiles {
	return Percentiles{P50: percentile(ascending, 0.5), P90: percentile(ascending, 0.9), P99: percentile(ascending, 0.99)}
}

// outputRate is the output tokens of successful requests per second of the
// tables' spans. nil if a span or the token count of a successful request is
// not known.
func outputRate(tables []*sample.Table) *float64 {
	tokens, seconds := 0.0, 0.0
	for _, t := range tables {
		for i := range t.Len() {
			if t.Outcome[i] != sample.OK {
				continue
			}
			if t.OutputTokens[i] == sample.Absent {
				return nil
			}
			tokens += float64(t.OutputTokens[i])
		}
		seconds += span(t)
	}
	if v := tokens / seconds; seconds > 0 && !math.IsInf(v, 0) {
		return &v
	}
	return nil // also where seconds is NaN
}

// span is the length of a point in seconds: as recorded, else from the first
// send to the last end that is known; NaN if neither is.
func span(t *sample.Table) float64 {
	if t.Meta.Length > 0 && !math.IsInf(t.Meta.Length, 1) {
		return t.Meta.Length
	}
	first, last := math.Inf(1), math.Inf(-1)
	for i := range t.Len() {
		if t.Sent[i] == sample.Absent {
			return math.NaN()
		}
		sent := float64(t.Sent[i]) / 1e9
		first, last = min(first, sent), max(last, sent)
		if !math.IsNaN(t.E2E[i]) {
			last = max(last, sent+t.E2E[i])
		}
	}
	return last - first
}
