package analyze

import (
	"math"

	"vbp/stages/sample"
)

// Met reports whether one request meets both objectives (s; 0 or +Inf: none),
// by the rule that Analyze scores by: for whoever watches a load while it
// runs.
func Met(o *sample.Outcome, ttft, tpot float64) bool {
	if o.Failed() {
		return false
	}
	within := func(x, slo float64) bool { return slo == 0 || math.IsInf(slo, 1) || x <= slo }
	free := math.IsNaN(o.TPOT) && o.OutputTokens != sample.Absent && o.OutputTokens <= 1
	return within(o.TTFT, ttft) && (free || within(o.TPOT, tpot))
}

// Wilson is the 95 % interval of a share of hits among n: all of [0, 1] where
// nothing is known.
func Wilson(hits, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	w := wilson(hits, n)
	return w[0], w[1]
}
