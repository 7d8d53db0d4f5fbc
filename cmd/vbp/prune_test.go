package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"vbp/stages/upkeep"
)

func TestPrintPruning(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	p := &upkeep.Pruning{
		Runs: []upkeep.PrunedRun{{
			Name: "a/20260301_120000", State: "complete", Ended: at, Why: "41 days old", Bytes: 1_234_567,
			Figures: []string{"plots/a.pdf"}, Losing: []string{"/figures/b.pdf"},
		}},
		Stay:    []upkeep.StayingRun{{Name: "a/20260302_120000", Why: "it is the newest run of a; --all lets it go too"}},
		Debris:  []upkeep.Debris{{Path: "results/a/.import-1", What: "left by an import that was killed", Bytes: 1000}},
		Orphans: 1, Stored: 3, Bytes: 2_000_000, Used: 20_000_000_000,
	}
	var b bytes.Buffer
	printPruning(&b, p)
	want := `run      a/20260301_120000  complete, last record 2026-03-01 12:00, frees 1.23 MB: 41 days old
         its figure plots/a.pdf goes with it
         /figures/b.pdf stays and loses its data
left     results/a/.import-1  frees 1 kB: left by an import that was killed
left     1 stored result that no run refers to
stays    a/20260302_120000  it is the newest run of a; --all lets it go too
1 run and 3 stored results would go, which frees 2 MB of 20 GB.
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	p.Held, p.Used = 1, 0
	b.Reset()
	printPruned(&b, p)
	if want := "1 run and 3 stored results are removed, which freed 2 MB.\n1 stored result stays, for a running apply uses it.\n"; b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	printPruning(&b, &upkeep.Pruning{})
	if b.String() != "Nothing to remove.\n" {
		t.Errorf("%s", b.String())
	}
}

func TestAsk(t *testing.T) {
	for text, want := range map[string]bool{"y\n": true, "Yes\n": true, " y \n": true, "n\n": false, "\n": false, "": false, "yesterday\n": false, "y": true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		var out strings.Builder
		if got, err := ask(t.Context(), r, &out, "Sure? "); got != want || err != nil || out.String() != "Sure? " {
			t.Errorf("%q: %v, %v, asked %q", text, got, err, out.String())
		}
		_ = r.Close()
	}
	// Nobody answers, and the command is asked to end.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := ask(ctx, r, &strings.Builder{}, "Sure? "); got || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", got, err)
	}
}
