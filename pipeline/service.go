package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"vbp/pipeline/history"
)

// service is the lifetime of one deployment.
type service struct {
	i           int
	users       int   // nodes not settled that run or may run on it
	conditional []int // of them, measurements that are reused unless the environment differs
	active      int   // effects and measurements at work on it
	handle      Handle
	environment map[string]string
	begun       time.Time
	ending      bool

	claimed map[string][]string // what the executor took for it
	granted map[string][]string // what its start is told of
	release func() error        // gives back what the whole machine shares; may be nil

	// See restart.go.
	restarts int
	down     bool  // it is being started again
	why      error // it did not work any more
	dead     error // it could not be started again
	parked   []int // nodes that wait for it to be up again
	rewarm   []int // effects that are still to act on it before they may
}

// lease takes what the service needs of this machine, and starts it if it is
// still needed then.
func (x *executor) lease(ctx context.Context, i int, claimed map[string][]string) {
	n, s := x.g.Nodes[i], x.services[i]
	s.claimed, s.granted = claimed, claimed
	if why := x.startedInVain(n); why != "" {
		x.claims.give(n, claimed)
		x.settle(i, Result{State: StateSkipped, Err: errors.New(why)})
		return
	}
	if x.o.Lease == nil {
		x.start(ctx, i)
		return
	}
	x.running++
	go func() {
		granted, release, err := x.o.Lease(x.waits, n, func(text string) {
			x.emit(Event{Kind: Progress, Node: n, Text: text})
		})
		x.done <- func() {
			if err != nil {
				x.claims.give(n, claimed)
				if ctx.Err() == nil && x.halts(i) {
					x.settle(i, Result{State: StateSkipped, Err: errors.New(x.halted)})
				} else {
					x.settle(i, ended(err, ctx.Err() != nil))
				}
				return
			}
			s.granted, s.release = granted, release
			x.leased(ctx, s)
		}
	}()
}

// leased goes on with service s, which has what it needs: others may have
// measured meanwhile what it was to be started for.
func (x *executor) leased(ctx context.Context, s *service) {
	err := x.lookAgain(s)
	if err != nil {
		x.fail(err)
	}
	switch {
	case ctx.Err() != nil || x.fatal != nil: // settled as stopped in the end
		x.giveBack(s)
	case x.halts(s.i):
		x.giveBack(s)
		x.settle(s.i, Result{State: StateSkipped, Err: errors.New(x.halted)})
	case !x.needed(s):
		x.giveBack(s)
		for i := range x.decisions {
			if d := &x.decisions[i]; i == s.i || d.Node.Kind == Effect && x.g.service(i) == s.i {
				d.Action, d.Why = Leave, "not needed any more: another process has measured the same"
			}
		}
		x.settle(s.i, Result{State: StateUnused})
	default:
		x.start(ctx, s.i)
	}
}

// needed reports whether something is to be done on service s.
func (x *executor) needed(s *service) bool {
	if x.p.options.CheckEnvironment || x.p.options.chosen(x.g.Nodes[s.i]) {
		return true
	}
	for i := range x.g.Nodes {
		if x.g.service(i) == s.i && x.g.Nodes[i].Kind == Measurement && x.decisions[i].Action == Run && x.results[i].State == "" {
			return true
		}
	}
	return false
}

// giveBack returns what service s had, which is not up.
func (x *executor) giveBack(s *service) {
	x.claims.give(x.g.Nodes[s.i], s.claimed)
	if s.release != nil {
		if err := s.release(); err != nil {
			x.fail(err)
		}
		s.release = nil
	}
}

// start brings a service up in a goroutine of its own.
func (x *executor) start(ctx context.Context, i int) {
	n, s := x.g.Nodes[i], x.services[i]
	x.began(i)
	x.running++
	k := x.kin[i]
	rt := x.runtime(i, s.granted)
	_, rt.Before = k.shows()
	asked := x.o.Now()
	go func() {
		h, env, err, left := x.bringUp(ctx, n, rt)
		if err == nil {
			if err = k.show(env); err != nil {
				left = x.end(h)
			}
		}
		interrupted := ctx.Err() != nil
		x.done <- func() {
			if err != nil && left == nil && !interrupted && x.fatal == nil && rt.Before && h == nil && s.restarts < n.Restarts && !x.halts(i) {
				// It could be started before: something is in its way.
				s.restarts++
				x.emit(Event{Kind: Failed, Node: n, Text: fmt.Sprintf("could not be started, and is tried again (%d of %d): %v", s.restarts, n.Restarts, err)})
				x.journal(history.Record{Kind: history.NodeAgain, Node: n.ID, Text: "could not be started: " + firstLine(err)})
				x.start(ctx, i)
				return
			}
			if err != nil {
				if left != nil {
					x.fail(fmt.Errorf("%s did not stop: %w", n.ID, left))
				} else {
					x.giveBack(s)
				}
				r := ended(err, interrupted)
				if r.State == StateFailed && !rt.Before {
					x.vain[startKey(n)] = fmt.Sprintf("%s failed: %s", n.ID, firstLine(err))
				}
				x.settle(i, r)
				return
			}
			s.handle, s.environment, s.begun = h, env, x.o.Now()
			x.up[i] = s
			x.started(s, s.begun.Sub(asked), "")
			x.confirm(s, env)
			x.shown(s)
			x.settle(i, Result{State: StateDone})
			if s.users == 0 {
				x.stop(s) // it was only to be looked at
			}
		}
	}()
}

// started tells that service s is up.
func (x *executor) started(s *service, took time.Duration, text string) {
	n := x.g.Nodes[s.i]
	data, _ := json.Marshal(s.environment) // a map of strings
	x.journal(history.Record{Kind: history.ServiceStarted, Node: n.ID, Seconds: took.Seconds(), Text: text, Data: data})
	x.emit(Event{Kind: Started, Node: n, Took: took, Text: text, Data: s.handle})
}

// bringUp starts n and looks at what is there then. After an error nothing is
// up, unless left says what could not be stopped.
func (x *executor) bringUp(ctx context.Context, n *Node, rt *Runtime) (h Handle, env map[string]string, err, left error) {
	err = guarded(func() (err error) {
		if h, err = n.Start(ctx, n.Input, rt); err != nil {
			return err
		}
		if h == nil {
			return errors.New("its start returned nothing that could be stopped")
		}
		env = h.Environment()
		return nil
	})
	if err != nil && h != nil {
		left = x.end(h)
	}
	return h, env, err, left
}

// startKey is equal for services that are started from the same.
func startKey(n *Node) string { return n.Stage + " " + string(n.Input.JSON()) }

// startedInVain says that a service like n could not be started before; ""
// if none was, or it is to be tried all the same.
func (x *executor) startedInVain(n *Node) string {
	if x.o.RetryStarts || len(x.vain) == 0 {
		return ""
	}
	return x.vain[startKey(n)]
}

// chooser decides again about measurements, with what they show now.
func (x *executor) chooser() *planner {
	pl := x.planner()
	for i := range x.decisions {
		if d := &x.decisions[i]; d.Node.Kind == Measurement && d.Action == Reuse && x.twins[d.Key] != nil {
			pl.taken[d.Artefact.Dir] = true
		}
	}
	return pl
}

// lookAgain finds what others have measured since the plan of what is to be
// measured on service s.
func (x *executor) lookAgain(s *service) error {
	pl := x.chooser()
	var err error
	if pl.listing, err = x.o.Store.List(); err != nil {
		return err
	}
	if env, seen := x.kin[s.i].shows(); seen {
		pl.observed, pl.o.Environment = true, map[string]map[string]string{x.g.Nodes[s.i].ID: env}
	}
	for i := range x.decisions {
		d := &x.decisions[i]
		if d.Node.Kind != Measurement || d.Action != Run || x.g.service(i) != s.i || x.results[i].State != "" {
			continue
		}
		if err := pl.decide(d, i, nil); err != nil {
			return err
		}
		if d.Action == Reuse {
			s.conditional = append(s.conditional, i)
		}
	}
	return nil
}

// confirm decides again about the measurements that are to be reused beside
// service s, and beside its parked kin, now that its environment is known.
func (x *executor) confirm(s *service, env map[string]string) {
	pl := x.chooser()
	pl.observed, pl.o.Environment = true, make(map[string]map[string]string)
	var open []int
	for _, j := range append([]int{s.i}, x.kin[s.i].parked...) {
		pl.o.Environment[x.g.Nodes[j].ID] = env
		open = append(open, x.services[j].conditional...)
	}
	for _, i := range open { // these choose again
		if d := &x.decisions[i]; d.Action == Reuse {
			delete(pl.taken, d.Artefact.Dir)
		}
	}
	for _, i := range open {
		d := &x.decisions[i]
		if err := pl.decide(d, i, nil); err != nil {
			x.fail(err)
			return
		}
		if d.Action == Run {
			x.demand(i)
		}
	}
}

// demand makes the effects run that node i stands on and that were left out.
func (x *executor) demand(i int) {
	for _, id := range x.g.Nodes[i].Needs {
		j := x.g.index[id]
		if d := &x.decisions[j]; d.Node.Kind == Effect && d.Action == Leave {
			d.Action, d.Why = Run, "a measurement needs it, for the environment differs"
			x.demand(j)
		}
	}
}

// stop ends a service that is up, unless it is ending. When the execution is
// over, something may still be at work on it; dispatch asks again then. Else
// nothing is: whatever acts on a service comes before a measurement that is
// not settled.
func (x *executor) stop(s *service) {
	if s.handle == nil || s.ending || s.active > 0 {
		return
	}
	s.ending = true
	x.running++
	n, h := x.g.Nodes[s.i], s.handle
	go func() {
		err := x.end(h)
		x.done <- func() {
			delete(x.up, s.i)
			s.handle = nil
			x.stopped(s, "", err)
			if err != nil {
				// What it uses is not given back: something may still hold it.
				x.fail(fmt.Errorf("%s did not stop: %w", n.ID, err))
			} else {
				x.giveBack(s)
			}
		}
	}()
}

// stopped tells that service s is gone, and why if that was not planned: in
// one line to the journal.
func (x *executor) stopped(s *service, why string, err error) {
	n, took := x.g.Nodes[s.i], x.o.Now().Sub(s.begun)
	line, _, _ := strings.Cut(why, "\n")
	rec := history.Record{Kind: history.ServiceStopped, Node: n.ID, Seconds: took.Seconds(), Text: line}
	if err != nil {
		rec.Error = err.Error()
	}
	x.journal(rec)
	x.emit(Event{Kind: Stopped, Node: n, Took: took, Text: cmp.Or(rec.Error, why)})
}

// end stops what h stands for. The execution's context may be over; the
// service must end all the same.
func (x *executor) end(h Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), x.o.StopTimeout)
	defer cancel()
	return guarded(func() error { return h.Stop(ctx) })
}
