package stages

import (
	"context"
	"errors"
	"strings"
	"testing"

	"vbp/pipeline"
)

func TestLockHost(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var told []string
	first, err := lockHost(t.Context(), "apply first", func(s string) { t.Errorf("told %q", s) })
	if err != nil {
		t.Fatal(err)
	}
	// Whoever waits is told for whom, once, and can have enough of it.
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err = lockHost(ctx, "apply second", func(s string) {
		told = append(told, s)
		cancel(enough)
	})
	if !errors.Is(err, enough) || len(told) != 1 || !strings.HasPrefix(told[0], "waiting: process ") || !strings.HasSuffix(told[0], " measures on this machine (apply first)") {
		t.Errorf("%v, told %q", err, told)
	}
	// It goes on when the machine is free.
	second, err := lockHost(t.Context(), "apply second", func(string) {
		if err := first.Release(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestApplyWaits holds that only an apply that measures waits for others, and
// that what they measured meanwhile is not measured again.
func TestApplyWaits(t *testing.T) {
	w := newWorld(t)
	w.apply(oneMode)
	host, err := lockHost(t.Context(), "apply other", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(oneMode)                  // nothing to do
	w.apply(oneMode, "slo.tpot=15ms") // nothing to measure

	notices := 0
	spec := changed(t, oneMode, "requests: 4", "requests: 4, seed: 1")
	a, err := w.applyWith(t.Context(), ApplyOptions{Notice: func(string) {
		notices++
		// The other measures the same into the same results.
		t.Setenv("TMPDIR", t.TempDir())
		w.apply(changed(t, spec, "name: small", "name: other"))
		t.Setenv("TMPDIR", w.dir)
		if err := host.Release(); err != nil {
			t.Error(err)
		}
	}}, spec)
	if err != nil {
		t.Fatal(err)
	}
	if r := a.Report.Result("load mode=simple qps=1000 repeat=0"); notices != 1 || r.State != pipeline.StateReused {
		t.Errorf("told %d times; the load is %s: %s", notices, r.State, r.Why)
	}
	if n := len(w.started()); n != 2 {
		t.Errorf("%d servers were started, not one by each that measures", n)
	}
}
