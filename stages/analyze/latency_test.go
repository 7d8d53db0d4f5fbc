package analyze

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"vbp/stages/sample"
)

func TestPercentileIsType7(t *testing.T) {
	v := []float64{1, 2, 4, 8}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.9: 6.8, 1: 8} {
		if got := percentile(v, q); math.Abs(*got-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", q, *got, want)
		}
	}
	if percentile(nil, 0.5) != nil {
		t.Error("no values have no percentile")
	}
	if got := percentile([]float64{3}, 0.99); *got != 3 {
		t.Errorf("one value: %v", *got)
	}
}

// Ours agree with numpy's to the last bit, and attainment with a loop in
// Python over the same requests.
func TestNumbersAgreeWithNumpy(t *testing.T) {
	if testing.Short() {
		t.Skip("starting Python is left out of short runs")
	}
	if err := exec.Command("python3", "-c", "import numpy").Run(); err != nil {
		t.Skipf("python3 with numpy is not installed: %v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	in := &sample.Table{}
	for range 997 {
		in.Append(request(sample.OK, random.ExpFloat64()/10, random.ExpFloat64()/50, 2))
	}
	s := score(objectives{ttft: 0.125, tpot: 0.02}, whole(in))
	data, err := json.Marshal([][]float64{in.TTFT, in.TPOT})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", `
import json, numpy, sys
ttft, tpot = json.load(sys.stdin)
print(json.dumps([[float(numpy.percentile(ttft, p)) for p in (50, 90, 99)],
                  [sum(a <= 0.125 * s and b <= 0.02 * s for a, b in zip(ttft, tpot)) for s in (0.4, 0.7, 1, 1.3)]]))`)
	cmd.Stdin = bytes.NewReader(data)
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [2][]float64
	if err := json.Unmarshal(printed, &want); err != nil {
		t.Fatal(err)
	}
	p := percentiles(s.ttft)
	if got := []float64{*p.P50, *p.P90, *p.P99}; !slices.Equal(got, want[0]) {
		t.Errorf("percentiles %v, numpy has %v", got, want[0])
	}
	for i, scale := range []float64{0.4, 0.7, 1, 1.3} {
		if got := s.at(scale).both; float64(got) != want[1][i] {
			t.Errorf("scale %v: %d, Python has %v", scale, got, want[1][i])
		}
	}
}

func TestOutputRate(t *testing.T) {
	rateOf := func(tables ...*sample.Table) *float64 {
		var points []output
		for _, table := range tables {
			points = append(points, outputOf(whole(table)))
		}
		return outputRate(points)
	}
	a := table(request(sample.OK, 0.1, 0.1, 6), request(sample.HTTPError, 0.1, 0.1, 100))
	a.Meta.Length = 2
	b := table(request(sample.OK, 0.1, 0.1, 4))
	b.Sent[0], b.E2E[0] = 1e9, 3
	if got := rateOf(a, b); got == nil || *got != 2 { // 10 tokens in 2 + 3 s
		t.Errorf("got %v, want 2", got)
	}
	b.OutputTokens[0] = sample.Absent
	if got := rateOf(a, b); got != nil {
		t.Errorf("unknown counts give %v", *got)
	}
	if got := rateOf(table(request(sample.OK, 0.1, 0.1, 4))); got != nil {
		t.Errorf("an unknown span gives %v", *got)
	}
}
