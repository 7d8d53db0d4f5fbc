package doctor

import (
	"math"
	"testing"
)

// Ticks from user, nice, system, idle, iowait, irq, softirq, steal.
func TestUsed(t *testing.T) {
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
	//                          +10 +5 +15 +50 +10 +2 +3 +5 = 100
	busy, stolen := used("cpu  100 10 50 1000 20 3 4 7 0 0", "cpu  110 15 65 1050 30 5 7 12 0 0")
	if !near(busy, .35) || !near(stolen, .05) {
		t.Errorf("busy %v, stolen %v", busy, stolen)
	}
	for _, pair := range [][2]string{{"", ""}, {"cpu 1 2 3", "cpu 1 2 3"}, {"cpu  1 1 1 1 1 1 1 1 0 0", "cpu  1 1 1 1 1 1 1 1 0 0"}} {
		if busy, stolen := used(pair[0], pair[1]); busy != 0 || stolen != 0 {
			t.Errorf("%q: busy %v, stolen %v", pair, busy, stolen)
		}
	}
}

func TestQuota(t *testing.T) {
	for line, want := range map[string]float64{
		"150000 100000": 1.5, "max 100000": 0, "": 0, "100000 0": 0, "x y": 0,
	} {
		if got := quota(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func TestLookAt(t *testing.T) {
	m := lookAt(t.Context(), true)
	if m.Kernel == "" || m.Files == 0 || m.FilesHard < m.Files || m.Timer.P50 <= 0 || m.Ports() < 1 {
		t.Errorf("%+v", m)
	}
	if m.Busy < 0 || m.Busy > 1 || m.Stolen < 0 || m.Stolen > 1 {
		t.Errorf("%+v", m)
	}
}
