package pipeline

import (
	"context"
	"errors"
	"fmt"

	"vbp/pipeline/history"
)

// A service is asked before each measurement whether it works. If it does not,
// it is stopped, started and its effects act on it again (a deployment is
// warmed up as after its first start), and the measurement goes on there. It
// must come back as what it was: measurements of two environments do not
// belong into one run.

// lost is called when node i found that its service no longer works.
func (x *executor) lost(ctx context.Context, i int, why error) {
	s := x.services[x.g.service(i)]
	n := x.g.Nodes[s.i]
	switch {
	case s.down:
	case ctx.Err() != nil || x.fatal != nil:
		x.settle(i, Result{State: StateStopped, Err: why})
		return
	case s.restarts >= n.Restarts:
		times := ""
		switch {
		case s.restarts == 1:
			times = ", and was started again once before"
		case s.restarts > 1:
			times = fmt.Sprintf(", and was started again %d times before", s.restarts)
		}
		x.giveUp(i, Result{State: StateFailed, Err: fmt.Errorf("%s no longer works%s: %w", n.ID, times, why)})
		return
	default:
		s.restarts, s.down, s.why = s.restarts+1, true, why
	}
	s.parked = append(s.parked, i)
	x.emit(Event{Kind: Again, Node: x.g.Nodes[i], Text: "its service no longer works"})
	x.restart(ctx, s)
}

// restart starts service s again once nothing is at work on it.
func (x *executor) restart(ctx context.Context, s *service) {
	if !s.down || s.active > 0 || s.handle == nil || s.rewarm != nil {
		return
	}
	h := s.handle
	s.handle = nil
	x.running++
	go func() {
		left := x.end(h)
		x.done <- func() {
			x.stopped(s, "no longer works: "+s.why.Error(), left)
			if left != nil {
				x.bury(s, nil, left, false)
			} else {
				x.startAgain(ctx, s)
			}
		}
	}()
}

// startAgain brings service s up, which was stopped because it no longer
// worked.
func (x *executor) startAgain(ctx context.Context, s *service) {
	n := x.g.Nodes[s.i]
	if ctx.Err() != nil || x.fatal != nil || x.halts(s.i) {
		delete(x.up, s.i)
		x.giveBack(s)
		s.down, s.dead = false, fmt.Errorf("%s no longer works: %w", n.ID, s.why)
		for _, i := range s.parked {
			if x.halted != "" && ctx.Err() == nil && x.fatal == nil {
				x.giveUp(i, Result{State: StateSkipped, Err: errors.New(x.halted)})
			}
		}
		s.parked = nil
		return
	}
	x.running++
	rt := x.runtime(s.i, s.granted)
	rt.Restarts, rt.Before = s.restarts, true
	asked := x.o.Now()
	go func() {
		next, env, err, left := x.bringUp(ctx, n, rt)
		if err == nil {
			if diff := environmentDiff(s.environment, env, true); diff != "" {
				err, left = fmt.Errorf("it came back as another server: %s", diff), x.end(next)
			}
		}
		interrupted := ctx.Err() != nil
		x.done <- func() {
			if err != nil || left != nil {
				x.bury(s, err, left, interrupted)
				return
			}
			s.handle, s.begun = next, x.o.Now()
			x.started(s, s.begun.Sub(asked), fmt.Sprintf("again (%d of %d)", s.restarts, n.Restarts))
			s.rewarm = x.effectsOn(s)
			x.rewarmNext(s)
		}
	}()
}

// rewarms reports whether node i is the effect that acts next on s, which was
// started again.
func (s *service) rewarms(i int) bool { return len(s.rewarm) > 0 && s.rewarm[0] == i }

// rewarmNext lets the next effect act on service s, and when all have, lets go
// on what waits for it.
func (x *executor) rewarmNext(s *service) {
	if len(s.rewarm) > 0 {
		i := s.rewarm[0]
		x.decisions[i].Why = "again, for its service was started again"
		x.claims.enqueue(i, x.g.Nodes[i], 0)
		return
	}
	s.rewarm, s.down = nil, false
	for _, i := range s.parked {
		x.claims.enqueue(i, x.g.Nodes[i], x.tries[i])
	}
	s.parked = nil
}

// rewarmed goes on after the effect that acted on service s.
func (x *executor) rewarmed(ctx context.Context, s *service, err error) {
	i := s.rewarm[0]
	s.rewarm = s.rewarm[1:]
	switch {
	case err == nil:
		x.rewarmNext(s)
	case ctx.Err() == nil:
		x.abandon(s, fmt.Errorf("%s: %w", x.g.Nodes[i].ID, err))
	}
}

// abandon stops service s, which is up and cannot be made fit.
func (x *executor) abandon(s *service, why error) {
	h := s.handle
	s.handle, s.rewarm = nil, nil
	x.running++
	go func() {
		left := x.end(h)
		x.done <- func() {
			x.stopped(s, "", left)
			x.bury(s, why, left, false)
		}
	}()
}

// effectsOn lists the effects that acted on service s, in order.
func (x *executor) effectsOn(s *service) []int {
	var out []int
	for i, n := range x.g.Nodes {
		if n.Kind == Effect && x.g.service(i) == s.i && x.results[i].State == StateDone {
			out = append(out, i)
		}
	}
	return out
}

// bury settles what waits for service s, which could not be started again.
func (x *executor) bury(s *service, err, left error, interrupted bool) {
	n := x.g.Nodes[s.i]
	delete(x.up, s.i)
	s.down = false
	if left != nil {
		x.fail(fmt.Errorf("%s did not stop: %w", n.ID, left))
	} else {
		x.giveBack(s)
	}
	if err == nil {
		err = left
	}
	text := fmt.Sprintf("no longer works (%s), and could not be started again", firstLine(s.why))
	s.dead = fmt.Errorf("%s %s: %w", n.ID, text, err)
	if !interrupted {
		text += ": " + err.Error()
		x.journal(history.Record{Kind: history.NodeFailed, Node: n.ID, Error: text})
		x.emit(Event{Kind: Failed, Node: n, Text: text})
	}
	for _, i := range s.parked {
		x.giveUp(i, ended(s.dead, interrupted))
	}
	s.parked = nil
}
