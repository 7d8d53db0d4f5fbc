package engine

import (
	"log"
	"sync/atomic"
)

// replicas are the engines of one server: as many as --data-parallel-size
// says, each with a scheduler and KV blocks of its own.
type replicas struct {
	all  []*driver
	turn *atomic.Uint64
}

func newReplicas(n int, c Config, l *log.Logger) replicas {
	r := replicas{turn: new(atomic.Uint64)}
	for range max(1, n) {
		r.all = append(r.all, newDriver(c, l))
	}
	return r
}

// next is the replica for a new request, as vLLM's client chooses it: the one
// of the least load, where a waiting request counts as four running ones. Of
// equals the first behind the one that was chosen last.
func (r replicas) next() *driver {
	if len(r.all) == 1 {
		return r.all[0]
	}
	from := int(r.turn.Load() % uint64(len(r.all)))
	best, least := from, 0
	for i := range r.all {
		at := (from + i) % len(r.all)
		if load := r.all[at].load(); i == 0 || load < least {
			best, least = at, load
		}
	}
	r.turn.Store(uint64(best) + 1)
	return r.all[best]
}

// release lets go of the KV that one of them holds under a name; false if
// none does.
func (r replicas) release(name string) bool {
	for _, d := range r.all {
		if d.release(name) {
			return true
		}
	}
	// The KV was somewhere; which replica missed it is of no interest.
	r.all[0].releasedLate()
	return false
}

// resetPrefixCache empties all; false if one refused.
func (r replicas) resetPrefixCache() bool {
	done := true
	for _, d := range r.all {
		done = d.resetPrefixCache() && done
	}
	return done
}
