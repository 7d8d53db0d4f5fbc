package stages

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
	"vbp/stages/upkeep"
)

// pruneChild makes this test binary a process that prunes, or works beside a
// prune: TestPruneChild does what VBP_PRUNE_CHILD names.
func pruneChild(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPruneChild$")
	cmd.Env = append(os.Environ(), "VBP_PRUNE_CHILD="+role, "VBP_PRUNE_ARGS="+strings.Join(args, "|"))
	cmd.Stderr = os.Stderr
	return cmd
}

func TestPruneChild(t *testing.T) {
	role, ok := os.LookupEnv("VBP_PRUNE_CHILD")
	if !ok {
		t.Skip("this is the work of a child process of other tests")
	}
	args := strings.Split(os.Getenv("VBP_PRUNE_ARGS"), "|")
	switch role {
	case "prune": // results, time, step to die at
		at, err := strconv.Atoi(args[2])
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, args[1])
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		step := func(string) {
			if n++; n == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		plan, err := upkeep.PlanPrune(context.Background(), args[0], upkeep.Rules{Keep: 1}, now)
		if err != nil {
			t.Fatal(err)
		}
		upkeep.Step, cache.Step = step, step
		if _, err := upkeep.Prune(context.Background(), plan, func() time.Time { return now }, func(upkeep.PrunedRun) {}); err != nil {
			t.Fatal(err)
		}
	case "apply": // store, experiment, keys: a running apply until stdin ends
		s, err := cache.Open(args[0])
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := cache.TryLock(runs.Lock(args[0], args[1]), "apply "+args[1])
		if err != nil || l == nil {
			t.Fatal("not locked", err)
		}
		for _, k := range args[2:] {
			if err := s.Hold(cache.Key(k)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Draft(); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("holds\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		runtime.KeepAlive(s) // a file that nobody refers to is closed, and its lock given back
		runtime.KeepAlive(l)
		os.Exit(0) // as a killed process would: nothing is given back
	}
}

// TestPruneKilled kills a prune at every step in turn. Whatever is left, every
// run that can be seen is whole, and the next prune ends as one would have
// that was not killed.
func TestPruneKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a process for every step is left out of short runs")
	}
	p := newPruneWorld(t)
	p.applyOn(1, oneMode, "workload.seed=1", "sweep.qps=[1000, 2000]")
	p.applyOn(2, oneMode, "workload.seed=1") // shares a point with the first
	last := p.applyOn(3, oneMode, "workload.seed=1", "slo.tpot=15ms")
	p.applyOn(4, changed(t, oneMode, "name: small", "name: other"), "workload.seed=2")
	p.now = p.now.AddDate(0, 0, 2)
	origin, results := p.site.Results, filepath.Join(p.dir, "results-of-child")
	p.site.Results = results
	// A copy with its links: what is linked in the origin, is linked here.
	fresh := func() {
		if err := os.RemoveAll(results); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", origin, results).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	fresh()
	whole := p.prune(upkeep.Rules{Keep: 1})
	if len(whole.Runs) != 2 || whole.Stored != 6 { // a point, and collection, analysis, figure of either; the load is shared
		t.Logf("%d runs, %d results", len(whole.Runs), whole.Stored)
	}
	wantRuns, wantStored := p.runsLeft(), p.stored()
	steps := 0
	for at := 1; ; at++ {
		fresh()
		cmd := pruneChild(t, "prune", results, p.now.Format(time.RFC3339), strconv.Itoa(at))
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err == nil {
			steps = at - 1
			break
		}
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v: %s", at, err, out)
		}
		for _, name := range p.runsLeft() {
			p.isWhole(filepath.Join(results, name))
		}
		p.stored()
		if plan := p.plan(upkeep.Rules{Keep: 1}); at > 1 && plan.Empty() && len(p.runsLeft()) > len(wantRuns) {
			t.Errorf("step %d: nothing is left to do", at)
		}
		p.prune(upkeep.Rules{Keep: 1})
		if runs, stored := p.runsLeft(), p.stored(); !slices.Equal(runs, wantRuns) || !slices.Equal(stored, wantStored) {
			t.Errorf("step %d: left are\n%q\n%q\nnot\n%q\n%q", at, runs, stored, wantRuns, wantStored)
		}
		for _, name := range wantRuns {
			p.isWhole(filepath.Join(results, name))
		}
		if again := p.plan(upkeep.Rules{Keep: 1}); !again.Empty() {
			t.Errorf("step %d: left to go: %+v", at, again)
		}
		if t.Failed() {
			return
		}
	}
	if steps < 20 {
		t.Errorf("only %d steps", steps)
	}
	if len(wantRuns) != 2 || !strings.HasSuffix(last, wantRuns[0]) {
		t.Errorf("left: %q", wantRuns)
	}
}

// TestPruneBesideApply holds that a prune leaves alone what a running apply is
// about: runs of its experiment, results that it uses, its drafts.
func TestPruneBesideApply(t *testing.T) {
	p := newPruneWorld(t)
	other := changed(t, oneMode, "name: small", "name: other")
	p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, other, "workload.seed=2")
	p.applyOn(3, oneMode, "workload.seed=3")
	p.applyOn(4, other, "workload.seed=4")
	p.now = p.now.AddDate(1, 0, 0)
	store := filepath.Join(p.site.Results, runs.StoreDir)
	// The apply of small uses a measurement that only other's first run shows.
	var used string
	listing, err := cache.At(store).List()
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	for a := range listing.All() {
		if strings.HasPrefix(a.Slot, "other: load") && a.Created.Equal(day) {
			used = string(a.Key)
		}
	}
	apply := pruneChild(t, "apply", store, "small", used)
	in, err := apply.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := apply.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := apply.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = apply.Process.Kill(); _ = apply.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "holds\n" {
		t.Fatalf("%q, %v", line, err)
	}

	rules := upkeep.Rules{OlderThan: time.Hour, All: true}
	before := snapshot(t, p.site.Results)
	plan := p.plan(rules)
	if snapshot(t, p.site.Results) != before {
		t.Error("planning has changed something")
	}
	want := []string{"other/20260302_120000", "other/20260304_120000"}
	if !slices.Equal(prunedNames(plan), want) || len(plan.Stay) != 2 || !strings.Contains(plan.Stay[0].Why, "small is in use by process "+strconv.Itoa(apply.Process.Pid)) {
		t.Errorf("would remove %q; stay: %+v", prunedNames(plan), plan.Stay)
	}
	size := diskUse(t, p.site.Results)
	done := p.prune(rules)
	if !slices.Equal(prunedNames(done), want) || done.Held != 1 || len(done.Debris) > 0 {
		t.Errorf("removed %q, %d held, debris %+v", prunedNames(done), done.Held, done.Debris)
	}
	if freed := size - diskUse(t, p.site.Results); done.Bytes != freed {
		t.Errorf("%d bytes are free, told %d", freed, done.Bytes)
	}
	if found, err := cache.At(store).Find(cache.Key(used)); err != nil || len(found) != 1 || found[0].Verify() != nil {
		t.Errorf("what the apply uses: %v, %v", found, err)
	}
	if left, _ := filepath.Glob(filepath.Join(store, "tmp", "*", "draft-*")); len(left) != 1 {
		t.Errorf("the apply's drafts: %q", left)
	}

	// It is killed; what it leaves goes now.
	_ = in.Close()
	if err := apply.Wait(); err != nil {
		t.Fatal(err)
	}
	plan = p.plan(rules)
	if len(plan.Debris) != 1 || plan.Orphans != 1 || len(plan.Runs) != 2 {
		t.Errorf("%+v", plan)
	}
	size = diskUse(t, p.site.Results)
	done = p.prune(rules)
	if len(done.Runs) != 2 || len(p.stored()) > 0 || len(p.runsLeft()) > 0 {
		t.Errorf("%+v; left %q", done, p.runsLeft())
	}
	if freed := size - diskUse(t, p.site.Results); done.Bytes != freed {
		t.Errorf("%d bytes are free, told %d", freed, done.Bytes)
	}
}

// TestPruneSeesNewRuns holds that what a run refers to stays that another
// process makes while the prune is at work.
func TestPruneSeesNewRuns(t *testing.T) {
	p := newPruneWorld(t)
	first := p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, oneMode, "workload.seed=2")
	journal := contentOf(t, first, history.FileName)
	atPruneStep(t, func(_ int, name string) {
		if name == "content deleted" {
			p.write("results/other/20260303_120000/"+history.FileName, journal)
		}
	})
	all := p.stored()
	done := p.prune(upkeep.Rules{Keep: 1})
	if len(done.Runs) != 1 || done.Stored != 0 || !slices.Equal(p.stored(), all) {
		t.Errorf("%+v", done)
	}
}

// TestPruneAsPlanned holds that a prune removes no run that was not told of,
// and none that the rules no longer name.
func TestPruneAsPlanned(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, oneMode, "workload.seed=2")
	p.applyOn(3, oneMode, "workload.seed=3")
	plan := p.plan(upkeep.Rules{Keep: 2})
	p.applyOn(4, oneMode, "workload.seed=4")
	done, err := upkeep.Prune(t.Context(), plan, p.site.Now, func(upkeep.PrunedRun) {})
	if want := []string{"small/20260301_120000"}; err != nil || !slices.Equal(prunedNames(done), want) {
		t.Errorf("removed %+v, %v", done, err)
	}
	plan = p.plan(upkeep.Rules{Keep: 1})
	for _, r := range plan.Runs[:1] {
		if err := os.RemoveAll(r.Path); err != nil {
			t.Fatal(err)
		}
	}
	if done, err = upkeep.Prune(t.Context(), plan, p.site.Now, func(upkeep.PrunedRun) {}); err != nil || len(done.Runs) != 1 {
		t.Errorf("removed %+v, %v", done, err)
	}
}

// TestPruneOfWhatCannotBeDeleted holds that a run stays as it is, that others
// go, and that the error names it.
func TestPruneOfWhatCannotBeDeleted(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("the superuser may delete everything")
	}
	p := newPruneWorld(t)
	small := p.applyOn(1, oneMode, "workload.seed=1")
	other := p.applyOn(2, changed(t, oneMode, "name: small", "name: other"), "workload.seed=2")
	p.now = p.now.AddDate(1, 0, 0)
	base := filepath.Dir(small)
	if err := os.Chmod(base, 0o555); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(base, 0o755) }()
	plan := p.plan(upkeep.Rules{OlderThan: time.Hour, All: true})
	done, err := upkeep.Prune(t.Context(), plan, p.site.Now, func(upkeep.PrunedRun) {})
	mustContain(t, err, "cannot remove "+small, "permission denied", "make that folder writable")
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) || len(done.Runs) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestPruneInterrupted holds that a prune whose context has ended removes no
// further run, and says so.
func TestPruneInterrupted(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(1, oneMode, "workload.seed=1")
	p.applyOn(2, oneMode, "workload.seed=2")
	p.applyOn(3, oneMode, "workload.seed=3")
	rules := upkeep.Rules{Keep: 1}
	plan := p.plan(rules)
	ctx, cancel := context.WithCancel(t.Context())
	atPruneStep(t, func(n int, name string) {
		if name == "folder renamed" {
			cancel()
		}
	})
	_, err := upkeep.Prune(ctx, plan, p.site.Now, func(upkeep.PrunedRun) { t.Error("a run is said to be gone") })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := p.runsLeft(); len(got) != 2 {
		t.Errorf("left: %q", got)
	}
	upkeep.Step = func(string) {}
	if _, err := upkeep.PlanPrune(ctx, p.site.Results, rules, p.now); !errors.Is(err, context.Canceled) {
		t.Errorf("planned: %v", err)
	}
	p.prune(rules)
	if got := p.stored(); len(got) != 4 || len(p.runsLeft()) != 1 {
		t.Errorf("left: %q with %q", p.runsLeft(), got)
	}
}

// atPruneStep calls f at every step, with its number from 1.
func atPruneStep(t *testing.T, f func(n int, name string)) {
	n := 0
	upkeep.Step = func(name string) { n++; f(n, name) }
	t.Cleanup(func() { upkeep.Step = func(string) {} })
}
