package collect

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(1, math.Abs(b)) }

// Worked out by hand: of 1, 2, 4, 8 the 90th percentile is at rank 2.7.
func TestStatisticsByHand(t *testing.T) {
	v := []float64{1, 2, 4, 8}
	for p, want := range map[float64]float64{0: 1, 25: 1.75, 50: 3, 90: 6.8, 99: 7.88, 100: 8} {
		if got := percentile(v, p); !near(got, want) {
			t.Errorf("percentile %v is %v, not %v", p, got, want)
		}
	}
	if got := mean(v); got != 3.75 {
		t.Errorf("mean %v", got)
	}
	if got := deviation(v); !near(got, math.Sqrt(7.1875)) { // (2.75² + 1.75² + 0.25² + 4.25²) / 4
		t.Errorf("deviation %v", got)
	}
	if percentile([]float64{5}, 99) != 5 || percentile(nil, 50) != 0 || mean(nil) != 0 || deviation(nil) != 0 {
		t.Error("one value, or none, goes wrong")
	}
}

func TestStatisticsAreNumpys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var in [][]float64
	for _, n := range []int{1, 2, 3, 7, 100, 1001} {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.ExpFloat64()
		}
		in = append(in, v)
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]float64
	python(t, "numpy", `
import json, sys, numpy as np
print(json.dumps([[float(np.mean(v)), float(np.median(v)), float(np.std(v))] + [float(np.percentile(v, p)) for p in (50, 90, 95, 99)]
                  for v in json.loads(sys.argv[1])]))
`, &want, string(data))
	for i, v := range in {
		slices.Sort(v)
		got := []float64{mean(v), percentile(v, 50), deviation(v)}
		for _, p := range percentiles {
			got = append(got, percentile(v, p))
		}
		for j := range got {
			if !near(got[j], want[i][j]) {
				t.Errorf("%d values, number %d: %v, numpy has %v", len(v), j, got[j], want[i][j])
			}
		}
	}
}
