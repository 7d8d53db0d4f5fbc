package stages

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"vbp/pipeline"
)

// TestChoices holds what --only and --rerun name, before anything was done.
func TestChoices(t *testing.T) {
	w := newWorld(t)
	exp := w.parse(twoModes, "sweep.qps=[1000, 2000]")
	for _, c := range []struct {
		only, rerun []string
		run         []string // loads and what follows, run or pending
		err         []string
	}{
		{only: []string{"load"}, run: []string{"load mode=simple qps=1000 repeat=0", "load mode=simple qps=2000 repeat=0", "load mode=nixl qps=1000 repeat=0", "load mode=nixl qps=2000 repeat=0"}},
		{only: []string{"mode=nixl qps=2000"}, run: []string{"load mode=nixl qps=2000 repeat=0"}},
		{only: []string{"qps=2000.0"}, run: []string{"load mode=simple qps=2000 repeat=0", "load mode=nixl qps=2000 repeat=0"}},
		{only: []string{"mode=nixl qps=1000", "collect", "analyze"}, run: []string{"load mode=nixl qps=1000 repeat=0", "collect", "analyze"}},
		{only: []string{"deploy"}},
		{only: []string{"load"}, rerun: []string{"load"}, run: []string{"load mode=simple qps=1000 repeat=0", "load mode=simple qps=2000 repeat=0", "load mode=nixl qps=1000 repeat=0", "load mode=nixl qps=2000 repeat=0"}},

		{only: []string{"plot"}, err: []string{"--only plot: plot ", "needs what is not done yet; add --only load --only collect --only analyze"}},
		{only: []string{"load", "plot"}, err: []string{"add --only collect --only analyze"}},
		{only: []string{"mode=nixl qps=1000", "analyze"}, err: []string{"--only analyze: analyze needs what is not done yet; add --only collect"}},
		{only: []string{"nixl"}, err: []string{"--only nixl: no stage of this name, and no point there; stages are deploy, load, collect, analyze, plot,"}},
		{only: []string{"qps=1000 nixl"}, err: []string{`--only: "nixl" is not an axis and its value`}},
		{rerun: []string{"qps=7"}, err: []string{"--rerun qps=7: no stage of this name, and no point there"}},
		{rerun: []string{"deploy"}, err: []string{"--rerun deploy: it leaves no result that could be made again"}},
		{only: []string{"load"}, rerun: []string{"plot"}, err: []string{"--rerun plot: --only load leaves it out; add --only plot, or say one of the two"}},
		{only: []string{"mode=nixl"}, rerun: []string{"mode=simple qps=1000"}, err: []string{`--rerun "mode=simple qps=1000": --only mode=nixl leaves it out; add --only "mode=simple qps=1000"`}},
	} {
		p, err := PlanOf(t.Context(), exp, w.site, PlanChoices{Only: c.only, Rerun: c.rerun})
		if c.err != nil {
			mustContain(t, err, c.err...)
			continue
		}
		if err != nil {
			t.Errorf("--only %q --rerun %q: %v", c.only, c.rerun, err)
			continue
		}
		var run []string
		for _, d := range p.Decisions {
			if (d.Action == pipeline.Run || d.Action == pipeline.Pending) && (d.Node.Kind == pipeline.Measurement || d.Node.Kind == pipeline.Pure) {
				run = append(run, d.Node.ID)
			}
		}
		slices.Sort(run)
		slices.Sort(c.run)
		if !slices.Equal(run, c.run) {
			t.Errorf("--only %q --rerun %q runs %q, not %q", c.only, c.rerun, run, c.run)
		}
	}
}

// TestRerunGoesOn holds that what was to be made again and was cut short is
// gone on with by the same command, shows what was there before meanwhile, and
// begins anew once it is done.
func TestRerunGoesOn(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "qps: [1000]", "qps: [1000, 2000, 3000], order: as_written")
	w.apply(spec)
	// Each look at the clock is a second, and there is time for one point or two.
	begun, looks := time.Now(), atomic.Int64{}
	w.site.Now = func() time.Time { return begun.Add(time.Duration(looks.Add(1)) * time.Second) }
	measured := 0
	for tries := 0; ; tries++ {
		a, err := w.applyWith(t.Context(), ApplyOptions{PlanChoices: PlanChoices{Rerun: []string{"load"}}, Budget: 35 * time.Second}, spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range a.Report.Results {
			if r.Node.Kind == pipeline.Measurement && r.State == pipeline.StateDone {
				measured++
			}
		}
		if tally := a.Tally(); tally.Usable+tally.Left != 3 || tally.Lost > 0 {
			t.Fatalf("%+v", tally)
		}
		analysis, err := ReadAnalysis(a.RunDir)
		if err != nil || len(analysis.Series[0].Rates) != 3 {
			t.Fatalf("not all points are shown: %v", err)
		}
		if a.Tally().Left == 0 {
			if tries == 0 {
				t.Fatal("there was time for all at once: the test shows nothing")
			}
			break
		}
		if tries > 5 {
			t.Fatal("it never ends")
		}
	}
	if measured != 3 {
		t.Errorf("%d measurements, not 3", measured)
	}
	// Another time, all are made again.
	p, err := PlanOf(t.Context(), w.parse(spec), w.site, PlanChoices{Rerun: []string{"load"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range p.Decisions {
		if d.Node.Kind == pipeline.Measurement && d.Action != pipeline.Run {
			t.Errorf("%s: %s, %s", d.Node.ID, d.Action, d.Why)
		}
	}
}
