package stages

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vbp/stages/runs"
	"vbp/stages/upkeep"
)

// TestPruneToSize holds that the oldest runs of all experiments go until the
// results are small enough, as du counts, and no run more.
func TestPruneToSize(t *testing.T) {
	p := newPruneWorld(t)
	other := changed(t, oneMode, "name: small", "name: other")
	p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, other, "workload.seed=2")
	p.applyOn(3, oneMode, "workload.seed=3")
	p.applyOn(4, other, "workload.seed=4")
	p.applyOn(5, oneMode, "workload.seed=5")
	p.now = p.now.Add(time.Hour)
	used := diskUse(t, p.site.Results)
	if plan := p.plan(upkeep.Rules{MaxSize: used}); !plan.Empty() || plan.Used != used || plan.Left() > 0 {
		t.Errorf("would remove %q of %d bytes, %d counted", prunedNames(plan), used, plan.Used)
	}
	done := p.prune(upkeep.Rules{MaxSize: used - 1})
	if want := []string{"small/20260301_120000"}; !slices.Equal(prunedNames(done), want) {
		t.Errorf("removed %q, not %q", prunedNames(done), want)
	}
	now := diskUse(t, p.site.Results)
	if done.Used-done.Bytes != now || done.After != now {
		t.Errorf("%d bytes before, %d freed, %d left, told %d", done.Used, done.Bytes, now, done.After)
	}
	// Two more by size; the newest of each name stays, whatever the size.
	plan := p.plan(upkeep.Rules{MaxSize: 1})
	if want := []string{"other/20260302_120000", "small/20260303_120000"}; !slices.Equal(prunedNames(plan), want) {
		t.Errorf("would remove %q, not %q", prunedNames(plan), want)
	}
	if len(plan.Stay) != 2 || plan.Left() != now-plan.Bytes-1 || plan.After != now-plan.Bytes {
		t.Errorf("stay: %+v, %d too much", plan.Stay, plan.Left())
	}
	// What age takes is counted first.
	plan = p.plan(upkeep.Rules{MaxSize: now - 1, Keep: 1, Names: []string{"small"}})
	if want := []string{"small/20260303_120000"}; !slices.Equal(prunedNames(plan), want) {
		t.Errorf("would remove %q, not %q", prunedNames(plan), want)
	}
}

// TestPruneOfFilesWithOtherNames holds that a file which something outside of
// the results shares takes no room in them any more, and yet frees nothing.
func TestPruneOfFilesWithOtherNames(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, oneMode, "workload.seed=2")
	dir := filepath.Join(p.dir, "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	samples := filepath.Join(p.site.Results, "small/20260301_120000/samples/mode=simple/qps=1000/repeat=0/samples.parquet")
	if err := os.Link(samples, filepath.Join(dir, "samples.parquet")); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	whole, before := diskUse(t, p.dir), diskUse(t, p.site.Results)
	rules := upkeep.Rules{MaxSize: before - 1}
	plan := p.plan(rules)
	done := p.prune(rules)
	after := diskUse(t, p.site.Results)
	if len(done.Runs) != 1 || done.Bytes != whole-diskUse(t, p.dir) || done.Used != before || done.After != after {
		t.Errorf("%+v", done)
	}
	if kept := before - after - done.Bytes; kept != blocks(t, filepath.Join(dir, "samples.parquet")) {
		t.Errorf("%d bytes are outside", kept)
	}
	if d := plan.After - after; d < -8192 || d > 8192 { // two files of locks or indexes
		t.Errorf("%d bytes are left, planned %d", after, plan.After)
	}
}

// TestUsage counts results whose store and experiments are on other disks.
func TestUsage(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(1, oneMode)
	want := diskUse(t, p.site.Results)
	for _, name := range []string{"small", runs.StoreDir} {
		to := filepath.Join(p.dir, "elsewhere"+name)
		if err := errors.Join(os.Rename(filepath.Join(p.site.Results, name), to), os.Symlink(to, filepath.Join(p.site.Results, name))); err != nil {
			t.Fatal(err)
		}
	}
	p.applyOn(2, oneMode, "slo.tpot=15ms")
	p.now = p.now.AddDate(0, 0, 1)
	if got := p.plan(upkeep.Rules{MaxSize: math.MaxInt64}).Used; got <= want {
		t.Errorf("%d bytes; without a run %d", got, want)
	}
	if done := p.prune(upkeep.Rules{Keep: 1}); len(done.Runs) != 1 || len(p.runsLeft()) != 1 {
		t.Errorf("removed %q", prunedNames(done))
	}
	p.isWhole(filepath.Join(p.site.Results, p.runsLeft()[0]))
}

// diskUse counts what files below dir take, every file once: what du does.
func diskUse(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	seen := make(map[string]bool)
	var walk func(path string)
	walk = func(path string) {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if id := fmt.Sprint(st.Dev, st.Ino); !seen[id] {
			seen[id] = true
			sum += int64(st.Blocks) * 512
		}
		if !info.IsDir() {
			return
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			walk(filepath.Join(path, e.Name()))
		}
	}
	walk(dir)
	if out, err := exec.Command("du", "-s", "--block-size=1", dir).Output(); err == nil {
		if n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64); err == nil && n != sum {
			t.Fatalf("the test counts %d bytes, du counts %d", sum, n)
		}
	}
	return sum
}
