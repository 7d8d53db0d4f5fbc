package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages"
	"vbp/stages/runs"
)

// stressSpec is completed by a name, modes and a sweep.
const stressSpec = `
name: %s
model: Qwen/Qwen3-8B
modes: {%s}
workload: {requests: 4, dataset: {kind: random, input_tokens: 16, output_tokens: 2}}
slo: {ttft: 500ms, tpot: 50ms}
sweep: {%s}
stages: {warmup: {requests: 0}, plot: {formats: [svg]}, load: {cooldown: 0s, side_by_side: true}}
valid: ["sent == 4"]
figures: [{file: attainment, kind: attainment}]
`

// Ways to serve, and specs that have some of their points in common.
const (
	stressOne = `one: {engine: simulated}`
	stressTwo = `two: {engine: simulated, args: {max-num-seqs: 64}}`
	stressPD  = `pd: {engine: simulated, disaggregated: {connector: nixl}}`
)

var stressSpecs = []string{
	fmt.Sprintf(stressSpec, "a", stressOne, "qps: [500, 600]"),
	fmt.Sprintf(stressSpec, "b", stressOne, "qps: [500, 600]"), // as a, under another name
	fmt.Sprintf(stressSpec, "c", stressOne, "qps: [600, 700], repeat: 2"),
	fmt.Sprintf(stressSpec, "d", stressOne+", "+stressTwo, "qps: [500]"),
	fmt.Sprintf(stressSpec, "e", stressTwo+", "+stressOne, "qps: [500, 700], repeat: 2"),
	fmt.Sprintf(stressSpec, "f", stressPD, "qps: [500]"),
	fmt.Sprintf(stressSpec, "g", stressOne+", "+stressPD, "qps: [500, 600]"),
	fmt.Sprintf(stressSpec, "a", stressOne, "qps: [600]"), // less of what a has
}

const (
	stressApplies   = 100
	stressProcesses = 8
	stressSeeds     = 12 // each makes all points new
)

// TestStress applies overlapping specs by several processes in one results
// folder: nothing fails, and nothing is measured twice.
func TestStress(t *testing.T) {
	skipIfShort(t)
	s := newCrashSite(t, crashFolder(t), "")
	for i, spec := range stressSpecs {
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("%d.yaml", i)), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	var watch, all sync.WaitGroup
	watch.Go(func() { s.watch(t, ended) })
	var next, busy, waits atomic.Int64
	for range stressProcesses {
		all.Go(func() {
			for i := next.Add(1) - 1; i < stressApplies && !t.Failed(); i = next.Add(1) - 1 {
				stdout, stderr, code := s.vbp(t, "apply", "--wait",
					fmt.Sprintf("%d.yaml", i%int64(len(stressSpecs))), "--set", fmt.Sprintf("workload.seed=%d", i*stressSeeds/stressApplies))
				if code != exitDone || !strings.Contains(stdout, "\nresults  ") {
					t.Errorf("apply %d: exit code %d\n%s%s", i, code, stdout, stderr)
				}
				if strings.Contains(stderr, "load mode=") {
					busy.Add(1)
				}
				waits.Add(int64(strings.Count(stderr, "waiting: ")))
			}
		})
	}
	all.Wait()
	close(ended)
	watch.Wait()
	s.gone(t)
	s.sound(t)
	s.free(t)
	points := s.measuredOnce(t)
	t.Logf("%d applies, %d of them measured, %d waits for another; %d points", min(next.Load(), stressApplies), busy.Load(), waits.Load(), points)
	if want := stressSeeds * len(stressPoints()); points != want && !t.Failed() {
		t.Errorf("%d points were measured, and the specs have %d", points, want)
	}
}

// stressPoints are the different points of stressSpecs, for one seed.
func stressPoints() map[string]bool {
	points := make(map[string]bool)
	add := func(mode string, repeats int, rates ...int) {
		for r := range repeats {
			for _, q := range rates {
				points[fmt.Sprint(mode, q, r)] = true
			}
		}
	}
	add("one", 1, 500, 600) // a, b
	add("one", 2, 600, 700) // c
	add("one", 1, 500)      // d
	add("two", 1, 500)      // d
	add("one", 2, 500, 700) // e
	add("two", 2, 500, 700) // e
	add("pd", 1, 500)       // f
	add("one", 1, 500, 600) // g
	add("pd", 1, 500, 600)  // g
	return points
}

// watch reads the store again and again while others write it: whatever is
// there is whole.
func (s *crashSite) watch(t *testing.T, ended <-chan struct{}) {
	looks, most := 0, 0
	for {
		select {
		case <-ended:
			t.Logf("looked %d times at up to %d results", looks, most)
			return
		default:
		}
		n := 0
		err := s.store().Verify(t.Context(), func(a *cache.Artefact, err error) {
			n++
			if err != nil {
				t.Errorf("while others write: %s: %v", a.Dir, err)
			}
		})
		if err != nil {
			t.Errorf("while others write: %v", err)
			return
		}
		looks, most = looks+1, max(most, n)
		if n == 0 {
			continue // there may be no results folder yet
		}
		if _, err := stages.List(s.in()); err != nil {
			t.Errorf("list, while others write: %v", err)
			return
		}
	}
}

// free is that nobody holds a lock any more.
func (s *crashSite) free(t *testing.T) {
	t.Helper()
	locks, err := filepath.Glob(s.in(".store", "locks", "*.lock"))
	if names, nameErr := filepath.Glob(s.in(".store", "locks", "names", "*.lock")); nameErr == nil {
		locks = append(locks, names...)
	}
	if err != nil {
		t.Fatal(err)
	}
	machine := len(locks)
	err = filepath.WalkDir(filepath.Join(filepath.Dir(s.program), "tmp"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			locks = append(locks, path)
		}
		return err
	})
	if err != nil || len(locks) == machine {
		t.Errorf("the machine's locks: %d, %v", len(locks)-machine, err)
	}
	for _, path := range locks {
		l, holder, err := cache.TryLock(path, "test")
		if err != nil || l == nil {
			t.Errorf("%s is held by %s: %v", path, holder, err)
			continue
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
}

// measuredOnce is that every key was measured once, by the journals and by the
// store, that no attempt was rejected, and that every run is complete. It
// returns how many keys there are.
func (s *crashSite) measuredOnce(t *testing.T) int {
	t.Helper()
	accepted, rejected := make(map[string]int), make(map[string]int)
	nodes, why := make(map[string]string), make(map[string]string)
	for dir, records := range s.journals(t) {
		if last := records[len(records)-1]; last.Kind != history.RunDone || last.Text != runs.Complete {
			t.Errorf("%s ended as %s %s", dir, last.Kind, last.Text)
		}
		for _, r := range records {
			if !strings.HasPrefix(r.Node, "load ") || r.Kind != history.NodeDone {
				continue
			}
			nodes[r.Key] = r.Node
			if r.Text == "" {
				accepted[r.Key]++
			} else {
				rejected[r.Key]++
				why[r.Key+r.Attempt] = r.Text
			}
		}
	}
	stored := make(map[string]int)
	for _, attempts := range s.points(t) {
		for _, a := range attempts {
			stored[string(a.Key)]++
			if reason := why[string(a.Key)+a.Attempt]; reason != "" {
				rec, err := pipeline.RecordOf(a)
				t.Errorf("%s was rejected, though nothing was wrong with its server: %s; %q, %v", a.Slot, reason, rec.Notes, err)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(stored)) {
		if accepted[k] != 1 || stored[k] != accepted[k]+rejected[k] {
			t.Errorf("%s (%s): the journals tell of %d measurements and %d that were rejected, and the store has %d", nodes[k], k[:8], accepted[k], rejected[k], stored[k])
		}
	}
	return len(stored)
}
