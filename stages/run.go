package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/deploy/local"
	"vbp/stages/runs"
)

// ApplyOptions are how an apply goes about it, and what it tells whoever
// watches.
type ApplyOptions struct {
	PlanChoices
	Wait      bool          // for another apply of the same name; else it is an error
	Budget    time.Duration // no point is begun when it is spent; 0: no limit
	KeepGoing KeepGoing
	Command   string // the command line, for the journal
	Emit      func(pipeline.Event)
	OnPlan    func(p *pipeline.Plan, runDir string) // before anything is done; runDir is "" if nothing is to do
	Notice    func(string)

	note json.RawMessage // of the journal's beginning: see rerunNote
}

// PlanChoices are what a user wants to be different from what the store says.
type PlanChoices struct {
	CheckEnvironment bool     // deploy even if all is reused, to compare what is then observed
	Only             []string // stages that may run; none: all
	Rerun            []string // stages, or points by their axes, that run though they have a result
}

// KeepGoing is what a failure stops.
type KeepGoing int

// Values of KeepGoing.
const (
	// KeepGoingAuto goes on with other points and deployments, but does not
	// try again in a later block to start what could not be started.
	KeepGoingAuto KeepGoing = iota
	// KeepGoingAlways tries that too.
	KeepGoingAlways
	// KeepGoingNever begins no point and no deployment after the first
	// failure.
	KeepGoingNever
)

// Applied is what an apply did.
type Applied struct {
	RunDir string // where the results are: a new folder, or the earlier run's that already held them
	New    bool
	Plan   *pipeline.Plan
	Report *pipeline.Report // nil if nothing was to be done
}

// Tally is what came out of an apply.
type Tally struct {
	Usable    int // points that were loaded to their end, with at least one answered request
	Lost      int // points without
	Left      int // points that the budget left no time for, or that show an earlier result and were to be made again
	Invalid   int // of Usable: points that broke a rule of valid
	LostSteps int // other nodes that failed by themselves
}

// Tally counts what came out. What was left out by wish does not count.
func (a *Applied) Tally() Tally {
	var t Tally
	if a.Report == nil {
		t.Usable = a.planned()
		return t
	}
	for _, r := range a.Report.Results {
		switch {
		case r.State == pipeline.StateLeft:
		case r.NotMade:
			t.Left++
		case r.Node.Kind == pipeline.Measurement && r.State == pipeline.StateReused && r.Verdict.Usable:
			t.Usable++ // nothing of what follows
		case r.Node.Kind == pipeline.Measurement && r.Artefact != nil:
			rec, err := pipeline.RecordOf(r.Artefact)
			switch {
			case err != nil || lost(rec.Facts):
				t.Lost++
			case !r.Verdict.Usable:
				t.Invalid++
				t.Usable++
			default:
				t.Usable++
			}
		case r.Node.Kind == pipeline.Measurement && r.OutOfBudget():
			t.Left++
		case r.Node.Kind == pipeline.Measurement:
			t.Lost++
		case r.State == pipeline.StateFailed:
			t.LostSteps++
		}
	}
	return t
}

// lost reports whether a point with these facts is no result at all: nothing
// was answered, or its server ended before all was asked.
func lost(facts map[string]float64) bool {
	alive, told := facts["healthy_after"]
	return facts["failed"] >= facts["sent"] || facts["sent"] < facts["planned"] || told && alive == 0
}

func (a *Applied) planned() int {
	n := 0
	for _, d := range a.Plan.Decisions {
		if d.Node.Kind == pipeline.Measurement {
			n++
		}
	}
	return n
}

// Locked is the error of an apply of a spec that another process applies.
type Locked struct {
	Name   string
	Holder cache.Holder
}

func (l *Locked) Error() string { return l.what() + "; --wait waits for it to end" }

func (l *Locked) what() string {
	doing := "applied"
	if strings.HasPrefix(l.Holder.What, "prune") {
		doing = "pruned"
	}
	return fmt.Sprintf("%s is being %s by %s", l.Name, doing, l.Holder)
}

// BadPlan is the error of a spec that asks for what cannot be done.
type BadPlan struct{ Err error }

func (b *BadPlan) Error() string { return b.Err.Error() }

// Unwrap returns what is wrong.
func (b *BadPlan) Unwrap() error { return b.Err }

// PlanOf says what Apply would do, without doing or writing anything.
func PlanOf(ctx context.Context, exp *specs.Experiment, site *Site, o PlanChoices) (*pipeline.Plan, error) {
	g, err := Build(exp, site)
	if err != nil {
		return nil, err
	}
	return plan(ctx, g, cache.At(filepath.Join(site.Results, runs.StoreDir)), exp, site, o, false)
}

// plan decides what is to be done; servers that run already are asked what
// they are.
//
// The collector works harder when the plan of a very large sweep comes near to
// what a small machine has to spare; others do not notice.
func plan(ctx context.Context, g *pipeline.Graph, store *cache.Store, exp *specs.Experiment, site *Site, o PlanChoices, hold bool) (*pipeline.Plan, error) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(planMemory))
	only, err := chooseNodes(g, onlyFlag, o.Only)
	if err != nil {
		return nil, &BadPlan{err}
	}
	rerun, err := chooseNodes(g, rerunFlag, o.Rerun)
	if err != nil {
		return nil, &BadPlan{err}
	}
	if err := bothChosen(g, o); err != nil {
		return nil, &BadPlan{err}
	}
	known, err := knownEnvironments(ctx, g, exp.Reveal)
	if err != nil {
		return nil, err
	}
	p, err := pipeline.Make(g, store, pipeline.PlanOptions{
		Now: site.Now(), Environment: known, CheckEnvironment: o.CheckEnvironment, Only: only, Hold: hold,
		Rerun: rerun, RerunSince: rerunSince(filepath.Join(site.Results, runs.FileName(exp.Name)), o.Rerun, site.Now()),
	})
	if err != nil {
		return nil, err
	}
	if err := chosenCanRun(p, only); err != nil {
		return nil, &BadPlan{err}
	}
	return p, nil
}

// planMemory is enough for the plan of 100,000 points.
const planMemory = 256 << 20

// Apply plans the experiment and does what the plan says, in a run folder of
// its own. If everything is there already, it makes none and returns the
// earlier run's. Errors about nodes are in the report; an error here is one
// of the whole.
func Apply(ctx context.Context, exp *specs.Experiment, site *Site, o ApplyOptions) (a *Applied, err error) {
	g, err := Build(exp, site)
	if err != nil {
		return nil, &BadPlan{err} // before anything is written
	}
	store, err := cache.Open(filepath.Join(site.Results, runs.StoreDir))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	lock, err := lockExperiment(ctx, exp.Name, store, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	begun := site.Now() // of the budget: not of the wait for another apply
	killed, err := local.Reap(site.stateDir())
	if err != nil {
		return nil, fmt.Errorf("looking for servers that an earlier apply left: %w%s", err, cache.Hint(err))
	}
	for _, k := range killed {
		o.Notice("ended a server that an earlier apply left: " + k)
	}

	p, err := plan(ctx, g, store, exp, site, o.PlanChoices, true)
	if err != nil {
		return nil, err
	}
	if needsSecrets(p) {
		if err := exp.CheckSecrets(); err != nil {
			return nil, &BadPlan{err}
		}
	}
	a = &Applied{Plan: p}
	base := filepath.Join(site.Results, runs.FileName(exp.Name))
	if p.Todo() == 0 && !startsServices(p) {
		if dir := findRun(base, p); dir != "" {
			a.RunDir = dir
			o.OnPlan(p, "")
			return a, nil
		}
	}
	if len(o.Rerun) > 0 {
		if o.note, err = json.Marshal(rerunNote{o.Rerun, rerunSince(base, o.Rerun, begun)}); err != nil {
			return nil, err
		}
	}
	if a.RunDir, err = newRunDir(base, site.Now()); err != nil {
		return nil, err
	}
	a.New = true
	if err := cache.WriteFile(filepath.Join(a.RunDir, runs.SpecFile), exp.Resolved); err != nil {
		return a, err
	}
	o.OnPlan(p, a.RunDir)
	err = execute(ctx, a, store, site, o, begun)
	return a, err
}

// lockExperiment lets one process apply an experiment at a time.
func lockExperiment(ctx context.Context, name string, store *cache.Store, o ApplyOptions) (*cache.Lock, error) {
	path := runs.Lock(store.Root(), runs.FileName(name))
	if o.Wait {
		return cache.WaitLock(ctx, path, "apply "+name, func(h cache.Holder) {
			o.Notice("waiting: " + (&Locked{name, h}).what())
		})
	}
	lock, holder, err := cache.TryLock(path, "apply "+name)
	if err == nil && lock == nil {
		err = &Locked{name, holder}
	}
	return lock, err
}

func execute(ctx context.Context, a *Applied, store *cache.Store, site *Site, o ApplyOptions, begun time.Time) (err error) {
	journal, err := history.Create(filepath.Join(a.RunDir, history.FileName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if err := journal.Append(history.Record{At: site.Now(), Kind: history.RunBegun, Text: o.Command, Data: o.note}); err != nil {
		return err
	}
	x := pipeline.ExecuteOptions{
		Store: store, Journal: journal, RunDir: a.RunDir, Workers: runtime.GOMAXPROCS(0), Now: site.Now, Emit: o.Emit,
		FailFast: o.KeepGoing == KeepGoingNever, RetryStarts: o.KeepGoing == KeepGoingAlways,
	}
	x.Lease = newLeases("", a.Plan.Graph, "apply "+a.Plan.Graph.Scope).lease
	if o.Budget > 0 {
		x.Deadline = begun.Add(o.Budget)
	}
	a.Report, err = pipeline.Execute(ctx, a.Plan, x)
	if err != nil {
		return err
	}
	end := history.Record{At: site.Now(), Kind: history.RunDone, Text: a.state(), Fingerprint: a.Report.Fingerprint}
	if a.Report.OutOfBudget {
		end.Data = json.RawMessage(cutShort)
	}
	return journal.Append(end)
}

func (a *Applied) state() string {
	t := a.Tally()
	switch {
	case a.Report != nil && a.Report.Interrupted:
		return runs.Interrupted
	case t.Usable == 0 && t.Lost+t.Left > 0:
		return runs.Empty
	case t.Lost+t.LostSteps+t.Left > 0 || a.cut():
		return runs.Partial
	}
	return runs.Complete
}

// startsServices reports whether a plan starts servers, or asks some that run
// already.
func startsServices(p *pipeline.Plan) bool {
	return slices.ContainsFunc(p.Decisions, func(d pipeline.Decision) bool {
		return d.Node.Kind == pipeline.Service && d.Action == pipeline.Run
	})
}

// cut reports whether something was left out by wish.
func (a *Applied) cut() bool {
	return a.Report != nil && slices.ContainsFunc(a.Report.Results, func(r pipeline.Result) bool { return r.State == pipeline.StateLeft })
}

// needsSecrets reports whether something is to run that is given secrets: a
// server, or a command that names one.
func needsSecrets(p *pipeline.Plan) bool {
	return startsServices(p) || slices.ContainsFunc(p.Decisions, func(d pipeline.Decision) bool {
		return d.Node.Stage == "command" && d.Action != pipeline.Reuse && bytes.Contains(d.Node.Input.JSON(), []byte("${secret:"))
	})
}
