package stages

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

func TestNewRunDir(t *testing.T) {
	base := filepath.Join(t.TempDir(), "results", "name")
	now := time.Date(2026, 1, 2, 3, 4, 5, 999, time.Local)
	for _, want := range []string{"20260102_030405", "20260102_030405_2", "20260102_030405_3"} {
		dir, err := newRunDir(base, now)
		if err != nil || dir != filepath.Join(base, want) {
			t.Errorf("%q, %v, want %q", dir, err, want)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := newRunDir(filepath.Join(file, "name"), now)
	mustContain(t, err, "cannot make the results folder")
}

// TestApplyFindsItsRun holds that an apply of what is there already names the
// run that holds just that, and makes no other.
func TestApplyFindsItsRun(t *testing.T) {
	w := newWorld(t)
	slow, quick := w.apply(twoModes), w.apply(twoModes, "slo.tpot=15ms")
	more := w.apply(twoModes, "sweep.qps=[1000, 2000]")
	starts := len(w.started())
	made := len(runs.Of(filepath.Join(w.site.Results, "small")))
	if made != 3 || slow.RunDir == quick.RunDir || quick.RunDir == more.RunDir {
		t.Fatalf("%d runs: %s, %s, %s", made, slow.RunDir, quick.RunDir, more.RunDir)
	}
	for _, c := range []struct {
		set  []string
		want *Applied
	}{
		{[]string{"slo.tpot=15ms"}, quick},
		{nil, slow},
		{[]string{"sweep.qps=[1000, 2000]"}, more},
		// What is in no file of a run makes no difference.
		{[]string{"stages.deploy.ready_timeout=9s"}, slow},
	} {
		told := false
		a, err := w.applyWith(t.Context(), ApplyOptions{OnPlan: func(p *pipeline.Plan, dir string) {
			told = dir == "" && p.Todo() == 0
		}}, twoModes, c.set...)
		if err != nil || a.New || a.RunDir != c.want.RunDir || a.Report != nil {
			t.Errorf("%q: %v, run %s, not %s", c.set, err, a.RunDir, c.want.RunDir)
		}
		if !told {
			t.Errorf("%q: nobody is told that nothing is to do", c.set)
		}
		want := 2
		if c.want == more {
			want = 4
		}
		if got := a.Tally(); got != (Tally{Usable: want}) {
			t.Errorf("%q: tally %+v, want %d usable", c.set, got, want)
		}
	}
	if got := len(runs.Of(filepath.Join(w.site.Results, "small"))); got != made || len(w.started()) != starts {
		t.Errorf("%d runs, %d servers started since", got, len(w.started())-starts)
	}
}

// TestApplyRestoresRun holds that a run of which something is missing is not
// passed off as whole: another is made, of stored results.
func TestApplyRestoresRun(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"deleted": os.Remove,
		"cut": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("<svg"), 0o644))
		},
	} {
		for _, file := range []string{"plots/vllm_benchmark_plots.svg", "samples/mode=simple/qps=1000/repeat=0/samples.parquet"} {
			w := newWorld(t)
			first := w.apply(oneMode)
			if err := damage(filepath.Join(first.RunDir, file)); err != nil {
				t.Fatal(err)
			}
			second := w.apply(oneMode)
			if !second.New || second.RunDir == first.RunDir {
				t.Errorf("%s %s: the run %s is taken for whole", file, name, second.RunDir)
				continue
			}
			if n := len(w.started()); n != 1 {
				t.Errorf("%s %s: %d servers were started", file, name, n)
			}
			if !slices.Contains(filesBelow(t, second.RunDir), file) {
				t.Errorf("%s %s: the new run lacks it too", file, name)
			}
			if got := runs.StateOf(second.RunDir); got != runs.Complete {
				t.Errorf("%s %s: the new run is %s", file, name, got)
			}
			if third := w.apply(oneMode); third.New || third.RunDir != second.RunDir {
				t.Errorf("%s %s: then %s", file, name, third.RunDir)
			}
		}
	}
}

// TestFindRun holds which of several runs is taken.
func TestFindRun(t *testing.T) {
	w := newWorld(t)
	a := w.apply(oneMode)
	base := filepath.Dir(a.RunDir)
	plan, err := PlanOf(t.Context(), w.parse(oneMode), w.site, PlanChoices{})
	if err != nil {
		t.Fatal(err)
	}
	if got := findRun(base, plan); got != a.RunDir {
		t.Errorf("found %q, not %q", got, a.RunDir)
	}
	// Later folders that are no such run: no journal, an empty one, one
	// without an end, one of other results, one without its files.
	mark := plan.Fingerprint()
	for name, records := range map[string][]history.Record{
		"30000101_000000": nil,
		"30000101_000001": {},
		"30000101_000002": {{Kind: history.RunBegun}},
		"30000101_000003": {{Kind: history.RunDone, Fingerprint: "other"}},
		"30000101_000004": {{Kind: history.RunDone, Fingerprint: mark}},
		"30000101_000005": {{Kind: history.RunDone, Fingerprint: mark}, {Kind: history.NodeBegun, Fingerprint: mark}},
	} {
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if records == nil {
			continue
		}
		j, err := history.Create(filepath.Join(dir, history.FileName))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := j.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := findRun(base, plan); got != a.RunDir {
		t.Errorf("found %q, not %q", got, a.RunDir)
	}
	// Of two that hold the same, the newer.
	twin := filepath.Join(base, "30000101_000006")
	if err := os.CopyFS(twin, os.DirFS(a.RunDir)); err != nil {
		t.Fatal(err)
	}
	if got := findRun(base, plan); got != twin {
		t.Errorf("found %q, not %q", got, twin)
	}
	if got := findRun(filepath.Join(base, "nowhere"), plan); got != "" {
		t.Errorf("found %q in a folder that is not there", got)
	}
}

// TestStrangeResultsFolder holds that letters which mean something in
// patterns mean nothing in the name of a folder.
func TestStrangeResultsFolder(t *testing.T) {
	w := newWorld(t)
	w.site.Results = filepath.Join(w.dir, `re[s]u*l?t\s`)
	a := w.apply(oneMode)
	if again := w.apply(oneMode); again.New || again.RunDir != a.RunDir {
		t.Errorf("the run %s is not found again", a.RunDir)
	}
	listed, err := List(w.site.Results)
	if err != nil || len(listed) != 1 || listed[0].Path != a.RunDir {
		t.Errorf("listed: %+v, %v", listed, err)
	}
}
