package pipeline

import (
	"context"
	"errors"
	"fmt"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// attempt is what came of one try at a measurement.
type attempt struct {
	artefact *cache.Artefact
	why      string // it is another process's: how old it is
	halted   bool   // nothing is to begin any more
	lost     error  // the service does not work; nothing was tried
	err      error
}

// measure takes one attempt. Of several processes that want the same
// measurement one takes it, and the others find it.
func (x *executor) measure(ctx context.Context, d *Decision, rt *Runtime) (out attempt) {
	lock, err := x.o.Store.LockKey(x.waits, d.Key, "measure "+d.Node.ID, func(h cache.Holder) {
		rt.Emit(Event{Text: fmt.Sprintf("waiting: %s measures the same", h)})
	})
	if x.waits.Err() != nil && ctx.Err() == nil {
		if lock != nil {
			err = lock.Release()
		}
		return attempt{halted: true, err: errors.Join(err, context.Cause(x.waits))}
	}
	if err != nil {
		return attempt{err: err}
	}
	defer func() { out.err = errors.Join(out.err, lock.Release()) }()
	if a, why := x.madeMeanwhile(d, rt); a != nil {
		return attempt{artefact: a, why: why}
	}
	if rt.Service != nil {
		err := guarded(func() error { return rt.Service.Check(ctx) })
		switch {
		case ctx.Err() != nil:
			return attempt{err: ctx.Err()}
		case err != nil:
			return attempt{lost: err}
		}
	}
	a, err := x.make(ctx, d, rt, nil)
	return attempt{artefact: a, err: err}
}

// madeMeanwhile is an attempt that another process has made since d was
// decided and that d.Node can show.
func (x *executor) madeMeanwhile(d *Decision, rt *Runtime) (*cache.Artefact, string) {
	all, err := x.o.Store.Find(d.Key)
	if err != nil {
		return nil, "" // it is measured here then
	}
	live := make(map[string]string)
	if rt.Service != nil {
		live = rt.Service.Environment()
	}
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		if d.knows(a) || x.twins[d.Key] != nil && a.Slot != x.g.slot(d.Node) || a.Damage != nil {
			continue
		}
		rec, err := RecordOf(a)
		if err != nil || d.Node.Judge != nil && !d.Node.Judge(rec).Usable || environmentDiff(rec.Environment, live, true) != "" {
			continue
		}
		return a, provenanceOf(rec.Environment, a, x.o.Now()).String() + " by another process"
	}
	return nil, ""
}

// measured goes on after an attempt at node i.
func (x *executor) measured(ctx context.Context, i int, out attempt, rt *Runtime, placing error) {
	n, d := x.g.Nodes[i], &x.decisions[i]
	interrupted := ctx.Err() != nil
	switch {
	case out.halted && x.halts(i):
		x.giveUp(i, Result{State: StateSkipped, Err: errors.New(x.halted)})
		return
	case out.lost != nil:
		x.lost(ctx, i, out.lost)
		return
	case out.err != nil || placing != nil:
		err := errors.Join(out.err, placing)
		x.tries[i]++
		if !interrupted && !inVain(err) && x.tryAgain(ctx, i, "it failed: "+firstLine(err)) {
			return
		}
		x.giveUp(i, ended(err, interrupted))
		return
	case out.why != "":
		if !x.fallBack(i, rt) { // decides as the next plan will
			d.Action, d.Artefact, d.Verdict = Reuse, out.artefact, Verdict{Usable: true}
			d.note(out.artefact, true, out.artefact.Slot == x.g.slot(n))
		}
		d.Why = out.why
		x.reuse(i)
		return
	}
	x.tries[i]++
	r := Result{State: StateDone, Artefact: out.artefact, Verdict: verdict(n, out.artefact)}
	d.note(out.artefact, r.Verdict.Usable, true)
	r.Attempts = d.Attempts
	took := x.o.Now().Sub(out.artefact.Created)
	x.kept[i] = r
	x.journalAttempt(i, r)
	x.emit(Event{Kind: Done, Node: n, Took: took, Data: r})
	if !r.Verdict.Usable {
		if !interrupted && !r.Verdict.Lasting && x.tryAgain(ctx, i, notUsable+r.Verdict.Reason) {
			return
		}
		if x.fallBack(i, rt) {
			x.reuse(i)
			return
		}
	}
	x.settle(i, r)
}

func (x *executor) journalAttempt(i int, r Result) {
	x.journal(history.Record{
		Kind: history.NodeDone, Node: x.g.Nodes[i].ID, Key: string(r.Artefact.Key), Seconds: r.Artefact.Seconds,
		Attempt: r.Artefact.Attempt, Digest: r.Artefact.Digest, Text: r.Verdict.Reason,
	})
}

// giveUp settles node i, at which nothing more is tried, as r says: or with
// the last attempt of this execution, if one left something. It is not usable,
// and shown as such.
func (x *executor) giveUp(i int, r Result) {
	kept, some := x.kept[i]
	r.Node = x.g.Nodes[i]
	if r.State == StateFailed {
		x.haltAfter(r)
	}
	if r.State != StateStopped && x.p.options.rerun(x.g.Nodes[i]) && x.fallBack(i, nil) {
		// It was to be made again by wish, and was not.
		d := &x.decisions[i]
		d.Why += "; not made again: " + r.why()
		x.notMade[i] = true
		x.reuse(i)
		return
	}
	if !some || r.State == StateStopped {
		x.settle(i, r)
		return
	}
	if r.State == StateFailed {
		x.emit(Event{Kind: Failed, Node: x.g.Nodes[i], Text: r.Err.Error()})
		x.journal(history.Record{Kind: history.NodeFailed, Node: x.g.Nodes[i].ID, Error: r.Err.Error()})
	}
	x.journalAttempt(i, kept)
	kept.Attempts = x.decisions[i].Attempts
	x.settle(i, kept)
}

// tryAgain lets node i run once more, after what waits already, if it may.
func (x *executor) tryAgain(ctx context.Context, i int, why string) bool {
	n := x.g.Nodes[i]
	if x.tries[i] > n.Retries || ctx.Err() != nil || x.fatal != nil || x.halts(i) {
		return false
	}
	x.decisions[i].Why = "again, for " + why
	x.journal(history.Record{Kind: history.NodeAgain, Node: n.ID, Text: why})
	x.emit(Event{Kind: Again, Node: n, Text: why})
	x.claims.enqueue(i, n, x.tries[i])
	return true
}

// fallBack chooses an earlier attempt that can be used instead of those that
// were just made and cannot: one that was to be replaced by wish, say.
func (x *executor) fallBack(i int, rt *Runtime) bool {
	d := x.decisions[i]
	pl := x.chooser()
	pl.o.Rerun = nil
	if rt != nil && rt.Service != nil {
		pl.observed = true
		pl.o.Environment = map[string]map[string]string{x.g.Nodes[x.g.service(i)].ID: rt.Service.Environment()}
	}
	if err := pl.decide(&d, i, nil); err != nil || d.Action != Reuse {
		return false
	}
	x.decisions[i] = d
	return true
}
