package pipeline

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// pass decides about every node: measurements first, then in order, since a
// pure node's key holds what its needs made.
func (pl *planner) pass() (*Plan, error) {
	p := &Plan{Graph: pl.g, Decisions: make([]Decision, len(pl.g.Nodes))}
	pl.taken = make(map[string]bool)
	for i, n := range pl.g.Nodes {
		p.Decisions[i].Node = n
	}
	if err := pl.decideMeasurements(p); err != nil {
		return nil, err
	}
	for i, n := range pl.g.Nodes {
		d := &p.Decisions[i]
		switch n.Kind {
		case Service, Effect:
			d.Action = Leave
		case Pure:
			wait, without := p.waitsFor(n)
			if without != "" {
				d.Action, d.Why = Skip, "needs "+without+", which is left out"
			} else if wait != "" {
				d.Action, d.Why = Pending, "waits for "+wait
			} else if err := pl.decide(d, i, p.needsOf(n)); err != nil {
				return nil, err
			}
		}
		if d.Action == Pending && pl.o.leavesOut(n) {
			d.Action, d.Why = Skip, "left out, as asked for ("+d.Why+")"
		}
	}
	p.demand(&pl.o)
	p.condition()
	return p, nil
}

// decideMeasurements decides about all measurements, on all cores but for
// twins, which must know what the others show.
func (pl *planner) decideMeasurements(p *Plan) error {
	err := onAllCores(len(p.Decisions), func(from, to int) error {
		one := *pl
		one.reasons = make(map[provenance]string)
		for i := from; i < to; i++ {
			if d := &p.Decisions[i]; d.Node.Kind == Measurement && pl.twins[pl.keys[i]] == nil {
				if err := one.decide(d, i, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || len(pl.twins) == 0 {
		return err
	}
	for i := range p.Decisions {
		if d := &p.Decisions[i]; d.Node.Kind == Measurement && pl.twins[pl.keys[i]] != nil {
			if err := pl.decide(d, i, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// onAllCores calls work with parts of 0 to n that together are all of it, at
// the same time if n is large.
func onAllCores(n int, work func(from, to int) error) error {
	workers := runtime.GOMAXPROCS(0)
	if n < 1000 { // less than it takes to begin
		workers = 1
	}
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { errs[w] = work(w*n/workers, (w+1)*n/workers) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// demand makes the services and effects run that a measurement needs which is
// to run, and those that o wants to see. Needs come earlier, so one walk from
// the end is enough.
func (p *Plan) demand(o *PlanOptions) {
	needed := make([]bool, len(p.Decisions))
	for i := len(p.Decisions) - 1; i >= 0; i-- {
		d := &p.Decisions[i]
		if d.Node.leavesResult() {
			needed[i] = d.Action == Run
		} else if needed[i] {
			d.Action, d.Why = Run, "a measurement needs it"
		} else if o.CheckEnvironment && d.Node.Kind == Service {
			d.Action, d.Why = Run, "its environment is to be checked"
			needed[i] = true
		} else if o.chosen(d.Node) {
			d.Action, d.Why = Run, "as asked for"
			needed[i] = true
		} else {
			d.Why = "not needed: every measurement of it is reused"
			if o.Only != nil {
				d.Why = "not needed: nothing that is to run stands on it"
			}
		}
		if needed[i] {
			for _, id := range d.Node.Needs {
				needed[p.Graph.index[id]] = true
			}
		}
	}
}

const unlessEnvironment = ", unless the environment differs"

// condition marks what a service that starts anyway may contradict.
func (p *Plan) condition() {
	g := p.Graph
	starts := make(map[string]bool) // what services are started from
	alike := make(map[int]bool)     // services one of whose kin starts
	for i := range p.Decisions {
		if d := &p.Decisions[i]; d.Node.Kind == Service && d.Action == Run {
			starts[startKey(d.Node)] = true
		}
	}
	if len(starts) > 0 {
		for i, n := range g.Nodes {
			alike[i] = n.Kind == Service && starts[startKey(n)]
		}
	}
	for i := range p.Decisions {
		d := &p.Decisions[i]
		if d.Action != Reuse {
			continue
		}
		switch d.Node.Kind {
		case Measurement:
			if s := g.service(i); s >= 0 && alike[s] {
				d.Conditional = true
				d.Why += unlessEnvironment
			}
		case Pure:
			for _, id := range d.Node.Needs {
				if p.Decisions[g.index[id]].Conditional {
					d.Conditional = true
					d.Why += ", unless what it reads is measured again"
					break
				}
			}
		}
	}
	maybe := make([]bool, len(p.Decisions))
	for i := len(p.Decisions) - 1; i >= 0; i-- {
		d := &p.Decisions[i]
		if d.Node.leavesResult() {
			maybe[i] = d.Node.Kind == Measurement && d.Conditional
		} else if maybe[i] && d.Action == Leave {
			d.Conditional = true
			d.Why = "only needed if the environment differs"
		}
		if maybe[i] {
			for _, id := range d.Node.Needs {
				maybe[g.index[id]] = true
			}
		}
	}
}

// waitsFor says for which needs n waits that are still to be made, and which
// one is left out without which n cannot be.
func (p *Plan) waitsFor(n *Node) (wait, without string) {
	first, more, have := "", 0, 0
	for _, id := range n.Needs {
		switch a := p.Decisions[p.Graph.index[id]].Action; {
		case a == Skip:
			if without == "" {
				without = id
			}
			continue
		case a != Run && a != Pending:
		case first == "":
			first = id
		default:
			more++
		}
		have++
	}
	if n.Tolerant && have > 0 {
		without = ""
	}
	if more > 0 {
		return fmt.Sprintf("%s and %d more", first, more), without
	}
	return first, without
}

// needsOf is what the key of n holds of its needs, which all are decided.
func (p *Plan) needsOf(n *Node) []need {
	needs := make([]need, 0, len(n.Needs))
	for _, id := range n.Needs {
		nd := need{ID: id}
		if d := &p.Decisions[p.Graph.index[id]]; d.Action == Reuse {
			nd.Digest, nd.Attempts = d.Artefact.Digest, d.Attempts.told()
		}
		needs = append(needs, nd)
	}
	return needs
}
