package collect

import (
	"math"
	"slices"
	"strconv"
)

// nan is what is not known of a measured number.
var nan = math.NaN()

// percentiles that a vLLM result of ours has of each latency.
var percentiles = []float64{50, 90, 95, 99}

// mean is the arithmetic mean; 0 of nothing, as vLLM writes it.
func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// deviation is the standard deviation of the whole population, numpy's
// default; 0 of nothing.
func deviation(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	m, sum := mean(values), 0.0
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(len(values)))
}

// percentile interpolates between the values whose ranks enclose (n-1) p/100,
// p in [0, 100]: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical
// Packages" (1996), numpy's default. Values must be sorted; 0 of nothing.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := float64(len(sorted)-1) * p / 100
	low := int(rank)
	high := min(low+1, len(sorted)-1)
	part := rank - float64(low)
	a, b := sorted[low], sorted[high]
	if part >= 0.5 { // from the nearer end, so that the end itself is exact
		return b - (b-a)*(1-part)
	}
	return a + (b-a)*part
}

// setLatency adds mean, median, standard deviation and percentiles of a
// latency to m, in ms; values are seconds, and come back sorted.
func setLatency(m *members, name string, values []float64) {
	slices.Sort(values)
	m.set("mean_"+name+"_ms", mean(values)*1000)
	m.set("median_"+name+"_ms", percentile(values, 50)*1000)
	m.set("std_"+name+"_ms", deviation(values)*1000)
	for _, p := range percentiles {
		m.set("p"+strconv.FormatFloat(p, 'f', -1, 64)+"_"+name+"_ms", percentile(values, p)*1000)
	}
}
