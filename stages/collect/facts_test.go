package collect_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"vbp/stages/analyze"
	"vbp/stages/collect"
)

// shared finds a folder of the real data beside the repository, and skips the
// test where there is none.
func shared(t *testing.T, path ...string) string {
	t.Helper()
	root := os.Getenv("VBP_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(append([]string{root}, path...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the real data set %s is missing (set VBP_SHARED to the folder that holds data/)", dir)
	}
	return dir
}

// analyzeDir reads a results folder and scores it, objectives in ms.
func analyzeDir(t *testing.T, dir string, p analyze.Params) *analyze.Analysis {
	t.Helper()
	r, err := collect.OpenResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	var points []analyze.Point
	for _, l := range r.Points {
		points = append(points, analyze.Point{Table: l.Table, Valid: true})
	}
	a, err := analyze.Analyze(points, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Series) != 1 {
		t.Fatalf("got %d series, want 1", len(a.Series))
	}
	return a
}

// The values that an independent script computed from the same files, as
// percentages to its last digit.
func TestRealDataGivesTheKnownValues(t *testing.T) {
	scales := []float64{.4, .5, .6, .7, .8, .9, 1, 1.2, 1.4, 1.6, 2}
	for _, c := range []struct {
		name       string
		dir        []string
		ttft, tpot float64 // ms

		both, ttftOnly, tpotOnly    []float64 // at 1, 1.5, ..., 4
		crossBoth, crossT, crossP   []float64
		capBoth, capT, capP         string
		capBothV, capTV, capPV      float64
		scaleAt                     float64
		scaled                      []float64
		scaleCross                  []float64
		sent                        int
		outputTokensPerSecondAtRate map[float64]float64
	}{
		{
			name: "distserve 1500/70", dir: []string{"data", "distserve", "llama_8B"}, ttft: 1500, tpot: 70, sent: 120,
			both:      []float64{99.1667, 100, 97.5, 95, 85.8333, 70.8333, 53.3333},
			ttftOnly:  []float64{100, 100, 98.3333, 97.5, 91.6667, 87.5, 80.8333},
			tpotOnly:  []float64{99.1667, 100, 99.1667, 97.5, 94.1667, 83.3333, 70},
			crossBoth: []float64{2.772727}, crossT: []float64{3.2}, crossP: []float64{3.192308},
			capBoth: "exact", capBothV: 2.772727, capT: "exact", capTV: 3.2, capP: "exact", capPV: 3.192308,
			scaleAt: 2, scaled: []float64{0, 0, 2.5, 50, 75.8333, 92.5, 97.5, 99.1667, 99.1667, 100, 100}, scaleCross: []float64{.885},
		},
		{
			name: "distserve 1500/60", dir: []string{"data", "distserve", "llama_8B"}, ttft: 1500, tpot: 60, sent: 120,
			both:      []float64{99.1667, 97.5, 89.1667, 73.3333, 53.3333, 43.3333, 31.6667},
			ttftOnly:  []float64{100, 100, 98.3333, 97.5, 91.6667, 87.5, 80.8333},
			tpotOnly:  []float64{99.1667, 97.5, 90.8333, 75.8333, 60.8333, 51.6667, 39.1667},
			crossBoth: []float64{1.95}, crossT: []float64{3.2}, crossP: []float64{2.027778},
			capBoth: "exact", capBothV: 1.95, capT: "exact", capTV: 3.2, capP: "exact", capPV: 2.027778,
		},
		{
			name: "vllm 180/36", dir: []string{"data", "vllm-bench", "llama_8B"}, ttft: 180, tpot: 36, sent: 100,
			both:     []float64{11, 82, 68, 49, 35, 27, 26},
			ttftOnly: []float64{13, 83, 79, 64, 58, 61, 55},
			tpotOnly: []float64{89, 99, 82, 61, 53, 35, 37},
			// TPOT rises through the target at a noisy low rate before it falls.
			crossP:  []float64{1.05, 1.764706},
			capBoth: "none", capT: "none", capP: "exact", capPV: 1.764706,
			scaleAt: 2, scaled: []float64{0, 0, 0, 0, 1, 11, 68, 97, 100, 100, 100}, scaleCross: []float64{1.151724},
			outputTokensPerSecondAtRate: map[float64]float64{2: 279.799452}, // the file's own output_throughput
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := analyzeDir(t, shared(t, c.dir...), analyze.Params{
				TTFT: c.ttft / 1000, TPOT: c.tpot / 1000, Target: .9, Scales: scales, ScaleRate: 2,
			})
			s := a.Series[0]
			if s.Name != "llama_8B" {
				t.Errorf("series is named %q, want llama_8B", s.Name)
			}
			if len(s.Rates) != len(c.both) {
				t.Fatalf("got %d rates, want %d", len(s.Rates), len(c.both))
			}
			for i, r := range s.Rates {
				if want := 1 + float64(i)/2; r.QPS != want || r.Sent != c.sent || !r.Valid {
					t.Errorf("rate %d: %v req/s, %d sent, valid %v; want %v req/s, %d sent, valid", i, r.QPS, r.Sent, r.Valid, want, c.sent)
				}
				near(t, "both", r.Both*100, c.both[i], 4)
				near(t, "ttft", r.TTFT*100, c.ttftOnly[i], 4)
				near(t, "tpot", r.TPOT*100, c.tpotOnly[i], 4)
				if want, ok := c.outputTokensPerSecondAtRate[r.QPS]; ok {
					near(t, "output tokens per second", *r.OutputTokens, want, 6)
				}
			}
			nearAll(t, "crossings of both", s.Crossings.Rate.Both, c.crossBoth)
			nearAll(t, "crossings of TTFT", s.Crossings.Rate.TTFT, c.crossT)
			nearAll(t, "crossings of TPOT", s.Crossings.Rate.TPOT, c.crossP)
			for _, k := range []struct {
				name  string
				got   analyze.Capacity
				bound string
				value float64
			}{
				{"both", s.Capacity.Both, c.capBoth, c.capBothV},
				{"ttft", s.Capacity.TTFT, c.capT, c.capTV},
				{"tpot", s.Capacity.TPOT, c.capP, c.capPV},
			} {
				if k.got.Bound != k.bound || (k.got.Value == nil) != (k.bound == analyze.None) {
					t.Errorf("capacity of %s: %+v, want bound %s", k.name, k.got, k.bound)
				} else if k.got.Value != nil {
					near(t, "capacity of "+k.name, *k.got.Value, k.value, 6)
				}
			}
			if c.scaled == nil {
				return
			}
			if s.Scales.QPS == nil || *s.Scales.QPS != c.scaleAt || len(s.Scales.Points) != len(scales) {
				t.Fatalf("scale curve %+v, want %d points at rate %v", s.Scales, len(scales), c.scaleAt)
			}
			for i, p := range s.Scales.Points {
				near(t, "scaled", p.Both*100, c.scaled[i], 4)
			}
			nearAll(t, "crossings over scale", s.Crossings.Scale.Both, c.scaleCross)
		})
	}
}

// A failed request of a vLLM file has TTFT 0.0 and may have no error text; the
// formula alone would count it as a hit. Of the six requests at rate 1, three
// meet 200/200 ms, three failed; one of these had a first token.
func TestFailuresThatLookFastAreMisses(t *testing.T) {
	a := analyzeDir(t, filepath.Join("testdata", "detailed"), analyze.Params{
		TTFT: 200.0 / 1000, TPOT: 200.0 / 1000, Target: .9, Scales: []float64{1e-9, 1}, ScaleRate: 1,
	})
	s := a.Series[0]
	if r := s.Rates[0]; r.Sent != 6 || r.Failed != 3 || r.Both != .5 || r.TTFT != .5 || r.TPOT != .5 {
		t.Errorf("got %+v, want half of 6 requests", r)
	}
	// At a scale near 0 only the TPOT of the one-token request is met.
	if p := s.Scales.Points[0]; p.Both != 0 || p.TTFT != 0 || p.TPOT != 1.0/6 {
		t.Errorf("at a scale near 0: %+v", p)
	}
	if r := s.Rates[1]; r.Repeats != 2 || r.Sent != 3 {
		t.Errorf("two results of rate 2: %+v", r)
	}
}

// near compares to the last of digits decimals.
func near(t *testing.T, what string, got, want float64, digits int) {
	t.Helper()
	if math.Abs(got-want) > .5*math.Pow10(-digits)*1.0001 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func nearAll(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
		return
	}
	for i := range got {
		near(t, what, got[i], want[i], 6)
	}
}
