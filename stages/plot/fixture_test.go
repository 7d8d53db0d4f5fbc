package plot

import (
	"fmt"
	"math"

	"vbp/stages/analyze"
)

// Attainment of the real data in shared/data, as facts/distserve.md has it:
// shares of both, TTFT only, TPOT only.
var (
	rates  = []float64{1, 1.5, 2, 2.5, 3, 3.5, 4}
	scales = []float64{.4, .5, .6, .7, .8, .9, 1, 1.2, 1.4, 1.6, 2}

	distserve = fixture{
		n:     120,
		both:  []float64{99.1667, 100, 97.5, 95, 85.8333, 70.8333, 53.3333},
		ttft:  []float64{100, 100, 98.3333, 97.5, 91.6667, 87.5, 80.8333},
		tpot:  []float64{99.1667, 100, 99.1667, 97.5, 94.1667, 83.3333, 70},
		scale: []float64{0, 0, 2.5, 50, 75.8333, 92.5, 97.5, 99.1667, 99.1667, 100, 100},
	}
	vllmBench = fixture{
		n:     100,
		both:  []float64{11, 82, 68, 49, 35, 27, 26},
		ttft:  []float64{13, 83, 79, 64, 58, 61, 55},
		tpot:  []float64{89, 99, 82, 61, 53, 35, 37},
		scale: []float64{0, 0, 0, 0, 1, 11, 68, 97, 100, 100, 100},
	}
)

type fixture struct {
	n                       int
	both, ttft, tpot, scale []float64
}

// series makes an analyze.Series of a fixture. Intervals are Wilson's.
func (f fixture) series(name string, gpus int, config map[string]string) analyze.Series {
	at := 2.0
	s := analyze.Series{Name: name, Labels: map[string]string{"mode": name}, GPUs: gpus, Config: config, Scales: analyze.Scales{QPS: &at}}
	for i, q := range rates {
		sh := analyze.Shares{Both: f.both[i] / 100, TTFT: f.ttft[i] / 100, TPOT: f.tpot[i] / 100}
		s.Rates = append(s.Rates, analyze.Rate{
			QPS: q, Repeats: 1, Sent: f.n, Shares: sh, Valid: true,
			CI95: analyze.Intervals{Both: wilson(sh.Both, f.n), TTFT: wilson(sh.TTFT, f.n), TPOT: wilson(sh.TPOT, f.n)},
		})
	}
	for i, v := range f.scale {
		s.Scales.Points = append(s.Scales.Points, analyze.ScalePoint{Scale: scales[i], Shares: analyze.Shares{Both: v / 100, TTFT: math.Sqrt(v / 100), TPOT: math.Sqrt(v / 100)}})
	}
	return s
}

func wilson(p float64, n int) [2]float64 {
	const z = 1.959964
	m := float64(n)
	c, w := p+z*z/(2*m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return [2]float64{(c - w) / (1 + z*z/m), (c + w) / (1 + z*z/m)}
}

func analysis(series ...analyze.Series) *analyze.Analysis {
	return &analyze.Analysis{Schema: analyze.Schema, SLO: analyze.SLO{TTFT: 1500, TPOT: 70, Target: 0.9}, Series: series}
}

func simpleConfig() map[string]string {
	return map[string]string{"tensor_parallel_size": "1", "model_name": "Qwen/Qwen3-0.6B", "deployment_mode": "simple", "engine": "vllm"}
}

func nixlConfig() map[string]string {
	return map[string]string{
		"num_prefill_instances": "2", "num_decode_instances": "2", "prefiller_tp_size": "2", "decoder_tp_size": "2",
		"model_name": "Qwen3-0.6B", "deployment_mode": "nixl", "engine": "vllm",
	}
}

// pair is the usual comparison: simple and nixl.
func pair() *analyze.Analysis {
	d := distserve.series("nixl", 2, nixlConfig())
	capacity := 2.772727
	d.Capacity.Both = analyze.Capacity{Value: &capacity, Bound: analyze.Exact}
	v := vllmBench.series("simple", 1, simpleConfig())
	v.Capacity.Both = analyze.Capacity{Bound: analyze.None}
	return analysis(v, d)
}

// crowd is n series of k points each, falling through the target at
// different places, some of them noisily.
func crowd(n, k int) *analyze.Analysis {
	var all []analyze.Series
	for i := range n {
		s := analyze.Series{Name: fmt.Sprintf("mode-%d", i), Labels: map[string]string{"mode": fmt.Sprint(i)}, GPUs: i + 1, Config: simpleConfig()}
		at := 0.0
		for j := range k {
			x := 0.5 + 8*float64(j)/float64(max(k-1, 1))
			if j == 0 {
				at = x
			}
			y := 1 / (1 + math.Exp((x-4-0.6*float64(i))*1.5))
			y = min(1, max(0, y+0.06*math.Sin(float64(7*j+3*i))))
			s.Rates = append(s.Rates, analyze.Rate{QPS: x, Repeats: 1, Sent: 100, Valid: (i+j)%9 != 8, Reason: "send_lag_p99_ms < 5", Shares: analyze.Shares{Both: y, TTFT: y, TPOT: y}, CI95: analyze.Intervals{Both: wilson(y, 100)}})
			sc := 0.4 + 1.6*float64(j)/float64(max(k-1, 1))
			ys := min(1, max(0, 1/(1+math.Exp(-(sc-0.8-0.03*float64(i))*9))+0.04*math.Sin(float64(5*j+i))))
			s.Scales.Points = append(s.Scales.Points, analyze.ScalePoint{Scale: sc, Shares: analyze.Shares{Both: ys, TTFT: ys, TPOT: ys}})
		}
		s.Scales.QPS = &at
		all = append(all, s)
	}
	return analysis(all...)
}
