package collect

import (
	"cmp"
	"math"
	"slices"

	"vbp/stages/sample"
)

// setTotals adds what vLLM counts, in its words.
func setTotals(m *members, t *sample.Table, f *vllmFile) {
	completed := t.Len() - t.Failed()
	var in, out int64
	for i, outcome := range t.Outcome {
		if outcome != sample.OK {
			continue
		}
		if f.InputLens != nil {
			in += f.InputLens[i]
		}
		if f.OutputLens != nil {
			out += f.OutputLens[i]
		}
	}
	length := t.Meta.Length
	if !(length > 0) || math.IsInf(length, 0) {
		length = lastEnd(t)
	}
	known := length > 0
	perSecond := func(n float64, known bool) any {
		if !known {
			return nil
		}
		return n / length
	}
	if known {
		m.set("duration", length)
	} else {
		m.set("duration", nil)
	}
	m.set("completed", completed)
	m.set("failed", t.Failed())
	m.set("total_input_tokens", in)
	m.set("total_output_tokens", out)
	m.set("request_throughput", perSecond(float64(completed), known))
	m.set("request_goodput", nil) // vLLM's is null without objectives
	m.set("output_throughput", perSecond(float64(out), known && f.OutputLens != nil))
	m.set("total_token_throughput", perSecond(float64(in+out), known && f.InputLens != nil && f.OutputLens != nil))
}

// lastEnd is when the last known token or end came, s from the first send; NaN
// if none is known.
func lastEnd(t *sample.Table) float64 {
	end := nan
	for i := range t.Len() {
		o := t.Row(i)
		if l := latencyOf(&o); o.Sent != sample.Absent && l == l && !math.IsInf(l, 0) {
			if at := float64(o.Sent)/1e9 + l; !(end >= at) {
				end = at
			}
		}
	}
	return end
}

// setLatencies adds the peaks, and the statistics over completed requests.
func setLatencies(m *members, t *sample.Table, f *vllmFile) {
	var ttfts, tpots, itls, e2els []float64
	for i := range t.Len() {
		o := t.Row(i)
		if o.Failed() {
			continue
		}
		ttfts = append(ttfts, f.TTFTs[i])
		if o.OutputTokens > 1 || o.OutputTokens == sample.Absent && *f.TPOTs[i] > 0 {
			tpots = append(tpots, *f.TPOTs[i])
		}
		itls = append(itls, f.ITLs[i]...)
		if f.Latencies != nil {
			e2els = append(e2els, *f.Latencies[i])
		}
	}
	setPeaks(m, t, f)
	setLatency(m, "ttft", ttfts)
	setLatency(m, "tpot", tpots)
	setLatency(m, "itl", itls)
	if f.Latencies != nil {
		setLatency(m, "e2el", e2els)
	}
}

// setPeaks adds the most events with tokens in a second, seconds counted from
// the first send, and the most requests under way at a time, of those that
// completed; null where it is not known when they were sent.
func setPeaks(m *members, t *sample.Table, f *vllmFile) {
	var busy []interval
	if f.StartTimes != nil && f.Latencies != nil {
		for i, from := range f.StartTimes {
			if t.Outcome[i] == sample.OK {
				busy = append(busy, interval{from, from + *f.Latencies[i]})
			}
		}
	}
	if len(busy) == 0 {
		m.set("max_output_tokens_per_s", nil)
		m.set("max_concurrent_requests", nil)
		return
	}
	first := slices.MinFunc(busy, func(a, b interval) int { return cmp.Compare(a.from, b.from) }).from
	tokens, most := make(map[int]int), 0
	count := func(at float64) {
		second := int(at - first)
		tokens[second]++
		most = max(most, tokens[second])
	}
	for i, at := range f.StartTimes {
		if t.Outcome[i] != sample.OK {
			continue
		}
		at += f.TTFTs[i]
		count(at)
		for _, gap := range f.ITLs[i] {
			at += gap
			count(at)
		}
	}
	m.set("max_output_tokens_per_s", float64(most))
	m.set("max_concurrent_requests", overlap(busy))
}

// interval is a time in which a request was under way, s: [from, to).
type interval struct{ from, to float64 }

// overlap is how many intervals there are at one time, at most.
func overlap(all []interval) int {
	type change struct {
		at float64
		by int
	}
	var changes []change
	for _, v := range all {
		changes = append(changes, change{v.from, 1}, change{v.to, -1})
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.at, b.at), a.by-b.by) // one that ends makes room for one that begins
	})
	now, most := 0, 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return most
}
