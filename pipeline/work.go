package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// work runs one node in a goroutine of its own and publishes what it made.
func (x *executor) work(ctx context.Context, i int, granted map[string][]string) {
	n, d := x.g.Nodes[i], x.decisions[i]
	rt := x.runtime(i, granted)
	begun := x.o.Now()
	s := x.services[x.g.service(i)]
	if s != nil {
		s.active++
	}
	go func() {
		a, err := x.make(ctx, &d, rt, begun)
		interrupted := ctx.Err() != nil
		var placing error
		if a != nil {
			placing = x.place(n, a)
		}
		x.done <- func() {
			x.claims.give(n, granted)
			if s != nil {
				s.active--
			}
			if err = cmp.Or(err, placing); err != nil {
				x.settle(i, ended(err, interrupted))
				return
			}
			took := x.o.Now().Sub(begun)
			rec := history.Record{Kind: history.NodeDone, Node: n.ID, Key: string(d.Key), Seconds: took.Seconds()}
			r := Result{State: StateDone, Artefact: a}
			if a != nil {
				rec.Attempt, rec.Digest = a.Attempt, a.Digest
				r.Verdict = verdict(n, a)
			}
			x.journal(rec)
			x.emit(Event{Kind: Done, Node: n, Took: took, Data: r})
			x.settle(i, r)
		}
	}()
}

// ended is the Result of work that returned an error. Once the execution is
// interrupted, whatever error comes back is taken for its echo.
func ended(err error, interrupted bool) Result {
	if interrupted {
		return Result{State: StateStopped, Err: err}
	}
	return Result{State: StateFailed, Err: err}
}

// make does the work of a node: effects leave nothing, other nodes fill a
// draft that is published if they succeed.
func (x *executor) make(ctx context.Context, d *Decision, rt *Runtime, begun time.Time) (*cache.Artefact, error) {
	n := d.Node
	if n.Kind == Effect {
		return nil, guarded(func() error { return n.Work(ctx, n.Input, rt) })
	}
	draft, err := x.o.Store.Draft()
	if err != nil {
		return nil, err
	}
	rt.Dir = draft.Dir
	err = guarded(func() error {
		if n.Kind == Measurement && rt.Service != nil {
			if err := rt.Service.Check(ctx); err != nil {
				return err
			}
		}
		return n.Work(ctx, n.Input, rt)
	})
	if err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	a, err := x.publish(draft, d, rt, begun)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot keep the result of %s: %w", n.ID, err), draft.Discard())
	}
	return a, nil
}

func (x *executor) publish(draft *cache.Draft, d *Decision, rt *Runtime, begun time.Time) (*cache.Artefact, error) {
	m := cache.Manifest{
		Key: d.Key, Slot: x.g.slot(d.Node), Input: d.behind,
		Created: begun, Seconds: x.o.Now().Sub(begun).Seconds(),
	}
	if d.Node.Kind == Measurement {
		m.Attempt = rt.Attempt
	}
	var err error
	if m.Note, err = json.Marshal(rt.record); err != nil {
		return nil, err
	}
	return draft.Publish(m)
}

func (x *executor) runtime(i int, granted map[string][]string) *Runtime {
	n := x.g.Nodes[i]
	rt := &Runtime{
		Needs: make(map[string]string), Granted: granted, RunDir: x.o.RunDir,
		Attempt: cache.NewAttempt(x.o.Now()), Now: x.o.Now,
		Emit: func(e Event) {
			e.Kind, e.Node = Progress, n
			x.emit(e)
		},
	}
	for _, id := range n.Needs {
		if a := x.results[x.g.index[id]].Artefact; a != nil {
			rt.Needs[id] = a.Dir
		}
	}
	if s := x.services[x.g.service(i)]; s != nil {
		rt.Service = s.handle
	}
	return rt
}

// guarded turns a panic of a node's work into its error: one broken node must
// not take the measurements of others with it.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
