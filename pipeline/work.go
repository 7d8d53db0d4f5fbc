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
	s := x.services[x.g.service(i)]
	if s != nil {
		s.active++
		rt.Restarts = s.restarts
	}
	begun := x.o.Now()
	unread := x.unread(n)
	go func() {
		var out attempt
		if n.Kind == Measurement {
			out = x.measure(ctx, &d, rt)
		} else {
			out.artefact, out.err = x.make(ctx, &d, rt, unread)
		}
		var placing error
		if out.artefact != nil {
			placing = x.place(n, out.artefact)
		}
		x.done <- func() {
			x.claims.give(n, granted)
			if s != nil {
				s.active--
				defer x.restart(ctx, s)
			}
			if n.Kind == Measurement {
				x.measured(ctx, i, out, rt, placing)
				return
			}
			if s != nil && s.rewarms(i) {
				if out.err == nil {
					took := x.o.Now().Sub(begun)
					x.journal(history.Record{Kind: history.NodeDone, Node: n.ID, Seconds: took.Seconds()})
					x.emit(Event{Kind: Done, Node: n, Took: took, Data: Result{Node: n, State: StateDone}})
				}
				x.rewarmed(ctx, s, out.err)
				return
			}
			if err := cmp.Or(out.err, placing); err != nil {
				x.settle(i, ended(err, ctx.Err() != nil))
				return
			}
			took := x.o.Now().Sub(begun)
			rec := history.Record{Kind: history.NodeDone, Node: n.ID, Key: string(d.Key), Seconds: took.Seconds()}
			r := Result{State: StateDone, Artefact: out.artefact}
			if r.Artefact != nil {
				rec.Attempt, rec.Digest = r.Artefact.Attempt, r.Artefact.Digest
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

// errNotKept is an error of the store: what else is made would not be kept
// either.
var errNotKept = errors.New("cannot keep the result")

// inVain reports whether an error says that nothing can be kept any more.
func inVain(err error) bool { return errors.Is(err, errNotKept) || cache.NoRoom(err) }

// make does the work of a node: effects leave nothing, other nodes fill a
// draft that is published if they succeed.
func (x *executor) make(ctx context.Context, d *Decision, rt *Runtime, unread []*cache.Artefact) (*cache.Artefact, error) {
	n := d.Node
	if n.Kind == Effect {
		return nil, guarded(func() error { return n.Work(ctx, n.Input, rt) })
	}
	if err := x.intact(unread); err != nil {
		return nil, err
	}
	draft, err := x.o.Store.Draft()
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", errNotKept, n.ID, err)
	}
	rt.Dir = draft.Dir
	begun := x.o.Now()
	if err = guarded(func() error { return n.Work(ctx, n.Input, rt) }); err != nil {
		if cache.NoRoom(err) {
			err = fmt.Errorf("%w%s", err, cache.Hint(err))
		}
		return nil, errors.Join(err, draft.Discard())
	}
	a, err := x.publish(draft, d, rt, begun)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w of %s: %w", errNotKept, n.ID, err), draft.Discard())
	}
	return a, nil
}

// unread lists what n reads of what was made before this execution and was not
// checked by the plan: there was too much of it.
func (x *executor) unread(n *Node) []*cache.Artefact {
	var out []*cache.Artefact
	for _, id := range n.Needs {
		r := &x.results[x.g.index[id]]
		if r.State != StateReused {
			continue
		}
		if _, done := x.p.read[r.Artefact.Dir]; !done {
			out = append(out, r.Artefact)
		}
	}
	return out
}

// intact checks artefacts that are going to be read. What is damaged is taken
// away, so that the next plan makes it again.
func (x *executor) intact(artefacts []*cache.Artefact) error {
	return onAllCores(len(artefacts), func(from, to int) error {
		var errs []error
		for _, a := range artefacts[from:to] {
			if err := a.Verify(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w; it is taken away, and the same command makes it again", a.Slot, err), x.o.Store.Remove(a))
			}
		}
		return errors.Join(errs...)
	})
}

func (x *executor) publish(draft *cache.Draft, d *Decision, rt *Runtime, begun time.Time) (*cache.Artefact, error) {
	behind, err := valueOf(d.Node, d.needs)
	if err != nil {
		return nil, err
	}
	m := cache.Manifest{
		Key: d.Key, Slot: x.g.slot(d.Node), Input: behind,
		Created: begun, Seconds: x.o.Now().Sub(begun).Seconds(),
	}
	if m.Note, err = json.Marshal(rt.record); err != nil {
		return nil, err
	}
	if d.Node.Kind == Measurement {
		m.Attempt = rt.Attempt
	} else if x.p.options.rerun(d.Node) {
		return draft.PublishOver(m)
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
		r := &x.results[x.g.index[id]]
		if r.Artefact == nil {
			continue
		}
		rt.Needs[id] = r.Artefact.Dir
		if r.Attempts != (Attempts{}) {
			if rt.Attempts == nil {
				rt.Attempts = make(map[string]Attempts)
			}
			rt.Attempts[id] = r.Attempts
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
