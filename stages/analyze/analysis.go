// Package analyze judges measured requests: attainment of the SLOs against
// request rate and SLO scale, crossings of the target, capacity, intervals.
//
// It is pure: tables in, one Analysis out, no disk, no clock, no network.
// Steps: group points into series (series.go), leave out the requests outside
// the window (window.go), score what is left of each table from its sorted
// samples (score.go), pool repeats and attach intervals (curve.go,
// interval.go), walk the curves for crossings and capacity (crossing.go). The
// rows of a point are let go once they are scored, so that those of one are in
// memory at a time. What it returns is what analysis.json holds (json.go,
// csv.go) and what plot draws. Its neighbours are collect, which reads the
// tables, and plot.
package analyze

import "vbp/stages/sample"

// Schema names the layout of Analysis in JSON.
const Schema = "vbp.analysis/v1"

// Point is one measured load point, as analyze receives it.
//
// Rows are the Table's, or, if Read is set, what Read returns: then Table
// holds the Meta and no rows, and Analyze reads them when it comes to the
// point, once, and lets go of them. Only their Outcome, Error, TTFT, TPOT, E2E,
// OutputTokens, Scheduled and Sent are looked at.
type Point struct {
	Table   *sample.Table // its Meta carries the axes, rate, repeat, GPUs and configuration
	Read    func() (*sample.Table, error)
	Valid   bool
	Reason  string // why it is not valid: the rule that failed
	Missing bool   // no record could be made (infrastructure): Table holds Meta and no rows

	Attempts int // that were made at it; 0: not known
	Rejected int // of them, those that broke a rule

	count *Count // where Analyze counts its requests
}

// Params is what is asked of the samples.
//
// Objectives are compared without any tolerance, so an objective that people
// write in milliseconds must arrive as the division ms/1000 (or a Duration as
// float64(d)/1e9): that is the double nearest to the decimal number, which is
// also what a reader makes of "0.125" in a file, so that equality holds.
type Params struct {
	TTFT      float64   // s; 0 or +Inf: no objective
	TPOT      float64   // s; likewise
	Target    float64   // share in (0, 1]
	Scales    []float64 // SLO scales to score, above 0, in any order
	ScaleRate float64   // rate of the scale panel, in the unit of Rate.QPS; NaN: the median common rate, the lower if even
	PerGPU    bool      // x is rate / GPUs
	Series    []string  // axes that tell series apart; nil: all but qps and repeat. Points that differ in others only pool as repeats
	Window    Window    // requests that count; zero: all
}

// Analysis is the whole answer. Shares are in [0, 1]; an absent number is
// null in JSON.
type Analysis struct {
	Schema   string    `json:"schema"`
	SLO      SLO       `json:"slo"`
	PerGPU   bool      `json:"per_gpu,omitempty"`
	Window   Window    `json:"window,omitzero"`    // edges as people write them, such as {"from": "30s", "to": "90%"}; left out: every request counts
	Windowed *Windowed `json:"windowed,omitempty"` // null without a window
	Series   []Series  `json:"series"`
	Warnings []string  `json:"warnings,omitempty"`

	// Counts are what Analyze saw of each point, in the order in which it was
	// given them; they are not stored.
	Counts []Count `json:"-"`
}

// Windowed is what a window makes of the requests of all points.
type Windowed struct {
	Sent    int `json:"sent"`
	LeftOut int `json:"left_out"` // of them
}

// Count is the requests of one point.
type Count struct {
	Sent    int // that count
	Failed  int // of them
	LeftOut int // outside the window

	// How the first of those that failed did: its outcome and what was
	// recorded of it. "" if none did.
	Outcome, Error string
}

// SLO is the objectives that were scored against, in milliseconds as people
// write them; 0 means none.
type SLO struct {
	TTFT   float64 `json:"ttft_ms"`
	TPOT   float64 `json:"tpot_ms"`
	Target float64 `json:"target"`
}

// Series is one combination of all axes but qps and repeat.
type Series struct {
	Name      string            `json:"name"`              // values of the labels in which series differ, joined by ", "
	Labels    map[string]string `json:"labels"`            // axis -> value; an axis that does not apply is left out
	GPUs      int               `json:"gpus,omitempty"`    // accelerators; 0, and left out, if not known
	Config    Config            `json:"config"`            // of all its points; values that differ are joined by " | "
	Rates     []Rate            `json:"rates"`             // in order of rate
	Missing   []float64         `json:"missing,omitempty"` // rates of the sweep at which nothing could be measured, ascending
	Scales    Scales            `json:"scales"`
	Crossings Crossings         `json:"crossings"`
	Capacity  Capacities        `json:"capacity"`
}

// Shares is one number for each reading of the objectives.
type Shares struct {
	Both float64 `json:"both"`
	TTFT float64 `json:"ttft"` // TTFT only
	TPOT float64 `json:"tpot"` // TPOT only
}

// Rate is everything measured at one request rate.
type Rate struct {
	QPS     float64 `json:"qps"` // requests per second; per GPU if the analysis is
	Repeats int     `json:"repeats"`
	Sent    int     `json:"sent"` // in the window, as all that follows
	Failed  int     `json:"failed"`
	LeftOut int     `json:"left_out,omitempty"` // sent, but not in the window
	Shares
	CI95         Intervals `json:"ci95"`
	Latency      Latency   `json:"latency_s"`
	OutputTokens *float64  `json:"output_tokens_per_s"` // null if the span or the counts are not known
	Valid        bool      `json:"valid"`               // at least one repeat was valid (then only those are pooled)
	Reason       string    `json:"reason,omitempty"`    // why it is not
	Each         []Repeat  `json:"each"`

	// SentQPS is the rate that was sent on average where it was not QPS:
	// max_concurrency held requests back, or arrivals were a ramp to it. Null
	// where it was. Such a rate is no part of crossings and capacity.
	SentQPS *float64 `json:"sent_qps,omitempty"`
}

// Intervals are 95 % intervals of the shares: low, high.
type Intervals struct {
	Both [2]float64 `json:"both"`
	TTFT [2]float64 `json:"ttft"`
	TPOT [2]float64 `json:"tpot"`
}

// Latency holds percentiles over the requests that succeeded.
type Latency struct {
	TTFT Percentiles `json:"ttft"`
	TPOT Percentiles `json:"tpot"`
}

// Percentiles are in seconds; null if no request has the value.
type Percentiles struct {
	P50 *float64 `json:"p50"`
	P90 *float64 `json:"p90"`
	P99 *float64 `json:"p99"`
}

// Repeat is one measured point behind a Rate. One of which no record could be
// made has Sent 0.
type Repeat struct {
	Repeat  int `json:"repeat"`
	Sent    int `json:"sent"`
	Failed  int `json:"failed"`
	LeftOut int `json:"left_out,omitempty"`
	Shares
	Valid  bool   `json:"valid"`
	Reason string `json:"reason,omitempty"`

	Attempts int `json:"attempts,omitempty"` // that were made, if more than one
	Rejected int `json:"rejected,omitempty"` // of them, those that broke a rule
}

// Config is the configuration of a series. In JSON a value that is a plain
// number appears as one.
type Config map[string]string

// Scales is attainment against SLO scale at one rate.
type Scales struct {
	QPS    *float64     `json:"qps"` // null if there is no such rate in the series
	Points []ScalePoint `json:"points"`
}

// ScalePoint is attainment with both SLOs multiplied by Scale.
type ScalePoint struct {
	Scale float64 `json:"scale"`
	Shares
}

// Crossings holds every crossing of the target in x order.
type Crossings struct {
	Rate  Marks `json:"rate"`
	Scale Marks `json:"scale"`
}

// Marks are x values for each reading of the objectives; empty, never null.
type Marks struct {
	Both []float64 `json:"both"`
	TTFT []float64 `json:"ttft"`
	TPOT []float64 `json:"tpot"`
}

// Capacities is the capacity for each reading of the objectives.
type Capacities struct {
	Both Capacity `json:"both"`
	TTFT Capacity `json:"ttft"`
	TPOT Capacity `json:"tpot"`
}

// Bounds of a Capacity.
const (
	Exact   = "exact"    // the curve falls through the target at Value
	AtLeast = "at_least" // the curve reaches the target and never falls below it again: Value is its last rate
	None    = "none"     // the curve never reaches the target: Value is null
	Unknown = "unknown"  // nothing could be measured: Value is null
)

// Capacity is the largest rate at which the curve passes the target
// downwards.
type Capacity struct {
	Value *float64 `json:"value"`
	Bound string   `json:"bound"`
}
