package stages

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vbp/stages/upkeep"
)

// TestPruneFigures holds which figures are said to lose their data.
func TestPruneFigures(t *testing.T) {
	p := newPruneWorld(t)
	out := filepath.Join(p.dir, "figures")
	p.applyOn(1, twoModes, "stages.plot.dir="+out, "workload.seed=1", "stages.plot.formats=[svg, pdf]")
	p.applyOn(2, oneMode, "workload.seed=2")
	p.now = p.now.Add(time.Hour)
	rules := upkeep.Rules{Keep: 1, All: true}
	want := []string{"nixl/vllm_benchmark_plots.pdf", "simple/vllm_benchmark_plots.pdf", "vllm_comparison_plots.pdf"}
	for i := range want {
		want[i] = filepath.Join(out, want[i])
	}
	plan := p.plan(rules)
	if len(plan.Runs) != 1 || !slices.Equal(plan.Runs[0].Losing, want) || len(plan.Runs[0].Figures) > 0 {
		t.Fatalf("%+v\nwant %q", plan.Runs, want)
	}
	// One that was drawn over since is another's.
	p.write("figures/vllm_comparison_plots.pdf", "%PDF")
	p.write("figures/vllm_comparison_plots.svg", "<svg")
	if got := p.plan(rules).Runs[0].Losing; !slices.Equal(got, want[:2]) {
		t.Errorf("%q, not %q", got, want[:2])
	}
	before := snapshot(t, out)
	p.prune(rules)
	if after := snapshot(t, out); after != before {
		t.Errorf("figures outside have changed:\n%s", after)
	}
	// Whose samples another run has, loses nothing.
	p.applyOn(3, oneMode, "workload.seed=3", "stages.plot.dir="+out)
	p.applyOn(4, oneMode, "workload.seed=3")
	if plan := p.plan(rules); len(plan.Runs) != 2 || len(plan.Runs[1].Losing) > 0 || plan.Runs[0].Losing == nil {
		t.Errorf("%+v", plan.Runs)
	}
}
