package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// service is the lifetime of one deployment.
type service struct {
	i           int
	users       int   // measurements not settled that run or may run on it
	conditional []int // of them, those that are reused unless the environment differs
	active      int   // effects and measurements at work on it
	handle      Handle
	begun       time.Time
	granted     map[string][]string
	ending      bool
}

// start brings a service up in a goroutine of its own.
func (x *executor) start(ctx context.Context, i int, granted map[string][]string) {
	n, s := x.g.Nodes[i], x.services[i]
	rt := x.runtime(i, granted)
	s.granted = granted
	asked := x.o.Now()
	go func() {
		var h Handle
		var env map[string]string
		err := guarded(func() (err error) {
			if h, err = n.Start(ctx, n.Input, rt); err != nil {
				return err
			}
			if h == nil {
				return errors.New("its start returned nothing that could be stopped")
			}
			env = h.Environment()
			return nil
		})
		interrupted := ctx.Err() != nil
		var left error // what it could not clean up
		if err != nil && h != nil {
			left = x.end(h)
		}
		x.done <- func() {
			if err != nil {
				if left != nil {
					x.fail(fmt.Errorf("%s did not stop: %w", n.ID, left))
				} else {
					x.claims.give(n, granted)
				}
				x.settle(i, ended(err, interrupted))
				return
			}
			s.handle, s.begun = h, x.o.Now()
			x.up[i] = s
			data, _ := json.Marshal(env) // a map of strings
			x.journal(history.Record{Kind: history.ServiceStarted, Node: n.ID, Data: data})
			x.emit(Event{Kind: Started, Node: n, Took: s.begun.Sub(asked), Data: h})
			x.confirm(s, env)
			x.settle(i, Result{State: StateDone})
		}
	}()
}

// confirm decides again about the measurements that are to be reused beside
// service s, now that its environment is known.
func (x *executor) confirm(s *service, env map[string]string) {
	pl := planner{
		g: x.g, store: x.o.Store, observed: true,
		o:     PlanOptions{Now: x.o.Now(), Environment: map[string]map[string]string{x.g.Nodes[s.i].ID: env}},
		twins: twinsOf(x.g, func(i int) cache.Key { return x.decisions[i].Key }),
		taken: make(map[string]bool),
	}
	for _, d := range x.decisions {
		if d.Node.Kind == Measurement && d.Action == Reuse {
			pl.taken[d.Artefact.Dir] = true
		}
	}
	for _, i := range s.conditional { // these choose again
		delete(pl.taken, x.decisions[i].Artefact.Dir)
	}
	for _, i := range s.conditional {
		d := &x.decisions[i]
		if err := pl.decide(d, nil); err != nil {
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
			took := x.o.Now().Sub(s.begun)
			rec := history.Record{Kind: history.ServiceStopped, Node: n.ID, Seconds: took.Seconds()}
			if err != nil {
				// What it uses is not given back: something may still hold it.
				rec.Error = err.Error()
				x.fail(fmt.Errorf("%s did not stop: %w", n.ID, err))
			} else {
				x.claims.give(n, s.granted)
			}
			x.journal(rec)
			x.emit(Event{Kind: Stopped, Node: n, Took: took, Text: rec.Error})
		}
	}()
}

// end stops what h stands for. The execution's context may be over; the
// service must end all the same.
func (x *executor) end(h Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), x.o.StopTimeout)
	defer cancel()
	return guarded(func() error { return h.Stop(ctx) })
}
