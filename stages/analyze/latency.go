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

// output is what a point generated, and how long that took.
type output struct {
	tokens  float64 // of successful requests; NaN if the count of one is not known
	seconds float64 // NaN if not known
}

// outputOf adds up the requests that count.
func outputOf(c counted) output {
	out := output{seconds: span(c)}
	for i := range c.Len() {
		if !c.has(i) || c.Outcome[i] != sample.OK {
			continue
		}
		if c.OutputTokens[i] == sample.Absent {
			return output{tokens: math.NaN(), seconds: out.seconds}
		}
		out.tokens += float64(c.OutputTokens[i])
	}
	return out
}

// outputRate is the output tokens of points per second of their spans. nil if
// a span or the token count of a successful request is not known.
func outputRate(points []output) *float64 {
	var sum output
	for _, p := range points {
		sum.tokens, sum.seconds = sum.tokens+p.tokens, sum.seconds+p.seconds
	}
	if v := sum.tokens / sum.seconds; sum.seconds > 0 && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return &v
	}
	return nil // also where seconds is NaN
}

// span is how long the requests that count took, in seconds: the point's
// length as recorded, if all do, else from the first send to the last end that
// is known. NaN if neither is. Not the length of the window: a server that
// falls behind answers what was due in a minute over many.
func span(c counted) float64 {
	if length := c.Meta.Length; c.leftOut() == 0 && length > 0 && !math.IsInf(length, 1) {
		return length
	}
	first, last := math.Inf(1), math.Inf(-1)
	for i := range c.Len() {
		if !c.has(i) {
			continue
		}
		if c.Sent[i] == sample.Absent {
			return math.NaN()
		}
		sent := float64(c.Sent[i]) / 1e9
		first, last = min(first, sent), max(last, sent)
		if !math.IsNaN(c.E2E[i]) {
			last = max(last, sent+c.E2E[i])
		}
	}
	return last - first
}
