package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"vbp/pipeline/history"
)

// crashSpec is short, with real servers, sockets and files.
const crashSpec = `
name: crash
model: Qwen/Qwen3-8B
modes: {simple: {engine: simulated}}
workload: {requests: 6, dataset: {kind: random, input_tokens: 16, output_tokens: 2}}
slo: {ttft: 500ms, tpot: 50ms}
sweep: {qps: [200, 400]}
stages: {warmup: {requests: 1}, plot: {formats: [svg]}, load: {cooldown: 0s}}
valid: ["sent == 6"]
figures: [{file: attainment, kind: attainment}]
`

// crashFiles are what an apply of it leaves that follows from its samples.
var crashFiles = []string{"analysis.json", "analysis.csv", "points.json", "plots/attainment.svg"}

// crashPoints is how many points it has.
const crashPoints = 2

// crashesAtOnce is how many sites are worked on at a time: an apply mostly waits
// for its server.
const crashesAtOnce = 3

// atEveryStep prepares a site and kills an apply in it at its first step, at
// the second in another site, and so on until one ends by itself; then it holds
// what after says.
func atEveryStep(t *testing.T, prepare func(t *testing.T) *crashSite, args []string, after func(t *testing.T, s *crashSite, stdout string)) {
	var next atomic.Int64
	var ended atomic.Bool
	var all sync.WaitGroup
	var mu sync.Mutex
	kinds, kills, withServer := make(map[string]int), 0, 0
	for range crashesAtOnce {
		all.Go(func() {
			for !ended.Load() && !t.Failed() {
				n := int(next.Add(1))
				t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) {
					s := prepare(t)
					stdout, stderr, code := s.told(t, crashStep, n, args...)
					if code == exitDone {
						ended.Store(true)
						after(t, s, stdout)
						return
					}
					if code >= 0 {
						t.Fatalf("exit code %d\n%s", code, stderr)
					}
					step, serving := s.step(t), s.serving(t)
					mu.Lock()
					kills++
					kinds[step]++
					if serving {
						withServer++
					}
					mu.Unlock()
					after(t, s, "")
					if t.Failed() {
						t.Logf("killed at step %d, %s", n, step)
					}
				})
			}
		})
	}
	all.Wait()
	t.Logf("%d kills, %d of them with a server up, at %v", kills, withServer, kinds)
	if !t.Failed() && (kills < 100 || withServer < 20 || len(kinds) < 15) {
		t.Errorf("%d kills, %d with a server up, at %d kinds of step: too few to be all", kills, withServer, len(kinds))
	}
}

// TestKillAtEveryStep kills apply at each step of the store and of the
// journal in turn, and holds that the next apply finishes what it began and
// nothing more.
func TestKillAtEveryStep(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	atEveryStep(t,
		func(t *testing.T) *crashSite { return newCrashSite(t, crashFolder(t), crashSpec) },
		[]string{"spec.yaml"},
		func(t *testing.T, s *crashSite, stdout string) {
			if stdout == "" {
				s.recovers(t)
			} else {
				s.is(t, stdout)
			}
		})
}

// TestKillAtEveryStepOfARerun does so with an apply that was told to do again
// what is there: nothing that was measured before is lost, and it need not be
// measured a third time.
func TestKillAtEveryStepOfARerun(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	first := newCrashSite(t, crashFolder(t), crashSpec)
	if _, stderr, code := first.vbp(t, "apply", "spec.yaml"); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	held := first.points(t)
	atEveryStep(t,
		first.copied,
		[]string{"spec.yaml", "--rerun", "load", "--rerun", "collect", "--rerun", "analyze"},
		func(t *testing.T, s *crashSite, _ string) {
			before := s.points(t)
			stdout, stderr, code := s.vbp(t, "apply", "spec.yaml")
			if code != exitDone || strings.Contains(stderr, "load mode=") {
				t.Errorf("the next apply: exit code %d\n%s", code, stderr)
			}
			s.gone(t)
			s.sound(t)
			after := s.points(t)
			for node, attempts := range held {
				if len(after[node]) != len(before[node]) || len(after[node]) == 0 || after[node][0].Attempt != attempts[0].Attempt {
					t.Errorf("%s: %d attempts were there, %d are", node, len(before[node]), len(after[node]))
				}
			}
			s.is(t, stdout)
		})
}

// TestKillAgainAndAgain kills one apply after the other in one folder, each a
// little later than the one before: every one goes on where the last was.
func TestKillAgainAndAgain(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	s := newCrashSite(t, crashFolder(t), crashSpec)
	kills := 0
	for n := 3; ; n += 3 {
		before := s.points(t)
		_, stderr, code := s.told(t, crashStep, n, "spec.yaml")
		after := s.points(t)
		for node, attempts := range before {
			if len(attempts) != 1 || len(after[node]) != 1 || attempts[0].Attempt != after[node][0].Attempt {
				t.Errorf("%s had %d attempts, and has %d", node, len(attempts), len(after[node]))
			}
		}
		if code == exitDone {
			break
		}
		if code >= 0 || n > 300 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		kills++
	}
	t.Logf("%d kills", kills)
	s.goesOn(t)
}

// TestKillInMidLoad kills apply while requests are in flight, and in another
// site its guardian just before, so that nobody is left to end the server.
func TestKillInMidLoad(t *testing.T) {
	for _, c := range []struct {
		name     string
		guardian bool
	}{
		{"apply", false},
		{"apply and guardian", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newCrashSite(t, crashFolder(t), strings.Replace(crashSpec, "[200, 400]", "[200, 5]", 1))
			apply := s.command(t, "apply", "spec.yaml")
			if err := apply.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = apply.Process.Kill() })
			until(t, "the slow point has begun", func() bool { return s.begun("load mode=simple qps=5 repeat=0") })
			already := s.answered(t)
			until(t, "the server has answered some of it", func() bool { return s.answered(t) > already+1 })
			if c.guardian {
				if err := syscall.Kill(s.pid(t, "guard"), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if err := apply.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = apply.Wait()
			s.recovers(t)
		})
	}
}

// TestKillInMidStart kills apply while a server starts.
func TestKillInMidStart(t *testing.T) {
	s := newCrashSite(t, crashFolder(t), strings.Replace(crashSpec, "{engine: simulated}", "{engine: simulated, args: {ready-delay: 700ms}}", 1))
	apply := s.command(t, "apply", "spec.yaml")
	if err := apply.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = apply.Process.Kill() })
	until(t, "the server listens", func() bool { return s.answered(t) >= 0 })
	if err := apply.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = apply.Wait()
	if len(s.points(t)) > 0 {
		t.Error("it was measured already")
	}
	s.recovers(t)
}

// serving reports whether a server was up when the last records were written.
func (s *crashSite) serving(t *testing.T) bool {
	t.Helper()
	up := 0
	for _, records := range s.journals(t) {
		for _, r := range records {
			switch r.Kind {
			case history.ServiceStarted:
				up++
			case history.ServiceStopped:
				up--
			}
		}
	}
	return up > 0
}

// begun reports whether a node has begun, in any run.
func (s *crashSite) begun(node string) bool {
	files, _ := filepath.Glob(s.in("*", "*", history.FileName))
	for _, file := range files {
		records, _, _ := history.Read(file)
		for _, r := range records {
			if r.Kind == history.NodeBegun && r.Node == node {
				return true
			}
		}
	}
	return false
}

var (
	enginePort    = regexp.MustCompile(` engine .*--port (\d+)`)
	enginesAnswer = regexp.MustCompile(`(?m)^vllm:request_success_total\{.*finished_reason="length"\} (\d+)`)
)

// answered is how many requests the site's server says it has answered; -1 if
// there is none.
func (s *crashSite) answered(t *testing.T) int {
	t.Helper()
	for _, p := range processes(s.program) {
		m := enginePort.FindStringSubmatch(p)
		if m == nil || strings.Contains(p, " guard ") {
			continue
		}
		res, err := http.Get("http://127.0.0.1:" + m[1] + "/metrics")
		if err != nil {
			return -1
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return -1
		}
		if m := enginesAnswer.FindSubmatch(body); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			return n
		}
		return 0
	}
	return -1
}

// pid is that of the site's process that runs a command of vbp.
func (s *crashSite) pid(t *testing.T, command string) int {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && bytes.HasPrefix(data, []byte(s.program+"\x00"+command+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	t.Fatalf("no %s of %s runs", command, s.program)
	return 0
}

// recovers is that at most one point was in flight when an apply was killed,
// and that the next one goes on from there.
func (s *crashSite) recovers(t *testing.T) {
	t.Helper()
	before, inFlight := s.points(t), 0
	for _, records := range s.journals(t) {
		for _, r := range records {
			if r.Kind == history.NodeBegun && strings.HasPrefix(r.Node, "load ") && len(before[r.Node]) == 0 {
				inFlight++
			}
		}
	}
	if inFlight > 1 {
		t.Errorf("%d points were in flight when it was killed", inFlight)
	}
	s.goesOn(t)
}

// goesOn applies again after an apply that did not come to its end, and holds
// the outcome against what was there before.
func (s *crashSite) goesOn(t *testing.T) {
	t.Helper()
	before, killed := s.points(t), s.journals(t)
	for _, records := range killed {
		for _, r := range records {
			if r.Kind == history.NodeDone && strings.HasPrefix(r.Node, "load ") && len(before[r.Node]) == 0 {
				t.Errorf("%s was finished, and its result is lost", r.Node)
			}
		}
	}
	stdout, stderr, code := s.vbp(t, "apply", "spec.yaml")
	if code != exitDone {
		t.Fatalf("the next apply: exit code %d\n%s", code, stderr)
	}
	s.gone(t)
	s.sound(t)

	after := s.points(t)
	measured := make(map[string]int) // by the apply that went on
	for dir, records := range s.journals(t) {
		for _, r := range records {
			if _, old := killed[dir]; !old && r.Kind == history.NodeBegun && strings.HasPrefix(r.Node, "load ") {
				measured[r.Node]++
			}
		}
	}
	if len(after) != crashPoints {
		t.Errorf("%d points of %d have a result", len(after), crashPoints)
	}
	for node, attempts := range after {
		want := 1 - len(before[node])
		if len(attempts) != 1 || measured[node] != want {
			t.Errorf("%s has %d attempts and was measured %d times by the next apply, want 1 and %d", node, len(attempts), measured[node], want)
		}
		if old := before[node]; len(old) > 0 && old[0].Attempt != attempts[0].Attempt {
			t.Errorf("%s: the attempt %s was replaced by %s", node, old[0].Attempt, attempts[0].Attempt)
		}
	}
	for dir := range killed {
		if _, stderr, code := s.vbp(t, "show", dir); code != exitDone {
			t.Errorf("show %s: exit code %d\n%s", dir, code, stderr)
		}
	}
	if stdout, stderr, code := s.vbp(t, "list"); code != exitDone || !strings.Contains(stdout, "crash/") {
		t.Errorf("list: exit code %d\n%s%s", code, stdout, stderr)
	}
	s.is(t, stdout)
}

var resultsLine = regexp.MustCompile(`(?m)^results  (.*)$`)

// is holds that the run which an apply has named is what one that nothing
// interrupted makes of the same samples.
func (s *crashSite) is(t *testing.T, stdout string) {
	t.Helper()
	m := resultsLine.FindStringSubmatch(stdout)
	if m == nil {
		t.Fatalf("no results are named:\n%s", stdout)
	}
	run, again := filepath.Join(s.dir, m[1]), filepath.Join(s.dir, "again")
	for _, attempts := range s.points(t) {
		for _, a := range attempts {
			to := filepath.Join(again, ".store", strings.TrimPrefix(a.Dir, s.store().Root()))
			if err := os.CopyFS(to, os.DirFS(a.Dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stdout, stderr, code := s.vbp(t, "apply", "--results", "again", "spec.yaml")
	if m = resultsLine.FindStringSubmatch(stdout); code != exitDone || m == nil || !strings.Contains(stderr, "plan: 1 to run") || strings.Contains(stderr, "load ") {
		t.Fatalf("of the same samples: exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, name := range crashFiles {
		got, err := os.ReadFile(filepath.Join(run, name))
		want, wantErr := os.ReadFile(filepath.Join(s.dir, m[1], name))
		if err := errors.Join(err, wantErr); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what an apply makes that nothing interrupts: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}
