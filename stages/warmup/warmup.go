// Package warmup sends a short load before the first measured point of a
// deployment, so that what servers do only once (compiling kernels, growing
// pools, opening connections between prefill and decode instances) is not
// measured.
//
// Steps: make prompts that no dataset holds, send them through load's own
// generator, report what came back and how fast (pace.go: by which a server
// that was started again is compared with itself before). Warm-up is an effect
// and not a judgement: a server that fails every request still gets its
// points, which then say so. The neighbour below is load.
package warmup

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"vbp/stages/load"
	"vbp/stages/load/seed"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// Prefix begins every warm-up prompt. Measured prompts share no prefix block
// with warm-up prompts unless somebody's dataset begins this way.
const Prefix = "[vbp warm-up "

// spacing lies between requests after the first burst: short against the time
// of an answer, so that batches of several sizes form.
const spacing = 20 * time.Millisecond

// Lengths of a warm-up request: a few blocks of prompt, and enough tokens for
// decoding to reach its steady state.
const (
	promptWords  = 96
	outputTokens = 16
)

// Options says how to warm up.
type Options struct {
	Requests  int            // at least this many are sent; 0 with MinConcurrent 0: none
	API       string         // as of the measured load
	IgnoreEOS bool           // likewise
	Body      map[string]any // likewise
	Timeout   time.Duration  // of one request
	Seed      int64          // of the prompts

	// MinConcurrent requests are sent at one instant first, and Requests is
	// raised to it: behind a proxy that goes round its instances, as many as
	// it has of one role reach every one of them.
	MinConcurrent int
	// IDPrefix begins request ids; "": "warmup". It should differ between
	// warm-ups of one deployment.
	IDPrefix string
	// Transport sends; nil: net/http.
	Transport load.Transport
}

// Report says what came of a warm-up.
type Report struct {
	Sent     int
	Failed   int
	TimedOut int           // of Failed: no complete answer within Options.Timeout
	Error    string        // of the first request that failed; "" if none did
	Took     time.Duration // wall time
	// Instances are those that a proxy named as having served, sorted; empty
	// where nobody tells.
	Instances []string
	Pace      Pace // of the requests that were answered
}

// String is the report in a few words.
func (r Report) String() string {
	s := fmt.Sprintf("%d requests in %v", r.Sent, r.Took.Round(time.Millisecond))
	if r.Failed > 0 {
		s += fmt.Sprintf(", %d failed: %s", r.Failed, r.Error)
	}
	return s
}

// Run warms target up. Requests that fail are counted in the report; the error
// is ctx's, with the report of what had ended, or that of options which load
// refuses. Equal options send equal prompts at equal intervals.
func Run(ctx context.Context, target load.Target, o Options) (Report, error) {
	n := max(o.Requests, o.MinConcurrent, 0)
	if n == 0 {
		return Report{}, ctx.Err()
	}
	c := load.Config{
		Target: target, API: o.API, Timeout: o.Timeout, IgnoreEOS: o.IgnoreEOS, Body: o.Body,
		IDPrefix: cmp.Or(o.IDPrefix, "warmup"),
		Prompts:  workload.List(prompts(n, o.Seed)), Arrivals: make([]time.Duration, n),
	}
	for i := max(o.MinConcurrent, 1); i < n; i++ {
		c.Arrivals[i] = c.Arrivals[i-1] + spacing
	}
	transport := o.Transport
	if transport == nil {
		transport = load.NewHTTP()
	}
	table, err := load.Run(ctx, c, transport, nil)
	if table == nil {
		return Report{}, fmt.Errorf("warm-up: %w", err)
	}
	r := Report{
		Sent: table.Len(), Failed: table.Failed(), Took: time.Duration(table.Meta.Length * float64(time.Second)),
		Pace: paceOf(table, o.Timeout.Seconds()),
	}
	instances := map[string]bool{}
	for i := range table.Len() {
		if row := table.Row(i); row.Failed() && r.Error == "" {
			r.Error = row.Error
		}
		if table.Outcome[i] == sample.Timeout {
			r.TimedOut++
		}
		for _, name := range []string{table.Prefill[i], table.Decode[i]} {
			if name != "" {
				instances[name] = true
			}
		}
	}
	r.Instances = slices.Sorted(maps.Keys(instances))
	if err != nil {
		return r, fmt.Errorf("warm-up: %w", err)
	}
	return r, nil
}

// words are what prompts are made of; their sense does not matter.
var words = strings.Fields(`amber basin cedar delta ember fjord grove heron inlet juniper kelp lagoon
	meadow nectar orchid pebble quartz ridge saffron thistle umber valley willow yarrow`)

// prompts makes n texts that differ from the first block on: their number in
// the seed's order stands in front.
func prompts(n int, seed0 int64) []workload.Prompt {
	r := seed.Rand("warmup", seed0, 0)
	out := make([]workload.Prompt, n)
	for i := range out {
		var b strings.Builder
		fmt.Fprintf(&b, "%s%08x-%d]", Prefix, r.Uint32(), i)
		for range promptWords {
			b.WriteByte(' ')
			b.WriteString(words[r.IntN(len(words))])
		}
		out[i] = workload.Prompt{Text: b.String(), MaxTokens: outputTokens, PromptTokens: (b.Len() + 3) / 4}
	}
	return out
}
