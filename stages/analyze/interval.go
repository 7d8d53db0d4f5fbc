package analyze

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// confidence is the two-sided level of every interval.
const confidence = 0.95

// enoughRepeats is the number of repeats from which their spread is used.
// Two repeats give one degree of freedom, whose t of 12.7 makes an interval
// that says nothing.
const enoughRepeats = 3

// upper is the quantile that leaves half of what is not covered above it.
const upper = 1 - (1-confidence)/2

// intervals returns the 95 % intervals of the pooled shares of repeats, each
// with its hits and its number of requests.
func intervals(repeats []hits, sent []int) Intervals {
	pick := func(reading func(hits) int) [2]float64 {
		h := make([]int, len(repeats))
		for i, r := range repeats {
			h[i] = reading(r)
		}
		return interval(h, sent)
	}
	return Intervals{
		Both: pick(func(h hits) int { return h.both }),
		TTFT: pick(func(h hits) int { return h.ttft }),
		TPOT: pick(func(h hits) int { return h.tpot }),
	}
}

// interval is Wilson's over requests for fewer than three repeats, else
// Student's over repeats. Where all repeats agree exactly (mostly at 0 and at
// 100 %) their spread is 0 and would claim certainty: Wilson's again.
func interval(hit, sent []int) [2]float64 {
	h, n := 0, 0
	for i := range hit {
		h += hit[i]
		n += sent[i]
	}
	if len(hit) >= enoughRepeats {
		if se := spread(hit, sent); se > 0 {
			p := float64(h) / float64(n)
			t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(hit) - 1)}.Quantile(upper)
			return [2]float64{max(0, p-t*se), min(1, p+t*se)}
		}
	}
	return wilson(h, n)
}

// wilson is the score interval of a share of h in n independent requests,
//
//	(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
//
// after E. B. Wilson, "Probable inference, the law of succession, and
// statistical inference", JASA 22 (1927). n must be above 0.
func wilson(h, n int) [2]float64 {
	z := distuv.UnitNormal.Quantile(upper)
	N := float64(n)
	p, zz := float64(h)/N, z*z
	middle := (p + zz/(2*N)) / (1 + zz/N)
	half := z * math.Sqrt(p*(1-p)/N+zz/(4*N*N)) / (1 + zz/N)
	low, high := max(0, middle-half), min(1, middle+half)
	// At the ends the formula gives 0 and 1 exactly; doubles may not.
	if h == 0 {
		low = 0
	}
	if h == n {
		high = 1
	}
	return [2]float64{low, high}
}

// spread is the standard error of a pooled share p over k repeats,
//
//	se² = k/(k-1) Σ (h_i - p n_i)² / (Σ n_i)²
//
// the ratio estimator of W. G. Cochran, "Sampling Techniques" (1977), 6.4.
// With repeats of equal size it is the standard error of the mean of their
// shares, sd/sqrt(k); with others the interval still has p in its middle.
func spread(hit, sent []int) float64 {
	h, n := 0.0, 0.0
	for i := range hit {
		h += float64(hit[i])
		n += float64(sent[i])
	}
	k, sum := float64(len(hit)), 0.0
	for i := range hit {
		// n*h_i - h*n_i is exact in doubles for counts below 2^26, so that
		// equal shares give 0 and nothing near it.
		d := (n*float64(hit[i]) - h*float64(sent[i])) / n
		sum += d * d
	}
	return math.Sqrt(k/(k-1)*sum) / n
}
