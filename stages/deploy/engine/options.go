package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Options are the settings of a simulated engine. Flags fills in the
// defaults; a number that is "0: by ..." is derived when the engine starts.
type Options struct {
	Model           string
	ServedModelName []string // names that clients may use; none: Model
	Host            string
	Port            int      // 0: any free
	APIKeys         []string // one of them must come with every request below /v1; none: whoever asks is served
	EngineVersion   string   // what /version answers; "": Identity

	TensorParallelSize   int
	DataParallelSize     int     // replicas of the model behind the one address
	GPUMemoryUtilization float64 // share of the GPU's memory, in (0, 1]
	MaxNumBatchedTokens  int     // 0: by GPU, as vLLM
	MaxNumSeqs           int     // 0: by GPU, as vLLM
	BlockSize            int     // tokens
	MaxModelLen          int     // 0: the model's, or what the KV cache holds if that is less
	EnablePrefixCaching  bool
	NumGPUBlocksOverride int // 0: from memory
	Seed                 int64

	Preset                     string // GPU/MODEL; "": the model on an H100
	StepBase                   Coefficient
	StepPerPrefillToken        Coefficient
	StepPerContextToken        Coefficient
	StepPerSeq                 Coefficient
	StepPerPrefillTokenSquared Coefficient
	RequestOverhead            Coefficient

	KVTransfer          KVTransfer
	KVTransferLatency   time.Duration
	KVTransferBandwidth Bandwidth
	KVLease             time.Duration

	// Faults, to see what a client makes of them. -1: never.
	FailAfter  int // completion requests answered before all further ones get status 500
	ExitAfter  int // completion requests answered before the next one ends the process
	StallAfter int // completion requests answered before all further ones are left without an answer
	ReadyDelay time.Duration

	// What follows has no flag: ParseServe sets it.
	Strict      bool     // serve nothing that vLLM would not, and refuse as vLLM refuses
	DevMode     bool     // Strict: with vLLM's development endpoints (VLLM_SERVER_DEV_MODE=1)
	SideChannel []string // addresses at which KV is handed over, one for each replica; none: that of the API
	LMCache     LMCache  // where KV is shared, for that connector
	Notes       []string // for the log
}

// model is the model that is served.
func (o Options) model() string {
	return cmp.Or(o.Model, presetModel(o.Preset), "Qwen/Qwen3-0.6B")
}

// Flags registers every setting, with its default, in a flag set.
func (o *Options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Model, "model", "", "model to serve (default: the preset's, else Qwen/Qwen3-0.6B)")
	fs.StringSliceVar(&o.ServedModelName, "served-model-name", nil, "names that clients call the model by, separated by commas (default: --model)")
	fs.StringVar(&o.Host, "host", "127.0.0.1", "address to listen on")
	fs.IntVar(&o.Port, "port", 8000, "port to listen on; 0: any free one")
	fs.StringArrayVar(&o.APIKeys, "api-key", nil, "key that clients must send for paths below /v1; repeat for more (default: none)")
	fs.StringVar(&o.EngineVersion, "engine-version", "", "version that /version answers, to see what clients make of it (default: "+Identity+")")

	fs.IntVar(&o.TensorParallelSize, "tensor-parallel-size", 1, "GPUs that share the model")
	fs.IntVar(&o.DataParallelSize, "data-parallel-size", 1, "replicas of the model behind the one address, each on GPUs of its own")
	fs.Float64Var(&o.GPUMemoryUtilization, "gpu-memory-utilization", .9, "share of the GPU's memory to use")
	fs.IntVar(&o.MaxNumBatchedTokens, "max-num-batched-tokens", 0, "tokens computed in one step, at most; 0: 2048 on an A100, else 8192")
	fs.IntVar(&o.MaxNumSeqs, "max-num-seqs", 0, "requests in the batch, at most; 0: 256 on an A100, else 1024, but no more than batched tokens")
	fs.IntVar(&o.BlockSize, "block-size", 16, "tokens in a KV block")
	fs.IntVar(&o.MaxModelLen, "max-model-len", 0, "tokens of prompt and output together, at most; 0: the model's, or what the KV cache holds")
	fs.BoolVar(&o.EnablePrefixCaching, "enable-prefix-caching", true, "reuse the KV of equal beginnings of prompts")
	fs.Var(negated{&o.EnablePrefixCaching}, "no-enable-prefix-caching", "the opposite")
	fs.Lookup("no-enable-prefix-caching").NoOptDefVal = "true"
	fs.IntVar(&o.NumGPUBlocksOverride, "num-gpu-blocks-override", 0, "KV blocks; 0: as many as fit into memory")
	fs.Int64Var(&o.Seed, "seed", 0, "seed of generated texts and their natural lengths")

	fs.StringVar(&o.Preset, "preset", "", "GPU and model to behave like, such as h100/qwen3-8b (default: --model on an H100)")
	o.StepBase, o.StepPerPrefillToken, o.StepPerContextToken = Coefficient{}, Coefficient{}, Coefficient{}
	o.StepPerSeq, o.StepPerPrefillTokenSquared, o.RequestOverhead = Coefficient{}, Coefficient{}, Coefficient{}
	fs.Var(&o.StepBase, "step-base", "duration of an empty step (default: by preset, as for the following)")
	fs.Var(&o.StepPerPrefillToken, "step-per-prefill-token", "added for each prompt token in a step")
	fs.Var(&o.StepPerContextToken, "step-per-context-token", "added for each token whose KV is read")
	fs.Var(&o.StepPerSeq, "step-per-seq", "added for each request in the step")
	fs.Var(&o.StepPerPrefillTokenSquared, "step-per-prefill-token-squared", "added for each squared prompt token")
	fs.Var(&o.RequestOverhead, "request-overhead", "from the arrival of a request until it can be scheduled")

	o.KVTransfer = KVTransfer{}
	fs.Var(&o.KVTransfer, "kv-transfer-config", `how KV is exchanged with other instances, as vLLM has it, such as {"kv_connector":"NixlConnector","kv_role":"kv_both"}`)
	// Between the data sheets' RDMA figures: InfiniBand NDR moves about
	// 40 GB/s and takes .5 to 2 ms to set up.
	fs.DurationVar(&o.KVTransferLatency, "kv-transfer-latency", time.Millisecond, "set-up time of fetching KV from another instance")
	o.KVTransferBandwidth = 40e9
	fs.Var(&o.KVTransferBandwidth, "kv-transfer-bandwidth", "bytes/s at which KV is fetched, such as 40GB")
	fs.DurationVar(&o.KVLease, "kv-lease", 30*time.Second, "how long KV is held for another instance to fetch")

	fs.IntVar(&o.FailAfter, "fail-after", -1, "answer 500 to every completion request after the first N, with /health still fine; -1: never")
	fs.IntVar(&o.ExitAfter, "exit-after", -1, "end with an error on the completion request after the first N; -1: never")
	fs.IntVar(&o.StallAfter, "stall-after", -1, "never answer a completion request after the first N; -1: never")
	fs.DurationVar(&o.ReadyDelay, "ready-delay", 0, "answer 503 for so long after the start")
}

// negated is the flag that switches another one off.
type negated struct{ on *bool }

func (n negated) String() string   { return "" }
func (n negated) Type() string     { return "bool" }
func (n negated) IsBoolFlag() bool { return true }

func (n negated) Set(text string) error {
	v, err := strconv.ParseBool(text)
	if err == nil {
		*n.on = !v
	}
	return err
}

// CheckArgs tells whether an engine would start with these arguments, as far
// as that can be known without starting it. The error names the flag.
func CheckArgs(args []string) error {
	var o Options
	fs := pflag.NewFlagSet("engine", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	o.Flags(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return fmt.Errorf("simulated engine: --help is not a setting; remove it")
		}
		return fmt.Errorf("simulated engine: %w (see vbp engine --help)", err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("simulated engine: %q is not a flag; the model is given as --model", fs.Arg(0))
	}
	if _, err := o.Resolve(); err != nil {
		return fmt.Errorf("simulated engine: %w", err)
	}
	return nil
}

// Settings are Options with everything derived.
type Settings struct {
	Preset    string // GPU/MODEL
	Vocab     int    // token ids are below it
	Scheduler Config
}

// Resolve derives the settings, and reports all that is wrong with the
// options; each error names its flag.
func (o Options) Resolve() (Settings, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	g, m, err := findPreset(o.Preset, o.model())
	if err != nil {
		errs = append(errs, err)
	}
	if o.Port < 0 || o.Port > 65535 {
		bad("--port %d: a port is between 0 and 65535", o.Port)
	}
	if o.TensorParallelSize < 1 {
		bad("--tensor-parallel-size %d: at least 1", o.TensorParallelSize)
	} else if err == nil && m.queryHeads%o.TensorParallelSize != 0 {
		bad("--tensor-parallel-size %d: %s has %d attention heads, which it must divide", o.TensorParallelSize, m.name, m.queryHeads)
	}
	if o.DataParallelSize < 1 || o.DataParallelSize > 1024 {
		bad("--data-parallel-size %d: between 1 and 1024", o.DataParallelSize)
	}
	if !(o.GPUMemoryUtilization > 0 && o.GPUMemoryUtilization <= 1) {
		bad("--gpu-memory-utilization %g: above 0 and at most 1", o.GPUMemoryUtilization)
	}
	if o.BlockSize < 1 {
		bad("--block-size %d: at least 1", o.BlockSize)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"max-num-batched-tokens", o.MaxNumBatchedTokens},
		{"max-num-seqs", o.MaxNumSeqs},
		{"max-model-len", o.MaxModelLen},
		{"num-gpu-blocks-override", o.NumGPUBlocksOverride},
	} {
		if n.value < 0 {
			bad("--%s %d: at least 1, or 0 for the default", n.flag, n.value)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"kv-transfer-latency", o.KVTransferLatency},
		{"kv-lease", o.KVLease},
		{"ready-delay", o.ReadyDelay},
	} {
		if d.value < 0 {
			bad("--%s %v: not below 0", d.flag, d.value)
		}
	}
	if o.KVTransfer.lmcache() {
		if _, err := o.LMCache.with(o.KVTransfer.Extra).address(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Settings{}, errors.Join(errs...)
	}
	return o.derive(g, m)
}

// derive is the second half of Resolve, for options that are each possible.
func (o Options) derive(g gpu, m model) (Settings, error) {
	tokens, seqs := o.MaxNumBatchedTokens, o.MaxNumSeqs
	if tokens == 0 {
		tokens = g.maxBatchedTokens
	}
	if seqs == 0 {
		seqs = min(g.maxSeqs, tokens)
	}
	if seqs > tokens {
		return Settings{}, fmt.Errorf("--max-num-batched-tokens %d is less than --max-num-seqs %d; a step must have a token for each request", tokens, seqs)
	}
	blocks := o.NumGPUBlocksOverride
	if blocks == 0 {
		blocks = kvBlocks(g, m, o.TensorParallelSize, o.GPUMemoryUtilization, o.BlockSize, tokens, seqs)
	}
	if blocks < 1 {
		return Settings{}, fmt.Errorf("--gpu-memory-utilization %g: no memory is left for KV blocks of %s on %s; raise it, or --tensor-parallel-size",
			o.GPUMemoryUtilization, m.name, g.name)
	}
	if blocks > 1<<30/o.BlockSize {
		return Settings{}, fmt.Errorf("--num-gpu-blocks-override %d: more than 2^30 tokens of KV; lower it", blocks)
	}
	length := o.MaxModelLen
	switch capacity := blocks * o.BlockSize; {
	case length > capacity:
		return Settings{}, fmt.Errorf("--max-model-len %d: the KV cache holds %d tokens only; lower it, or raise --gpu-memory-utilization", length, capacity)
	case length == 0:
		length = min(m.context, capacity)
	}
	t := stepTime(g, m, o.TensorParallelSize)
	lease := o.KVLease
	if d, ok := o.KVTransfer.lease(); ok {
		lease = d
	}
	return Settings{
		Preset: g.name + "/" + m.name,
		Vocab:  m.vocab,
		Scheduler: Config{
			Blocks: blocks, BlockSize: o.BlockSize,
			MaxBatchedTokens: tokens, MaxSeqs: seqs, MaxModelLen: length,
			PrefixCaching: o.EnablePrefixCaching,
			StepTime: StepTime{
				Base:           o.StepBase.or(t.Base),
				PrefillToken:   o.StepPerPrefillToken.or(t.PrefillToken),
				ContextToken:   o.StepPerContextToken.or(t.ContextToken),
				Sequence:       o.StepPerSeq.or(t.Sequence),
				PrefillSquared: o.StepPerPrefillTokenSquared.or(t.PrefillSquared),
			},
			Overhead:         seconds(o.RequestOverhead.or(frontendOverhead)),
			KVBytesPerToken:  m.kvPerToken,
			TransferLatency:  o.KVTransferLatency,
			TransferBytesPer: float64(o.KVTransferBandwidth),
			Lease:            lease,
			Connector:        o.KVTransfer.Connector != "",
		},
	}, nil
}

// String is the settings on one line, for the log.
func (s Settings) String() string {
	c := s.Scheduler
	t := c.StepTime
	return fmt.Sprintf("preset %s; %d KV blocks of %d tokens; max-model-len %d, max-num-batched-tokens %d, max-num-seqs %d, prefix caching %v; "+
		"step %s + %s/prefill token + %s/context token + %s/sequence + %s/squared prefill token; request overhead %v; "+
		"KV %.0f B/token, transfer %v + bytes/%.4g GB/s, lease %v",
		s.Preset, c.Blocks, c.BlockSize, c.MaxModelLen, c.MaxBatchedTokens, c.MaxSeqs, c.PrefixCaching,
		formatSeconds(t.Base), formatSeconds(t.PrefillToken), formatSeconds(t.ContextToken), formatSeconds(t.Sequence), formatSeconds(t.PrefillSquared), c.Overhead,
		c.KVBytesPerToken, c.TransferLatency, c.TransferBytesPer/1e9, c.Lease)
}

// faults is the fault injection in words; "" if there is none.
func (o Options) faults() string {
	var words []string
	for _, f := range []struct {
		what string
		n    int
	}{{"fail", o.FailAfter}, {"exit", o.ExitAfter}, {"stall", o.StallAfter}} {
		if f.n >= 0 {
			words = append(words, fmt.Sprintf("%s after %d completion requests", f.what, f.n))
		}
	}
	if o.ReadyDelay > 0 {
		words = append(words, fmt.Sprintf("ready after %v", o.ReadyDelay))
	}
	return strings.Join(words, ", ")
}

// names are the names that clients may call the model by; the first one is
// used in answers.
func (o Options) names() []string {
	if len(o.ServedModelName) > 0 {
		return o.ServedModelName
	}
	return []string{o.model()}
}

// Listen opens the socket for Serve.
func (o Options) Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("simulated engine: cannot listen: %w; choose another --host or --port (0: any free one)", err)
	}
	return ln, nil
}

// Version is what /version answers.
func (o Options) Version() string { return cmp.Or(o.EngineVersion, Identity) }

// joined is how the engine is joined to others and to replicas of itself, for
// the log.
func (o Options) joined() string {
	s := ""
	if o.DataParallelSize > 1 {
		s = fmt.Sprintf("; data-parallel-size %d", o.DataParallelSize)
	}
	if t := o.KVTransfer; t.Connector != "" {
		s += fmt.Sprintf("; connector %s as %s", t.Connector, t.Role)
	}
	if len(o.SideChannel) > 0 {
		s += ", side channel " + strings.Join(o.SideChannel, " ")
	}
	return s
}
