package stages

import (
	"math"
	"reflect"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/load"
	"vbp/stages/sample"
)

// TestLive tells of four requests by a clock of the test's own.
func TestLive(t *testing.T) {
	var now time.Time
	var told []LoadProgress
	rt := &pipeline.Runtime{
		Now:  func() time.Time { return now },
		Emit: func(e pipeline.Event) { told = append(told, e.Data.(LoadProgress)) },
	}
	schedule := []time.Duration{0, 2 * time.Second, 3 * time.Second, 10 * time.Second}
	now = time.Unix(100, 0)
	l := newLive(rt, specs.SLO{TTFT: 125 * time.Millisecond, TPOT: 50 * time.Millisecond}, 4, schedule)

	request := func(outcome string, ttft, tpot float64) sample.Outcome {
		o := sample.NewOutcome("r")
		o.Outcome, o.TTFT, o.TPOT, o.OutputTokens = outcome, ttft, tpot, 3
		return o
	}
	step := func(after time.Duration, kind load.Kind, o sample.Outcome) {
		now = now.Add(after)
		l.observe(load.Event{Kind: kind, Outcome: o})
	}
	none := sample.Outcome{}
	step(10*time.Millisecond, load.Sent, none) // too soon to be told
	step(100*time.Millisecond, load.First, none)
	step(0, load.Done, request(sample.OK, 0.125, 0.05)) // both objectives met exactly
	step(50*time.Millisecond, load.Sent, none)
	step(0, load.Done, request(sample.OK, 0.126, 0.01)) // TTFT missed
	step(200*time.Millisecond, load.Sent, none)
	step(0, load.Done, request(sample.Timeout, math.NaN(), math.NaN()))
	step(0, load.Sent, none)
	step(0, load.Done, request(sample.OK, 0.01, 0.051)) // the last is told at once

	// Wilson's interval for k of n at z = 1.96: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
	low1 := 1 / (1 + 1.959963984540054*1.959963984540054) // 1 of 1
	want := []LoadProgress{
		{Total: 4, Low: 0, High: 1, Left: 10 * time.Second},
		{Total: 4, Sent: 1, Done: 1, Met: 1, Low: low1, High: 1, Left: 10 * time.Second},
		{Total: 4, Sent: 3, Done: 2, Met: 1, Low: 0.0945312, High: 0.9054688, Left: 7 * time.Second},
		{Total: 4, Sent: 4, Done: 4, Failed: 1, Met: 1, Low: 0.0455873, High: 0.6993582},
	}
	if len(told) != len(want) {
		t.Fatalf("told %d times: %+v", len(told), told)
	}
	for i := range want {
		if d := math.Abs(told[i].Low-want[i].Low) + math.Abs(told[i].High-want[i].High); d > 1e-6 {
			t.Errorf("%d: interval %v..%v, not %v..%v", i, told[i].Low, told[i].High, want[i].Low, want[i].High)
		}
		told[i].Low, told[i].High = want[i].Low, want[i].High
		if !reflect.DeepEqual(told[i], want[i]) {
			t.Errorf("%d: told %+v, want %+v", i, told[i], want[i])
		}
	}
}

// TestLiveInLoad holds that a load tells of itself to its end.
func TestLiveInLoad(t *testing.T) {
	w := newWorld(t)
	p := w.point(newServer(t), oneMode)
	var last LoadProgress
	p.rt.Emit = func(e pipeline.Event) { last = e.Data.(LoadProgress) }
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last.Sent != 4 || last.Done != 4 || last.Met != 4 || last.Total != 4 || last.Failed != 0 || last.Left != 0 {
		t.Errorf("it ends with %+v", last)
	}
}
