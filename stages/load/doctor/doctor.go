// Package doctor says what this machine can vouch for as a client: up to what
// rate and how many streams its measurements are right, and what stands in the
// way of more.
//
// Steps: look at the machine (machine.go, and for Linux machine_linux.go and
// stamp_linux.go); run each transport of load against a metronome, in a process
// of its own, at rates that rise until what it measures is further from what
// the metronome knows than it may be (trial.go, reading.go, ladder.go); say
// what was found and the commands that raise the limits (finding.go).
//
// Neighbours: load, which is what is examined, and load/metronome. Cmd prints
// the report. The benchmark of load is here too (bench_test.go), since it runs
// the same trials with more care.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"vbp/stages/load"
	"vbp/stages/load/metronome"
)

// Options is one examination.
type Options struct {
	// Clients are the transports to examine, the best one first.
	Clients []Client
	// Server returns a command that calls metronome.RunChild.
	Server func() *exec.Cmd
	// Within is how wrong a client may be: the 99th percentile of the errors
	// of TTFT and of lateness. The median may be a tenth of it, and the 99th
	// percentile of the error of TPOT a fiftieth. 0 is 5 ms.
	Within time.Duration
	// Quick takes fewer and shorter looks, and none at many streams: 5 s in
	// all, not 20.
	Quick bool
	// Progress, if it is not nil, is told what is done next.
	Progress func(what string)
}

// Client is a transport and what people call it.
type Client struct {
	Name      string
	Transport load.Transport
}

// defaultWithin is well below what people decide by: a TTFT objective is
// seldom under 100 ms.
const defaultWithin = 5 * time.Millisecond

// Report is what was found.
type Report struct {
	Schema   string    `json:"schema"`
	Machine  Machine   `json:"machine"`
	Bounds   Bounds    `json:"bounds"`
	Clients  []Vouched `json:"clients"`
	Findings []Finding `json:"findings"`
}

// Schema names the form of a report as JSON.
const Schema = "vbp.doctor/v1"

// Fit says whether at least one client can be trusted at the lowest rate.
func (r *Report) Fit() bool {
	for _, c := range r.Clients {
		if c.Rate > 0 {
			return true
		}
	}
	return false
}

// Examine measures this machine. It takes as long as Options says, and needs a
// machine that does nothing else meanwhile; if it does, the report tells. The
// error is about the examination, such as a metronome that cannot be started;
// a client that fails is told in the report.
func Examine(ctx context.Context, o Options) (*Report, error) {
	if len(o.Clients) == 0 || o.Server == nil {
		return nil, errors.New("doctor: no client or no server to examine it with")
	}
	if o.Within < 0 {
		return nil, fmt.Errorf("doctor: an error within %v; it must be above 0", o.Within)
	}
	if o.Within == 0 {
		o.Within = defaultWithin
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := &Report{Schema: Schema, Bounds: boundsOf(o.Within)}
	o.Progress("looking at the machine")
	r.Machine = lookAt(ctx, o.Quick)

	budget := 17 * time.Second
	if o.Quick {
		budget = 4 * time.Second
	}
	// The first, which can do most, has more than the others, and what one
	// does not need the next ones have.
	end, share := time.Now().Add(budget), budget*10/time.Duration(10*len(o.Clients)+8)
	l := ladder{bounds: r.Bounds, machine: &r.Machine, quick: o.Quick, progress: o.Progress}
	for i, c := range o.Clients {
		// Fresh for each, so that no client inherits the connections or the
		// memory of another's server.
		server, err := metronome.StartChild(o.Server(), metronome.Config{
			Pace: metronome.Pace{Tokens: 1, Events: 1}, Requests: 1 << 14,
		})
		if err != nil {
			return nil, err
		}
		v := l.climb(ctx, c, server, end.Add(-time.Duration(len(o.Clients)-1-i)*share))
		if err := errors.Join(ctx.Err(), server.Close()); err != nil {
			return nil, fmt.Errorf("doctor: %w", err)
		}
		r.Clients = append(r.Clients, v)
	}
	r.Findings = findings(r)
	return r, nil
}
