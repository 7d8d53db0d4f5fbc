package warmup

import (
	"math"
	"testing"

	"vbp/stages/sample"
)

// answers is a table of complete answers of 11 tokens with these times to the
// first and to the last token, in ms.
func answers(times ...[2]int64) *sample.Table {
	t := &sample.Table{}
	for _, ms := range times {
		o := sample.NewOutcome("")
		o.Outcome, o.OutputTokens = sample.OK, 11
		o.Sent, o.FirstToken, o.LastToken = 5e9, 5e9+ms[0]*1e6, 5e9+ms[1]*1e6
		o.Derive()
		t.Append(o)
	}
	return t
}

func TestPace(t *testing.T) {
	table := answers([2]int64{50, 330}, [2]int64{20, 110}, [2]int64{30, 220}, [2]int64{90, 990}, [2]int64{40, 440})
	bad := sample.NewOutcome("")
	bad.Outcome, bad.Sent, bad.FirstToken, bad.TTFT = sample.Timeout, 0, 1e6, 0.001
	table.Append(bad)
	// Of five and one that took 9 s or more, the second smallest: 30 ms; 220 ms /
	// 11 tokens.
	if p := paceOf(table, 9); p.Requests != 6 || p.TTFT != 0.030 || math.Abs(p.PerToken-0.020) > 1e-12 {
		t.Errorf("%+v", p)
	}
	if p := paceOf(&sample.Table{}, 9); p.Requests != 0 || !math.IsNaN(p.TTFT) || !math.IsNaN(p.PerToken) {
		t.Errorf("of nothing: %+v", p)
	}
	// A server that answers nothing within the time is slower than one that did.
	silent := &sample.Table{}
	for range 6 {
		silent.Append(bad)
	}
	if ratio, told := paceOf(silent, 9).Slowdown(paceOf(table, 9)); !told || ratio != 9.010/0.040 {
		t.Errorf("of no answers: %g, %v", ratio, told)
	}
}

func TestSlowdown(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		before, now Pace
		want        float64 // 0: it cannot be told
	}{
		"the same":            {Pace{20, 0.040, 0.009}, Pace{20, 0.040, 0.009}, 1},
		"twice as slow":       {Pace{20, 0.040, 0.009}, Pace{20, 0.090, 0.019}, 2},   // 100/50, 20/10
		"slower to prefill":   {Pace{20, 0.040, 0.009}, Pace{20, 0.115, 0.009}, 2.5}, // 125/50
		"slower to decode":    {Pace{20, 0.040, 0.009}, Pace{20, 0.040, 0.029}, 3},   // 30/10
		"faster":              {Pace{20, 0.090, 0.019}, Pace{20, 0.040, 0.009}, 0.5},
		"noise of small":      {Pace{20, 0.001, 0.0001}, Pace{20, 0.0032, 0.0003}, 1.2}, // 13.2/11, 1.3/1.1
		"too few now":         {Pace{20, 0.040, 0.009}, Pace{4, 0.400, 0.090}, 0},
		"too few before":      {Pace{4, 0.040, 0.009}, Pace{20, 0.400, 0.090}, 0},
		"nothing was told":    {Pace{20, nan, nan}, Pace{20, 0.040, 0.009}, 0},
		"only one was told":   {Pace{20, 0.040, nan}, Pace{20, 0.090, 0.019}, 2},
		"never warmed before": {Pace{}, Pace{20, 0.040, 0.009}, 0},
	} {
		got, told := c.now.Slowdown(c.before)
		if told != (c.want > 0) || math.Abs(got-c.want) > 1e-9 && name != "noise of small" || name == "noise of small" && !(got < 1.25) {
			t.Errorf("%s: %v, %v; want %v", name, got, told, c.want)
		}
	}
}
