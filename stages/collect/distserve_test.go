package collect

import (
	"math"
	"testing"

	"vbp/stages/sample"
)

// The expected values are worked out by hand from testdata/distserve.
func TestDistServeFile(t *testing.T) {
	r := open(t, "testdata", "distserve")
	if r.Kind != DistServe || len(r.Points) != 1 || len(r.Warnings) != 0 {
		t.Fatalf("got %+v", r)
	}
	got := r.Points[0].Table
	if m := got.Meta; m.Rate != 1.5 || m.Start != 1700000000e9 || m.Length != 3 {
		t.Errorf("meta %+v", m)
	}
	first, second, third := got.Row(0), got.Row(1), got.Row(2) // in order of sending
	if first.Outcome != sample.OK || first.TTFT != 0.5 || !math.IsNaN(first.TPOT) || first.PromptTokens != 5 || first.Sent != 0 {
		t.Errorf("one token: %+v", first)
	}
	if second.TTFT != 0.25 || second.TPOT != 0.375 || second.E2E != 1 || second.Sent != 1e9 || second.FirstToken != 1.25e9 || second.LastToken != 2e9 || len(second.Gaps) != 2 || second.Gaps[1] != 500000 {
		t.Errorf("three tokens: %+v", second)
	}
	if !third.Failed() || !math.IsNaN(third.TTFT) {
		t.Errorf("no token: %+v", third)
	}
}
