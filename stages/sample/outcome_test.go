package sample

import (
	"math"
	"testing"
)

func TestDeriveKeepsWhatIsNotKnownAbsent(t *testing.T) {
	same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
	nan := math.NaN()
	for _, c := range []struct {
		name                      string
		sent, first, last, tokens int64
		ttft, tpot                float64
	}{
		{"whole", 1e9, 1.5e9, 3.5e9, 5, 0.5, 0.5},
		{"one token", 1e9, 1.5e9, 1.5e9, 1, 0.5, nan},
		{"no token", 1e9, Absent, Absent, 0, nan, nan},
		{"unknown count", 1e9, 1.5e9, 3.5e9, Absent, 0.5, nan},
		{"not sent", Absent, 1.5e9, 3.5e9, 5, nan, nan},
	} {
		o := NewOutcome(c.name)
		o.Sent, o.FirstToken, o.LastToken, o.OutputTokens = c.sent, c.first, c.last, c.tokens
		o.TTFT, o.TPOT = 9, 9 // whatever was there
		o.Derive()
		if !same(o.TTFT, c.ttft) || !same(o.TPOT, c.tpot) {
			t.Errorf("%s: TTFT %v, TPOT %v, want %v, %v", c.name, o.TTFT, o.TPOT, c.ttft, c.tpot)
		}
	}
}

func TestLagIsNetOfTheWaitForASlot(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		scheduled, sent int64
		wait, want      float64
	}{
		{1e9, 1.25e9, nan, .25},
		{1e9, 1.25e9, 0, .25},
		{1e9, 1.25e9, .2, .05},
		{0, 123456789, .123456789, 0}, // exactly
		{0, 123456788, .123456789, -1e-9},
		{Absent, 1, 0, nan},
		{1, Absent, 0, nan},
	} {
		if got := Lag(c.scheduled, c.sent, c.wait); math.Abs(got-c.want) > 1e-15 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
