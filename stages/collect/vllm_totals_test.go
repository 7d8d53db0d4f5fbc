package collect

import (
	"math"
	"testing"

	"vbp/stages/sample"
)

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		all  []interval
		want int
	}{
		{nil, 0},
		{[]interval{{0, 1}, {1, 2}}, 1}, // one ends as the other begins
		{[]interval{{0, 3}, {1, 2}, {1.5, 4}, {3, 5}}, 3},
	} {
		if got := overlap(c.all); got != c.want {
			t.Errorf("%v: %d, want %d", c.all, got, c.want)
		}
	}
}

// Where the point's length is not known, it ends with its last answer.
func TestLastEnd(t *testing.T) {
	var table sample.Table
	for _, v := range []struct {
		sent, last int64
		e2e        float64
	}{{0, 5e9, 9}, {4e9, sample.Absent, 2.5}, {sample.Absent, sample.Absent, 100}, {1e9, sample.Absent, math.NaN()}} {
		o := sample.NewOutcome("")
		o.Sent, o.LastToken, o.E2E = v.sent, v.last, v.e2e
		table.Append(o)
	}
	if got := lastEnd(&table); got != 6.5 {
		t.Errorf("%v, want 6.5", got)
	}
	if got := lastEnd(&sample.Table{}); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}
