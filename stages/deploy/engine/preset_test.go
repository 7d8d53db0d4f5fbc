package engine

import (
	"math"
	"testing"
	"time"
)

// light is what one request sees on an idle engine: time to first token and
// the mean time between tokens.
func light(t *testing.T, c Config, prompt, output int) (ttft, gap time.Duration) {
	t.Helper()
	s := NewScheduler(c)
	r := &Request{Owner: "A", PromptTokens: prompt, Output: output}
	add(t, s, 0, r)
	trace(s, 0)
	return r.First, (r.Last - r.First) / time.Duration(output-1)
}

func preset(t *testing.T, args ...string) Config {
	t.Helper()
	return settings(t, args...).Scheduler
}

// The measured points of Qwen3-8B on one H100 under vLLM at light load: TTFT
// about 13 ms + .025 ms a token, and 7.3 to 7.9 ms between tokens.
func TestCalibration(t *testing.T) {
	c := preset(t, "--preset", "h100/qwen3-8b", "--model", "Qwen/Qwen3-8B")
	for _, m := range []struct {
		prompt int
		ttft   float64 // ms
		within float64
	}{
		{815, 37.8, .15}, // the measured points scatter by 13 % about their own line here
		{1524, 47.4, .06},
		{3004, 87.5, .03},
		{3370, 97.9, .03},
	} {
		ttft, gap := light(t, c, m.prompt, 100)
		got, line := ttft.Seconds()*1e3, 13+.025*float64(m.prompt)
		if math.Abs(got-m.ttft) > m.within*m.ttft {
			t.Errorf("%d tokens: TTFT %.1f ms, measured %.1f", m.prompt, got, m.ttft)
		}
		if math.Abs(got-line) > .04*line {
			t.Errorf("%d tokens: TTFT %.1f ms, the line through the measured points %.1f", m.prompt, got, line)
		}
		if g := gap.Seconds() * 1e3; g < 7.3 || g > 7.9 {
			t.Errorf("%d tokens: %.2f ms between tokens, measured 7.3 to 7.9", m.prompt, g)
		}
	}
}

// However a prompt is cut, its attention costs the same.
func TestChunksCostAsTheWhole(t *testing.T) {
	st := stepTime(gpus[1], models[1], 1)
	whole := Work{}
	whole.add(0, 3000)
	var chunks time.Duration
	for k := 0; k < 3000; k += 500 {
		w := Work{}
		w.add(k, 500)
		w.ContextTokens, w.Sequences = 0, 0
		st := st
		st.Base = 0
		chunks += st.Of(w)
	}
	st.Base, whole.Sequences = 0, 0
	if got := st.Of(whole); (got - chunks).Abs() > 10*time.Nanosecond {
		t.Errorf("whole %v, in chunks %v", got, chunks)
	}
}

func TestPresetsOrder(t *testing.T) {
	gap := func(args ...string) time.Duration {
		_, g := light(t, preset(t, args...), 1000, 20)
		return g
	}
	ttft := func(args ...string) time.Duration {
		f, _ := light(t, preset(t, args...), 2000, 2)
		return f
	}
	if a, h, h2 := gap("--preset=a100/llama-3.1-8b"), gap("--preset=h100/llama-3.1-8b"), gap("--preset=h200/llama-3.1-8b"); !(a > h && h > h2) {
		t.Errorf("time between tokens: A100 %v, H100 %v, H200 %v", a, h, h2)
	}
	if a, h := ttft("--preset=a100/qwen3-8b"), ttft("--preset=h100/qwen3-8b"); float64(a) < 2*float64(h) {
		t.Errorf("TTFT of 2000 tokens: A100 %v, H100 %v", a, h)
	}
	one, two := ttft("--preset=h100/qwen3-8b"), ttft("--preset=h100/qwen3-8b", "--tensor-parallel-size=2")
	if !(two < one && two > one/2) {
		t.Errorf("TTFT of 2000 tokens: one GPU %v, two %v", one, two)
	}
	if small := gap("--preset=h100/qwen3-0.6b"); small > 3*ms {
		t.Errorf("a 0.6B model takes %v a token", small)
	}
}

func TestKVBlocks(t *testing.T) {
	// By hand for H100, Qwen3-8B: 80 GiB x .9 = 77.31e9 B, less weights
	// 16.38e9, activations 8192 x (4x4096 + 3x12288) x 2 = .872e9 and
	// 1024 x 151936 x 8 = 1.245e9, less 1.5 GiB = 1.611e9: 57.20e9 B, in
	// blocks of 16 x 147456 = 2.359e6 B.
	if got := preset(t, "--preset=h100/qwen3-8b").Blocks; got < 24200 || got > 24290 {
		t.Errorf("%d blocks, want about 24245", got)
	}
	one, two := preset(t, "--preset=h100/qwen3-8b").Blocks, preset(t, "--preset=h100/qwen3-8b", "--tensor-parallel-size=2").Blocks
	if two < 2*one {
		t.Errorf("%d blocks on one GPU, %d on two", one, two)
	}
}

func TestSmallDefaultsOnA100(t *testing.T) {
	a, h := preset(t, "--preset=a100/qwen3-8b"), preset(t, "--preset=h100/qwen3-8b")
	if a.MaxBatchedTokens != 2048 || a.MaxSeqs != 256 || h.MaxBatchedTokens != 8192 || h.MaxSeqs != 1024 {
		t.Errorf("A100 %d and %d, H100 %d and %d", a.MaxBatchedTokens, a.MaxSeqs, h.MaxBatchedTokens, h.MaxSeqs)
	}
}
