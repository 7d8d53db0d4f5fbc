package pipeline

import (
	"fmt"
	"path/filepath"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

func (x *executor) reuse(i int) {
	n, d := x.g.Nodes[i], x.decisions[i]
	r := Result{State: StateReused, Artefact: d.Artefact, Verdict: d.Verdict, Attempts: d.Attempts, NotMade: x.notMade[i]}
	if slot := x.g.slot(n); n.Kind == Measurement && d.Artefact.Slot != slot {
		// The next plan shows the same, whatever is measured elsewhere.
		if err := x.o.Store.Use(slot, d.Artefact); err != nil {
			x.fail(err)
		}
	}
	if err := x.place(n, d.Artefact); err != nil {
		x.settle(i, Result{State: StateFailed, Err: err})
		return
	}
	x.emit(Event{Kind: Reused, Node: n, Text: d.Why, Data: r})
	x.journal(history.Record{
		Kind: history.NodeReused, Node: n.ID, Key: string(d.Key),
		Attempt: d.Artefact.Attempt, Digest: d.Artefact.Digest, Text: d.Why,
	})
	x.settle(i, r)
}

// place makes an artefact appear in the run's folder.
func (x *executor) place(n *Node, a *cache.Artefact) error {
	if n.Place == "" || x.o.RunDir == "" {
		return nil
	}
	if err := a.LinkTo(PlaceIn(x.o.RunDir, n.Place)); err != nil {
		return fmt.Errorf("%s: cannot put its result into the run's folder: %w", n.ID, err)
	}
	return nil
}

// PlaceIn is the folder that a Node.Place names in a run's folder.
func PlaceIn(runDir, place string) string {
	if filepath.IsAbs(place) {
		return place
	}
	return filepath.Join(runDir, filepath.FromSlash(place))
}
