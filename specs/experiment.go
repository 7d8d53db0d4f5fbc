// Package specs is the language in which an experiment is declared. It knows
// what a spec may say and nothing of how it runs.
//
// A spec is read in three visible passes (parse.go): parse (YAML to a tree of
// nodes with positions, --set applied, ${NAME:-default} replaced inside
// scalars, each value typed by the key that receives it), defaults (what is
// not said), validation (how the parts go together; every error with
// file:line:col, several at once). Then the sweep is expanded, since excludes,
// figures and combinations of axes can be judged only there, and Points hands
// it out. Anything a run needs to know is in the Experiment and its Points; no
// other package reads YAML.
//
// One file a noun: mode.go, workload.go, stage.go and so on hold how a part is
// decoded, defaulted and validated.
package specs

import "time"

// Experiment is a whole spec, every default filled in. It is not changed once
// it is read: its Points share parts of it.
type Experiment struct {
	File       string // as it was named on the command line
	APIVersion string
	Name       string
	Model      string
	GPUs       GPUs
	Modes      []Mode // in the order of the spec
	Workload   Workload
	SLO        SLO
	Sweep      Sweep
	SLOScales  []float64
	ScaleRate  *float64 // nil: the median common rate, the lower if even
	Stages     []Stage  // the six defaults first, in order of work, then the spec's own
	Valid      []string // rules, expr over a point's facts
	Reuse      Reuse
	Figures    []Figure

	// Resolved is the spec as YAML with environment and --set applied, secrets
	// as they were written. It can be parsed again, in the same folder, to an
	// equal Experiment.
	Resolved []byte
	Warnings []string // worth saying, not wrong

	src *source // what Parse keeps; nil if it was made otherwise
}

// GPUs is what the host may give: all it has (Auto), a list of indices or
// UUIDs if List is not nil, else a count. None: engines run without, as on a
// CPU, and are told nothing of GPUs.
type GPUs struct {
	Auto  bool
	None  bool
	Count int
	List  []string
}

// Mode is one way of serving the model.
type Mode struct {
	Name                 string
	Engine               string // vllm, simulated, command; "" with Endpoint
	Endpoint             string
	Headers              map[string]string // sent with every request; ${secret:NAME} left as written, see Reveal
	Port                 int               // where clients connect; 0: any free port
	TensorParallel       int               // 0 with Endpoint, with Disaggregated, and for a command that needs no GPU
	GPUMemoryUtilization float64           // share in (0, 1]; 0: not said (vllm has 0.8 then)
	Args                 []Arg             // in the order of the spec
	Env                  map[string]string // see Reveal
	Run                  string            // engine command: the user's own command line, its ${} left to the shell
	Expect               map[string]string // what the live servers must tell of themselves; ${secret:NAME} has no meaning here
	Disaggregated        *Disaggregated    // nil: one instance does all
}

// Arg is an argument passed to the engine as it is. Value is nil, bool,
// int64, float64, string, []any or map[string]any.
type Arg struct {
	Name  string
	Value any
}

// Disaggregated is a mode of prefill and decode instances.
type Disaggregated struct {
	Connector string // nixl, lmcache
	CachePort int    // of LMCache's server, with vllm and lmcache; else 0
	Prefill   Pool
	Decode    Pool
}

// Pool is a number of equal instances. Args and Env are added to the mode's
// and win over them.
type Pool struct {
	Instances      int
	TensorParallel int
	Args           []Arg
	Env            map[string]string // see Reveal
}

// Workload is what is sent.
type Workload struct {
	Dataset        Dataset
	API            string        // completions, chat
	Requests       int           // of a point, at most; 0: only Duration ends it, or the trace
	Duration       time.Duration // of a point's schedule, at most; 0: only Requests ends it
	MaxConcurrency int           // requests in flight, at most; 0: no limit
	Arrivals       string        // poisson, constant, gamma, ramp, trace
	Burstiness     float64       // shape of gamma; 1 is Poisson
	Ramp           Ramp          // zero unless Arrivals is ramp
	Rescale        bool          // the schedule is stretched until its rate is the point's
	IgnoreEOS      bool
	Body           map[string]any // added to every request; one that is said replaces the default {temperature: 0}
	Seed           int64
}

// Ramp is how the rate of a point rises to qps, where it stays.
type Ramp struct {
	Shape string        // linear, exponential
	From  float64       // share of qps that it begins with, in [0, 1]; not 0 if exponential
	Over  time.Duration // how long it rises; 0: the whole point
}

// Dataset names the prompts. Which fields apply depends on Kind; a field of
// another kind is an error of the spec.
type Dataset struct {
	Kind         string  // sharegpt, random, jsonl, trace
	Name         string  // shown and used in folder names; default: the file's base name, else the kind
	Path         string  // sharegpt, jsonl, trace; relative to the spec's folder, made absolute
	Format       string  // trace: azure, burstgpt, mooncake; "": found out from the file's first line
	Lengths      string  // sharegpt: who counts tokens: auto (the server if it can), server, estimate
	InputTokens  int     // random: mean prompt length; default 256
	OutputTokens int     // random: mean output length; jsonl: where a line has none; default 64
	RangeRatio   float64 // random, in [0, 1), default 0.2: lengths are uniform in [floor(L(1-r)), ceil(L(1+r))]
	PrefixTokens int     // random: tokens that all prompts of a point begin with, before their own; default 0
}

// SLO is the objectives.
type SLO struct {
	TTFT   time.Duration
	TPOT   time.Duration
	Target float64 // share in (0, 1]
}

// Sweep is the axes.
type Sweep struct {
	Modes   []string
	QPS     []float64
	Repeat  int
	Order   string // of measuring: blocks (at random within each repeat, the default), as_written
	Axes    []Axis // other axes, in the order of the spec
	Exclude []string
}

// Axis is a dotted path of the spec and the values it takes. Mode is set if
// it multiplies one mode only ("modes.X...."), and "" otherwise.
type Axis struct {
	Path   string
	Mode   string
	Values []any
}

// Reuse is what a stored measurement must be to be used again.
type Reuse struct {
	MaxAge time.Duration // 0: any age
}

// Stage is one entry of stages: a kind of node of the DAG.
type Stage struct {
	Name  string
	Uses  string   // deploy, warmup, load, collect, analyze, plot, command
	Needs []string // names of stages; deploy, warmup and load may need commands besides their default
	Per   string   // point, mode, run

	// Exactly the one that Uses names is set.
	Deploy  *DeployStage
	Warmup  *WarmupStage
	Load    *LoadStage
	Collect *CollectStage
	Analyze *AnalyzeStage
	Plot    *PlotStage
	Command *CommandStage
}

// DeployStage is how deployments are started.
type DeployStage struct {
	ReadyTimeout time.Duration
	Restarts     int // how often a deployment that died may be started anew, at most
}

// WarmupStage is a short load before the first point of a deployment.
type WarmupStage struct {
	Requests int // 0: no warm-up
}

// LoadStage is how points are measured.
type LoadStage struct {
	Timeout       time.Duration // of one request
	Cooldown      time.Duration // between points, at least
	CooldownLimit time.Duration // and at most, while requests are still queued; not less than Cooldown
	Retries       int           // how often a point that came out unusable is measured again, at most
	SideBySide    bool          // deployments may be loaded at the same time

	Transport       string   // auto (the best that goes with the address and the system), epoll, net/http
	Loops           int      // event loops of epoll, each on a core; 0: as many as the rate needs
	SourceAddresses []string // local IP addresses that connections go out from, in turn; nil: the system chooses
}

// CollectStage is what is stored of a point.
type CollectStage struct {
	ServerMetrics time.Duration // interval of reading /metrics; 0: not read
	Formats       []string      // parquet
}

// AnalyzeStage is one analysis of the samples; what it does not say it takes
// from the experiment.
type AnalyzeStage struct {
	SLO       SLO
	SLOScales []float64
	ScaleRate *float64
	Window    Window
}

// Window is the part of each point's schedule whose requests are analyzed.
// What is scheduled before From or from To on is left out. The zero value is
// all of it.
type Window struct{ From, To Edge }

// Edge is an instant of a point, as a duration after its first scheduled
// request (At) or as a share of the span of its schedule (Share, in [0, 1]).
// One of the two is 0.
type Edge struct {
	At    time.Duration
	Share float64
	Set   bool // false: the beginning or the end of the point
}

// PlotStage draws the figures of one analysis.
type PlotStage struct {
	Formats []string // pdf, svg, png
	Dir     string   // as it was said, so relative to the working folder; "": plots/ of the run for the stage plot, plots/NAME for another
}

// CommandStage is the user's own step: sh -c Run in a folder of its own.
type CommandStage struct {
	Run     string
	Inputs  []string          // files, absolute; their content enters the key
	Outputs []string          // files that must exist afterwards, relative to the step's folder
	Env     map[string]string // see Reveal
	Timeout time.Duration     // 0: none
}

// Figure is one drawing.
type Figure struct {
	File   string // base name without extension
	Kind   string // attainment, comparison
	For    string // "mode": one drawing for each mode; "": one of all series
	Title  string
	Only   string   // both (default), ttft, tpot: which reading a comparison shows
	PerGPU bool     // x axis is rate / GPUs
	Series []string // axes that tell series apart; default: all but qps and repeat
	Where  string   // expr that a series must satisfy
	Xs     string   // "shared" (default): a comparison shows the rates that all modes share; "separate": each its own
}

// Point is one load point of the sweep.
type Point struct {
	Axes   []AxisValue // every axis of the run in order: mode, the others, qps, repeat
	Mode   string
	QPS    float64
	Repeat int
	// Config is the experiment with this combination of the other axes
	// applied. Points of the same combination share one value.
	Config *Experiment
}

// AxisValue is one coordinate. Set is false where the axis belongs to another
// mode.
type AxisValue struct {
	Name  string
	Value string // numbers without trailing zeros, lists and mappings as JSON
	Set   bool
}
