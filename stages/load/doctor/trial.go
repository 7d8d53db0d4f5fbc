package doctor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"vbp/stages/load"
	"vbp/stages/load/metronome"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// trial is one point against a metronome.
type trial struct {
	pace     metronome.Pace
	rate     float64 // requests per second; 0: all at once
	requests int
	prompt   int // tokens of each prompt, some six bytes each
}

// length is how long an answer takes.
func (t trial) length() time.Duration {
	segments := (t.pace.Tokens + t.pace.Events - 1) / t.pace.Events
	return t.pace.First + time.Duration(segments-1)*t.pace.Gap
}

// arrivals is a Poisson process: exponential gaps of mean 1/rate.
func (t trial) arrivals() []time.Duration {
	at := make([]time.Duration, t.requests)
	if t.rate == 0 {
		return at
	}
	r := rand.New(rand.NewPCG(1, uint64(t.requests)))
	sum := 0.0
	for i := range at {
		sum += r.ExpFloat64()
		at[i] = time.Duration(sum / t.rate * float64(time.Second))
	}
	return at
}

// same is a number of prompts that are all one: a metronome does not look at
// them.
type same struct {
	prompt workload.Prompt
	n      int
}

func (s same) Len() int                   { return s.n }
func (s same) Prompt(int) workload.Prompt { return s.prompt }
func (s same) MaxTokens(int) int          { return s.prompt.MaxTokens }
func (s same) TokenIDs() bool             { return true }

func (t trial) prompts() workload.Prompts {
	p := workload.Prompt{IDs: make([]int32, t.prompt), MaxTokens: t.pace.Tokens, PromptTokens: t.prompt}
	for i := range p.IDs {
		p.IDs[i] = 10_000 + int32(i)
	}
	return same{p, t.requests}
}

// taken is what the client's side knows of a trial.
type taken struct {
	Table  *sample.Table // without gaps
	Client string        // protocol of the transport
	CPU    time.Duration // that the process used, user and system; 0: not known
	Allocs uint64        // of memory, in this process
}

// drive runs the client of a trial.
func (t trial) drive(ctx context.Context, url string, transport load.Transport) (*taken, error) {
	config := load.Config{
		Target: load.Target{URL: url, Model: "metronome"}, API: load.Completions,
		Prompts: t.prompts(), Arrivals: t.arrivals(), Timeout: time.Minute, IDPrefix: "doctor",
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used, _ := load.CPUTime()
	table, err := load.Run(ctx, config, transport, nil)
	then, _ := load.CPUTime()
	runtime.ReadMemStats(&after)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	clear(table.Gaps)
	return &taken{Table: table, Client: transport.Protocol(), CPU: then - used, Allocs: after.Mallocs - before.Mallocs}, nil
}
