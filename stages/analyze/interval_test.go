package analyze

import (
	"math"
	"testing"
)

func nearPair(t *testing.T, what string, got [2]float64, low, high float64) {
	t.Helper()
	if math.Abs(got[0]-low) > 1e-6 || math.Abs(got[1]-high) > 1e-6 {
		t.Errorf("%s: %v, want [%v %v]", what, got, low, high)
	}
}

// The values were computed from the formula in Python.
func TestWilson(t *testing.T) {
	nearPair(t, "11 of 100", wilson(11, 100), 0.06254196, 0.18631297)
	nearPair(t, "0 of 10", wilson(0, 10), 0, 0.2775328)
	nearPair(t, "10 of 10", wilson(10, 10), 0.7224672, 1)
	if got := wilson(0, 3); got[0] != 0 {
		t.Errorf("0 of 3 has lower end %v", got[0])
	}
}

func TestIntervalOverRepeats(t *testing.T) {
	// Shares 0.8, 0.9, 1.0: mean 0.9, sd 0.1; t(2) = 4.302653: 0.9 ± 0.248414,
	// cut at 1.
	nearPair(t, "three repeats", interval([]int{8, 9, 10}, []int{10, 10, 10}), 0.6515862, 1)
	// Four: 0.2, 0.3, 0.4, 0.5: sd 0.1290994; t(3) = 3.182446.
	nearPair(t, "four repeats", interval([]int{20, 30, 40, 50}, []int{100, 100, 100, 100}), 0.1445740, 0.5554260)
	// Two are too few: Wilson over all requests.
	if got, want := interval([]int{5, 6}, []int{50, 50}), wilson(11, 100); got != want {
		t.Errorf("two repeats: %v, want %v", got, want)
	}
	// Three that agree say nothing of their spread.
	if got, want := interval([]int{10, 10, 10}, []int{10, 10, 10}), wilson(30, 30); got != want {
		t.Errorf("equal repeats: %v, want %v", got, want)
	}
	// Of unequal size, the interval is still around the pooled share.
	got := interval([]int{10, 90, 55}, []int{20, 100, 60})
	if p := 155.0 / 180; math.Abs((got[0]+got[1])/2-p) > 1e-12 && got[1] < 1 {
		t.Errorf("unequal repeats: %v is not around %v", got, p)
	}
}
