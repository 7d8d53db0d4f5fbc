package warmup

import (
	"math"
	"slices"

	"vbp/stages/sample"
)

// Pace is how fast a server answered its warm-up: the lower quartile of what
// its requests took. A busy machine, and what servers do only once, can only
// add to these times, and do so to some requests; a slower server is slower in
// all. Medians of a short warm-up beside other work on two cores differ by
// more than half from one to the next, and so does the time between tokens at
// any quantile: a first token that is read late makes it too short.
type Pace struct {
	Requests int     // complete answers, and requests that ran out of time, that it is taken from
	TTFT     float64 // s; NaN if not known
	PerToken float64 // s: from the sending to the last token, for each token of the answer; NaN if not known
}

// least is how many complete answers a Pace needs on both sides to be
// compared: with fewer, the quartile is a single request.
const least = 5

// Slack is what is added to both sides before they are divided: about what a
// busy machine adds to the time of even its luckiest requests. Differences of
// this size between small times say nothing of a server.
const (
	slackTTFT     = 0.010 // s: a few waits for a core
	slackPerToken = 0.001 // s: the same, spread over the tokens of an answer
)

// paceOf takes the pace of a warm-up whose requests had timeout seconds: those
// that ran out of it took at least as long.
func paceOf(t *sample.Table, timeout float64) Pace {
	var first, each []float64
	p := Pace{}
	for i := range t.Len() {
		if t.Outcome[i] == sample.Timeout {
			p.Requests++
			first = append(first, timeout)
		}
		if t.Outcome[i] != sample.OK {
			continue
		}
		p.Requests++
		if v := t.TTFT[i]; !math.IsNaN(v) {
			first = append(first, v)
		}
		if n := t.OutputTokens[i]; n > 0 && t.LastToken[i] != sample.Absent {
			each = append(each, float64(t.LastToken[i]-t.Sent[i])/1e9/float64(n))
		}
	}
	p.TTFT, p.PerToken = lowerQuartile(first), lowerQuartile(each)
	return p
}

// lowerQuartile is the value at rank (n-1)/4, rounded down; NaN of nothing.
func lowerQuartile(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[(len(values)-1)/4]
}

// Slowdown is how much longer p's requests took than those of an earlier
// warm-up with the same options:
//
//	max((TTFT + 10 ms) / (TTFT before + 10 ms), (PerToken + 1 ms) / (PerToken before + 1 ms))
//
// The larger of both: prefill and decode instances may be different servers.
// told is false where too few requests were answered to tell.
func (p Pace) Slowdown(before Pace) (ratio float64, told bool) {
	if min(p.Requests, before.Requests) < least {
		return 0, false
	}
	for _, v := range []float64{
		(p.TTFT + slackTTFT) / (before.TTFT + slackTTFT),
		(p.PerToken + slackPerToken) / (before.PerToken + slackPerToken),
	} {
		if !math.IsNaN(v) {
			ratio, told = max(ratio, v), true
		}
	}
	return ratio, told
}
