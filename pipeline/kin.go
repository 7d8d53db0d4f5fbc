package pipeline

import (
	"fmt"
	"sync"
)

// kin are services that are started from the same: the blocks of a sweep deploy
// the same again. What one of them shows of its environment holds for what was
// measured on all, and they must all show the same.
type kin struct {
	members []int

	mu          sync.Mutex // of what follows: services start at the same time
	seen        bool       // one was up
	environment map[string]string

	// parked are those that are only needed if an environment contradicts what
	// is reused, and wait until one of the others has shown it.
	parked []int
}

// findKin sorts the services of an execution into kin.
func (x *executor) findKin() {
	by := make(map[string]*kin)
	for i, n := range x.g.Nodes {
		if n.Kind != Service {
			continue
		}
		key := startKey(n)
		if by[key] == nil {
			by[key] = &kin{}
		}
		by[key].members = append(by[key].members, i)
		x.kin[i] = by[key]
	}
}

// awaits reports whether a service of k is still to be started.
func (x *executor) awaits(k *kin) bool {
	for _, i := range k.members {
		if x.decisions[i].Action == Run && x.results[i].State == "" {
			return true
		}
	}
	return false
}

// shown starts, of the parked kin of service s, which is up, those on which
// something must be measured again.
func (x *executor) shown(s *service) {
	k := x.kin[s.i]
	parked := k.parked
	k.parked = nil
	for _, j := range parked {
		if !x.contradicted(j) {
			x.settle(j, Result{State: StateUnused})
			continue
		}
		x.decisions[j].Action, x.decisions[j].Why = Run, "a measurement needs it, for the environment differs"
		x.claims.enqueue(j, x.g.Nodes[j], 0)
	}
}

// contradicted reports whether a measurement on service j, which was to be
// reused, is to run.
func (x *executor) contradicted(j int) bool {
	for _, i := range x.services[j].conditional {
		if x.decisions[i].Action == Run && x.results[i].State == "" {
			return true
		}
	}
	return false
}

// unpark settles the parked kin of service i if none is left that could show an
// environment.
func (x *executor) unpark(i int) {
	k := x.kin[i]
	if len(k.parked) == 0 || x.awaits(k) {
		return
	}
	parked := k.parked
	k.parked = nil
	for _, j := range parked {
		x.settle(j, Result{State: StateUnused})
	}
}

// unparkAll settles all parked services: what would show their environment
// waits for them. It reports whether there were any.
func (x *executor) unparkAll() bool {
	some := false
	for _, n := range x.g.Nodes {
		if n.Kind != Service {
			continue
		}
		k := x.kin[x.g.index[n.ID]]
		parked := k.parked
		k.parked = nil
		for _, j := range parked {
			some = true
			x.settle(j, Result{State: StateUnused})
		}
	}
	return some
}

// show notes what the first of k showed, and is an error if env is another.
func (k *kin) show(env map[string]string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.seen {
		k.seen, k.environment = true, env
		return nil
	}
	if diff := environmentDiff(k.environment, env, true); diff != "" {
		return fmt.Errorf("it is another server than before in this run: %s", diff)
	}
	return nil
}

// shows is what one of k showed, if one was up.
func (k *kin) shows() (environment map[string]string, seen bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.environment, k.seen
}
