package stages

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vbp/pipeline"
)

// loadsOf lists the load nodes of a graph in order, each with its deployment.
func loadsOf(g *pipeline.Graph) (loads, deployments []string) {
	for _, n := range g.Nodes {
		if n.Kind == pipeline.Measurement {
			loads = append(loads, n.ID)
			deployments = append(deployments, g.ServiceOf(n).ID)
		}
	}
	return loads, deployments
}

// TestBlocks holds, for random sweeps, that a block is one repeat with each
// deployment once, that every point is in exactly one, and that the seed
// decides all.
func TestBlocks(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		modes, rates, repeats := rapid.IntRange(1, 4).Draw(rt, "modes"), rapid.IntRange(1, 6).Draw(rt, "rates"), rapid.IntRange(1, 4).Draw(rt, "repeats")
		axis := rapid.Bool().Draw(rt, "another axis")
		var names, qps []string
		for i := range modes {
			names = append(names, fmt.Sprintf("m%d: {engine: simulated, args: {max-num-seqs: %d}}", i, i+8))
		}
		for i := range rates {
			qps = append(qps, fmt.Sprint(i+1))
		}
		sweep := fmt.Sprintf("qps: [%s], repeat: %d", strings.Join(qps, ", "), repeats)
		series := modes
		if axis {
			sweep += ", modes.m0.args.block-size: [16, 32]"
			series++
		}
		spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}", "modes: {"+strings.Join(names, ", ")+"}", "qps: [1000]", sweep)
		build := func(seed int64) ([]string, []string) {
			g, err := Build(w.parse(spec, fmt.Sprintf("workload.seed=%d", seed)), w.site)
			if err != nil {
				rt.Fatal(err)
			}
			return loadsOf(g)
		}
		seed := rapid.Int64Range(0, 1000).Draw(rt, "seed")
		loads, deployments := build(seed)
		if again, _ := build(seed); !slices.Equal(loads, again) {
			rt.Errorf("the same seed: %q and %q", loads, again)
		}
		if len(loads) != series*rates*repeats {
			rt.Fatalf("%d loads", len(loads))
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(loads))); len(distinct) != len(loads) {
			rt.Error("a point is there twice")
		}
		// Runs of one deployment: each has all rates of one repeat.
		order := slices.Compact(slices.Clone(deployments))
		if len(order) != series*repeats {
			rt.Errorf("%d deployments for %d series in %d repeats: %q", len(order), series, repeats, order)
		}
		for i := range order {
			batch := loads[i*rates : (i+1)*rates]
			repeat := batch[0][strings.LastIndex(batch[0], " "):]
			if repeat != fmt.Sprintf(" repeat=%d", i/series) {
				rt.Errorf("batch %d has %s", i, repeat)
			}
			for _, l := range batch {
				if !strings.HasSuffix(l, repeat) {
					rt.Errorf("batch %d has %s", i, l)
				}
			}
		}
	})
}

// Chance puts every mode first about as often, and every rate.
func TestBlocksAreBalanced(t *testing.T) {
	w := newWorld(t)
	g, err := Build(w.parse(changed(t, oneMode, "modes: {simple: {engine: simulated}}",
		"modes: {a: {engine: simulated}, b: {engine: simulated, args: {max-num-seqs: 8}}}", "qps: [1000]", "qps: [1, 2, 3], repeat: 300")), w.site)
	if err != nil {
		t.Fatal(err)
	}
	loads, deployments := loadsOf(g)
	first, rate := make(map[string]int), make(map[string]int)
	for i := 0; i < len(loads); i += 3 {
		if i%6 == 0 {
			first[deploymentName(deployments[i])]++
		}
		rate[strings.Fields(loads[i])[2]]++
	}
	// Within four standard deviations of a fair choice: 300 of 1/2, 600 of 1/3.
	if n := first["mode=a"]; n < 115 || n > 185 {
		t.Errorf("a is first in %d of 300 blocks", n)
	}
	for _, r := range []string{"qps=1", "qps=2", "qps=3"} {
		if n := rate[r]; n < 153 || n > 247 {
			t.Errorf("%s is first in %d of 600 batches", r, n)
		}
	}
}

// As written, one deployment serves all repeats, in the order of the sweep.
func TestAsWritten(t *testing.T) {
	w := newWorld(t)
	g, err := Build(w.parse(changed(t, twoModes, "qps: [1000]", "qps: [2, 1], repeat: 2, order: as_written")), w.site)
	if err != nil {
		t.Fatal(err)
	}
	loads, deployments := loadsOf(g)
	want := []string{
		"load mode=simple qps=2 repeat=0", "load mode=simple qps=2 repeat=1", "load mode=simple qps=1 repeat=0", "load mode=simple qps=1 repeat=1",
		"load mode=nixl qps=2 repeat=0", "load mode=nixl qps=2 repeat=1", "load mode=nixl qps=1 repeat=0", "load mode=nixl qps=1 repeat=1",
	}
	if !slices.Equal(loads, want) || !slices.Equal(slices.Compact(deployments), []string{"deploy mode=simple", "deploy mode=nixl"}) {
		t.Errorf("%q on %q", loads, deployments)
	}
}

// The order is in no key: what was measured in one is reused in the other, and
// of six repeats of which four are there, two are measured.
func TestRepeatsAreReused(t *testing.T) {
	w := newWorld(t)
	w.apply(changed(t, twoModes, "qps: [1000]", "qps: [1000], repeat: 4"))
	a := w.apply(changed(t, twoModes, "qps: [1000]", "qps: [1000], repeat: 6, order: as_written"))
	var measured []string
	for _, r := range a.Report.Results {
		if r.Node.Kind == pipeline.Measurement && r.State == pipeline.StateDone {
			measured = append(measured, strings.TrimPrefix(r.Node.ID, loadPrefix))
		}
	}
	slices.Sort(measured)
	want := []string{"mode=nixl qps=1000 repeat=4", "mode=nixl qps=1000 repeat=5", "mode=simple qps=1000 repeat=4", "mode=simple qps=1000 repeat=5"}
	if !slices.Equal(measured, want) {
		t.Errorf("measured %q", measured)
	}
	analysis, err := ReadAnalysis(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range analysis.Series {
		if r := s.Rates[0]; r.Repeats != 6 || len(r.Each) != 6 {
			t.Errorf("%s: %d repeats", s.Name, r.Repeats)
		}
	}
}

// An estimate counts a start for each block, and takes measured times where
// there are any.
func TestEstimate(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, twoModes, "qps: [1000]", "qps: [1, 2], repeat: 3", "cooldown: 0s", "cooldown: 5s")
	estimate := func(spec string) Estimate {
		t.Helper()
		exp := w.parse(spec)
		p, err := PlanOf(t.Context(), exp, w.site, PlanChoices{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := EstimateOf(p, exp, w.site)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	// Four requests at 1/s and at 2/s and the cool-downs, in 2 modes, 3 times;
	// a simulated engine is taken to start in 2 s.
	loads := 2 * 3 * (4 + 2 + 2*5) * time.Second
	want := Estimate{Order: "blocks", Blocks: loads + 6*2*time.Second, AsWritten: loads + 2*2*time.Second, Points: 12, Starts: 6, Guessed: 6}
	if got := estimate(spec); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	want.Order, want.Starts, want.Guessed = "as_written", 2, 2
	if got := estimate(changed(t, spec, "repeat: 3", "repeat: 3, order: as_written")); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	// What was measured with other requests says how long it takes.
	fast := changed(t, twoModes, "qps: [1000]", "qps: [1000, 2000]")
	w.apply(fast)
	got := estimate(changed(t, fast, "requests: 4", "requests: 5"))
	if got.Known != 4 || got.Points != 4 || got.Guessed != 0 || got.Starts != 2 || got.Blocks != got.AsWritten || got.Blocks <= 0 || got.Blocks > 2*time.Second {
		t.Errorf("%+v", got)
	}
	if got := estimate(fast); got != (Estimate{Order: "blocks"}) {
		t.Errorf("with nothing to do: %+v", got)
	}
}
