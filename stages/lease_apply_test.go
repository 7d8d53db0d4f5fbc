package stages

import (
	"strings"
	"testing"

	"vbp/pipeline"
)

// TestApplyWaits holds that only what is started waits for other applies on
// this machine, and that whoever watches is told.
func TestApplyWaits(t *testing.T) {
	w := newWorld(t)
	w.apply(oneMode)
	_, release, err := wish{What: "apply other", Host: 1}.lease(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(oneMode)                  // nothing to do
	w.apply(oneMode, "slo.tpot=15ms") // nothing to start

	var told []string
	a, err := w.applyWith(t.Context(), ApplyOptions{Emit: func(e pipeline.Event) {
		if strings.HasPrefix(e.Text, "waiting") {
			told = append(told, e.Text)
			if err := release(); err != nil {
				t.Error(err)
			}
		}
	}}, changed(t, oneMode, "requests: 4", "requests: 4, seed: 1"))
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Tally(); n.Usable != 1 || len(told) != 1 || !strings.HasSuffix(told[0], " measures on this machine (apply other)") {
		t.Errorf("%+v, told %q", n, told)
	}
	if n := len(w.started()); n != 2 {
		t.Errorf("%d servers were started, not one by each that measures", n)
	}
}
