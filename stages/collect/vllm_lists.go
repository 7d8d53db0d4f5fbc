package collect

import (
	"cmp"
	"math"

	"vbp/stages/sample"
)

// newVLLMFile is a table as vLLM's lists.
func newVLLMFile(t *sample.Table) *vllmFile {
	n := t.Len()
	f := &vllmFile{
		TTFTs: make([]float64, n), TPOTs: make([]*float64, n), ITLs: make([][]float64, n), Errors: make([]string, n),
		InputLens: make([]int64, n), OutputLens: make([]int64, n),
		Latencies: make([]*float64, n), StartTimes: make([]float64, n),
	}
	var noInput, noOutput, noStart, noLatency bool
	for i := range n {
		o := t.Row(i)
		f.TTFTs[i] = finite(o.TTFT)
		tpot, latency := finite(o.TPOT), finite(latencyOf(&o))
		f.TPOTs[i], f.Latencies[i] = &tpot, &latency
		f.ITLs[i] = make([]float64, len(o.Gaps))
		for j, gap := range o.Gaps {
			f.ITLs[i][j] = float64(gap) / 1e6
		}
		f.InputLens[i], f.OutputLens[i] = max(o.PromptTokens, 0), max(o.OutputTokens, 0)
		f.StartTimes[i] = float64(o.Sent) / 1e9
		noInput = noInput || o.PromptTokens == sample.Absent
		noStart = noStart || o.Sent == sample.Absent
		if o.Failed() {
			f.OutputLens[i] = 0
			f.Errors[i] = cmp.Or(valid(o.Error), o.Outcome, "no outcome") // never empty: others tell a failure by it
			continue
		}
		noOutput = noOutput || o.OutputTokens == sample.Absent
		noLatency = noLatency || latency < f.TTFTs[i] || math.IsNaN(latencyOf(&o))
	}
	if noInput {
		f.InputLens = nil
	}
	if noOutput {
		f.OutputLens = nil
	}
	if noStart {
		f.StartTimes = nil
	}
	if noLatency {
		f.Latencies = nil
	}
	return f
}

// finite is v, or 0 where JSON or vLLM has no such time.
func finite(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// latencyOf is the time from sending to the last event with a token, in
// seconds, which is what vLLM calls the latency; else to the end of the
// answer. NaN if neither is known.
func latencyOf(o *sample.Outcome) float64 {
	if o.LastToken != sample.Absent && o.Sent != sample.Absent {
		return float64(o.LastToken-o.Sent) / 1e9
	}
	return o.E2E
}

// checksum is over the lists as numbers, so that it stays the same when
// another program writes the file anew.
func (f *vllmFile) checksum() string {
	t := &sample.Table{ID: f.Errors, PromptTokens: f.InputLens, OutputTokens: f.OutputLens, TTFT: f.TTFTs, E2E: f.StartTimes}
	flat := func(lists ...[]float64) {
		for _, l := range lists {
			t.TPOT = append(t.TPOT, float64(len(l)))
			t.TPOT = append(t.TPOT, l...)
		}
	}
	values := func(list []*float64) []float64 {
		var out []float64
		for _, v := range list {
			if v == nil {
				out = append(out, nan)
			} else {
				out = append(out, *v)
			}
		}
		return out
	}
	flat(values(f.TPOTs), values(f.Latencies))
	flat(f.ITLs...)
	return checksum(t, nil, nil)
}
