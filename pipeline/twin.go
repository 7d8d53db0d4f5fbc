package pipeline

import (
	"slices"

	"vbp/pipeline/cache"
)

// Twins are measurements of one graph that are equal in all that is hashed:
// one deployment under two names, say, to see how much two measurements of the
// same differ. They have one key, so all their attempts lie together; each
// must show one of its own.

// identifyMeasurements works out the keys of all measurements, and which are
// twins.
func (pl *planner) identifyMeasurements() error {
	pl.keys = make([]cache.Key, len(pl.g.Nodes))
	err := onAllCores(len(pl.g.Nodes), func(from, to int) error {
		var k keyer
		for i := from; i < to; i++ {
			if n := pl.g.Nodes[i]; n.Kind == Measurement {
				var err error
				if pl.keys[i], err = k.key(n, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	pl.twins, pl.first = twinsOf(pl.g, func(i int) cache.Key { return pl.keys[i] })
	return nil
}

// twinsOf returns the slots of the measurements that share a key, by key, and
// the first measurement of each key.
func twinsOf(g *Graph, key func(i int) cache.Key) (slots map[cache.Key][]string, first map[cache.Key]int) {
	first = make(map[cache.Key]int, len(g.Nodes))
	slots = make(map[cache.Key][]string)
	for i, n := range g.Nodes {
		if n.Kind != Measurement {
			continue
		}
		k := key(i)
		j, again := first[k]
		if !again {
			first[k] = i
			continue
		}
		if slots[k] == nil {
			slots[k] = []string{g.slot(g.Nodes[j])}
		}
		slots[k] = append(slots[k], g.slot(n))
	}
	return slots, first
}

// candidates is the attempts that a node may show, the preferred last: those
// of its own slot, else the one that the slot last held (measured for another
// experiment), else any. A twin that has attempts of its own shows no other,
// and one that has none takes none that another twin made or shows.
func (pl *planner) candidates(d *Decision, attempts []*cache.Artefact) ([]*cache.Artefact, error) {
	if d.Node.Kind != Measurement {
		return attempts, nil
	}
	own := func(a *cache.Artefact) bool { return pl.g.isSlot(d.Node, a.Slot) }
	if len(attempts) == 1 && own(attempts[0]) {
		return attempts, nil
	}
	slot := pl.g.slot(d.Node)
	if twins := pl.twins[d.Key]; twins != nil {
		if slices.ContainsFunc(attempts, own) {
			return slices.DeleteFunc(attempts, func(a *cache.Artefact) bool { return !own(a) }), nil
		}
		attempts = slices.DeleteFunc(attempts, func(a *cache.Artefact) bool {
			return pl.taken[a.Dir] || slices.Contains(twins, a.Slot)
		})
	}
	held := ""
	if !slices.ContainsFunc(attempts, own) && len(attempts) > 1 {
		last, err := pl.store.Last(slot)
		if err == nil && last != nil && last.Key == d.Key {
			held = last.Dir
		}
	}
	rank := func(a *cache.Artefact) int {
		if own(a) || a.Dir == held {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(attempts, func(a, b *cache.Artefact) int { return rank(a) - rank(b) })
	return attempts, nil
}
