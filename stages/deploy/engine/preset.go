package engine

import (
	"fmt"
	"slices"
	"strings"
)

// gpu is one accelerator, from its maker's data sheet.
type gpu struct {
	name      string
	flops     float64 // dense bf16, 1/s
	bandwidth float64 // of its memory, bytes/s
	memory    float64 // bytes; the data sheets' GB are GiB (an H100 of "80 GB" reports 81559 MiB)
	nvlink    float64 // bytes/s in one direction
	prefill   float64 // share of flops reached in prefill
	// vLLM's defaults for this GPU: 8192 and 1024 from 70 GiB on, A100 excepted.
	maxBatchedTokens, maxSeqs int
}

// model is one language model, from its published configuration, in bf16.
type model struct {
	name           string
	layers, hidden int
	ffn            int
	queryHeads     int
	headDim        int
	vocab          int
	params         float64
	tied           bool    // the output layer is the input embedding
	kvPerToken     float64 // bytes
	context        int     // longest sequence that its configuration allows
}

// Prefill efficiency: .60 is fitted to the measured light-load TTFT of
// Qwen3-8B on an H100 (about 13 ms + 25 us/token between 815 and 3370
// tokens). The A100's is that times .38/.45, the ratio of the two in
// published roofline calibrations; an H200 computes as an H100 does.
var gpus = []gpu{
	{"a100", 312e12, 2.039e12, 80 << 30, 300e9, .60 * .38 / .45, 2048, 256},
	{"h100", 989e12, 3.35e12, 80 << 30, 450e9, .60, 8192, 1024},
	{"h200", 989e12, 4.8e12, 141 << 30, 450e9, .60, 8192, 1024},
}

var models = []model{
	{"qwen3-0.6b", 28, 1024, 3072, 16, 128, 151936, .596e9, true, 114688, 40960},
	{"qwen3-8b", 36, 4096, 12288, 32, 128, 151936, 8.19e9, false, 147456, 40960},
	{"llama-3.1-8b", 32, 4096, 14336, 32, 128, 128256, 8.03e9, false, 131072, 131072},
}

const (
	bytesPerParam = 2.0 // bf16

	// Published roofline calibrations: 80 % of the memory bandwidth, 32 us a
	// layer for launches and small kernels, 4.4 us a request and step.
	memoryEfficiency = .8
	layerOverhead    = 32e-6
	sequenceOverhead = 4.4e-6
	// The same calibrations have 126 us a step; fitted here, so that
	// Qwen3-8B on an H100 decodes at its measured 7.3 to 7.9 ms a token.
	stepOverhead = 600e-6
	// What a request spends outside steps (parsing, tokenising, hand-over to
	// the engine and back): the measured 13 ms less one step.
	frontendOverhead = 5.6e-3
	// A decode step is bound by memory, so the arithmetic of one more
	// sequence hides behind it, but not wholly: DistServe's fit for an A100
	// has 38.5 us a sequence in small batches, about a sixth of the 220 us
	// that the arithmetic of one token of that 13B model takes.
	decodeShare = 1.0 / 6
	// One small allreduce over NVLink; there are two a layer.
	allreduceLatency = 10e-6
	// Memory of the process that is neither weights, activations nor KV: the
	// CUDA context, captured graphs, communication buffers.
	otherMemory = 1.5 * (1 << 30)
)

// presetNames lists every GPU/MODEL pair.
func presetNames() []string {
	var names []string
	for _, g := range gpus {
		for _, m := range models {
			names = append(names, g.name+"/"+m.name)
		}
	}
	return names
}

// presetModel is what a preset's model is called where it comes from; "" for an
// unknown one.
func presetModel(preset string) string {
	_, name, _ := strings.Cut(strings.ToLower(preset), "/")
	return map[string]string{
		"qwen3-0.6b": "Qwen/Qwen3-0.6B", "qwen3-8b": "Qwen/Qwen3-8B", "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
	}[name]
}

// findPreset resolves --preset, or, if that is empty, takes the model whose
// name is part of --model, on an H100.
func findPreset(preset, modelName string) (g gpu, m model, err error) {
	gpuName, name, given := "h100", "", preset != ""
	if given {
		gpuName, name, _ = strings.Cut(strings.ToLower(preset), "/")
	} else {
		lower := strings.ToLower(modelName)
		// The longest name wins, should one be the beginning of another.
		for _, m := range models {
			if strings.Contains(lower, m.name) && len(m.name) > len(name) {
				name = m.name
			}
		}
	}
	gi := slices.IndexFunc(gpus, func(g gpu) bool { return g.name == gpuName })
	mi := slices.IndexFunc(models, func(m model) bool { return m.name == name })
	switch all := strings.Join(presetNames(), ", "); {
	case !given && mi < 0:
		return g, m, fmt.Errorf("--model %q: no preset is known for this model; say which one it should behave like with --preset (%s)", modelName, all)
	case gi < 0 || mi < 0:
		return g, m, fmt.Errorf("--preset %q: no such preset; there are %s", preset, all)
	}
	return gpus[gi], models[mi], nil
}

// weights is the number of bytes of the model's parameters.
func (m model) weights() float64 { return m.params * bytesPerParam }

// layerParams is the number of parameters that every token is multiplied
// with: all but the embeddings at both ends.
func (m model) layerParams() float64 {
	embedding := float64(m.vocab * m.hidden)
	if m.tied {
		return m.params - embedding
	}
	return m.params - 2*embedding
}

// weightsRead is the number of bytes of weights that a step reads: all of
// them but an input embedding that only serves for looking up.
func (m model) weightsRead() float64 {
	if m.tied {
		return m.weights()
	}
	return m.weights() - float64(m.vocab*m.hidden)*bytesPerParam
}

// stepTime derives the latency model of one step on tp GPUs:
//
//	Base           = weights read/(tp x bandwidth) + layers x overhead + step overhead + allreduce latency
//	PrefillToken   = 2 x layer parameters/(tp x FLOP/s) + allreduce transfer
//	ContextToken   = KV bytes/(tp x bandwidth)
//	Sequence       = overhead + a sixth of PrefillToken's arithmetic + allreduce transfer
//	PrefillSquared = 2 x layers x query heads x head dim/(tp x FLOP/s)
//
// The last one: attention costs 4 x heads x head dim FLOPs for each pair of
// positions and layer (scores and values), and L^2 stands for L^2/2 pairs.
// With tp > 1 each layer has two allreduces of hidden values; a ring moves
// 2(tp-1)/tp of them over each GPU's NVLink.
func stepTime(g gpu, m model, tp int) StepTime {
	n := float64(tp)
	bandwidth := g.bandwidth * memoryEfficiency * n
	flops := g.flops * g.prefill * n
	arithmetic := 2 * m.layerParams() / flops
	var latency, transfer float64
	if tp > 1 {
		latency = 2 * float64(m.layers) * allreduceLatency
		transfer = 2 * float64(m.layers*m.hidden) * bytesPerParam * 2 * (n - 1) / n / g.nvlink
	}
	return StepTime{
		Base:           m.weightsRead()/bandwidth + float64(m.layers)*layerOverhead + stepOverhead + latency,
		PrefillToken:   arithmetic + transfer,
		ContextToken:   m.kvPerToken / bandwidth,
		Sequence:       sequenceOverhead + decodeShare*arithmetic + transfer,
		PrefillSquared: 2 * float64(m.layers*m.queryHeads*m.headDim) / flops,
	}
}

// kvBlocks is the number of blocks that fit beside the model, on each of tp
// GPUs, which hold an equal part of every block:
//
//	(memory x utilisation - weights/tp - activation peak - other) / (block bytes/tp)
//
// The activation peak is that of the largest step: per token the residual,
// attention and MLP values in bf16, per sequence the logits in fp32, twice.
// The result may be below 1.
func kvBlocks(g gpu, m model, tp int, utilization float64, blockSize, maxBatchedTokens, maxSeqs int) int {
	n := float64(tp)
	activation := float64(maxBatchedTokens)*(4*float64(m.hidden)+3*float64(m.ffn)/n)*bytesPerParam +
		float64(maxSeqs)*float64(m.vocab)*4*2/n
	free := g.memory*utilization - m.weights()/n - activation - otherMemory
	return int(free / (m.kvPerToken * float64(blockSize) / n))
}
