package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vbp/pipeline/history"
)

// longSpec has a short point, done at once, and a long one to be in the
// middle of.
const longSpec = `
name: long
model: Qwen/Qwen3-8B
modes:
  nixl:
    engine: simulated
    disaggregated: {connector: nixl}
workload: {requests: 10, dataset: {kind: random, input_tokens: 32, output_tokens: 2}}
sweep: {qps: [500, 4], order: as_written}
stages: {warmup: {requests: 2}, plot: {formats: [svg]}, load: {cooldown: 0s}}
valid: ["sent == 10"]
`

const (
	shortPoint = "load mode=nixl qps=500 repeat=0"
	longPoint  = "load mode=nixl qps=4 repeat=0"
)

// applying is a vbp apply that runs in the background.
type applying struct {
	cmd     *exec.Cmd
	program string
	stderr  bytes.Buffer
}

// startApply begins an apply of spec in dir and returns when node has begun.
func startApply(t *testing.T, dir, spec, node string) *applying {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here to see processes in")
	}
	file := filepath.Join(dir, "spec.yaml")
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	a := &applying{program: vbpProgram(t)}
	a.cmd = exec.Command(a.program, "apply", file)
	a.cmd.Dir, a.cmd.Stderr = dir, &a.stderr
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	until(t, "node "+node+" has begun", func() bool {
		journals, _ := filepath.Glob(filepath.Join(dir, "results", "*", "*", history.FileName))
		for _, j := range journals {
			records, _, _ := history.Read(j)
			for _, r := range records {
				if r.Kind == history.NodeBegun && r.Node == node {
					return true
				}
			}
		}
		return false
	})
	return a
}

// until polls for something that must come true.
func until(t *testing.T, what string, f func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !f() {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// processes lists the command lines of live processes of a program.
func processes(program string) []string {
	var out []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		data, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(data, []byte(program+"\x00")) {
			out = append(out, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return out
}

// TestKill9 kills apply in mid-load: no server outlives it, and the next
// apply measures only what is missing.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	a := startApply(t, dir, longSpec, longPoint)
	if n := len(processes(a.program)); n < 7 { // apply, three guardians, three servers
		t.Errorf("%d processes in mid-load, not 7", n)
	}
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = a.cmd.Wait()
	took := until(t, "no server is left", func() bool { return len(processes(a.program)) == 0 })
	t.Logf("all gone %v after the kill", took)

	stdout, _, code := vbp(t, dir, "list")
	if code != 0 || !strings.Contains(stdout, "unfinished") {
		t.Errorf("list, exit code %d, should call the run unfinished:\n%s", code, stdout)
	}
	resumes(t, dir)
}

// TestInterrupt ends apply by Ctrl-C in mid-load.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	a := startApply(t, dir, longSpec, longPoint)
	if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = a.cmd.Wait()
	if code := a.cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, not %d:\n%s", code, exitInterrupted, a.stderr.String())
	}
	if left := processes(a.program); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if !strings.Contains(a.stderr.String(), "finished points are kept") {
		t.Errorf("it does not say what is kept:\n%s", a.stderr.String())
	}
	resumes(t, dir)
}

// resumes applies again and holds that the short point is reused and the long
// one measured.
func resumes(t *testing.T, dir string) {
	t.Helper()
	stdout, _, _ := vbp(t, dir, "plan", "spec.yaml")
	for _, want := range []string{"reuse    " + shortPoint, "run      " + longPoint} {
		if !strings.Contains(stdout, want) {
			t.Errorf("plan lacks %q:\n%s", want, stdout)
		}
	}
	_, stderr, code := vbp(t, dir, "apply", "spec.yaml")
	if code != 0 {
		t.Fatalf("the next apply: exit code %d\n%s", code, stderr)
	}
	if strings.Contains(stderr, shortPoint+": 10 sent") || !strings.Contains(stderr, longPoint+": 10 sent") {
		t.Errorf("the next apply should measure %s only:\n%s", longPoint, stderr)
	}
	stdout, _, code = vbp(t, dir, "apply", "spec.yaml")
	if code != 0 || !strings.Contains(stdout, "Nothing to do") {
		t.Errorf("the one after, exit code %d, should have nothing to do:\n%s", code, stdout)
	}
}

// TestSecondApply holds that two applies of one spec do not run at once, and
// that the second says who holds it.
func TestSecondApply(t *testing.T) {
	dir := t.TempDir()
	a := startApply(t, dir, longSpec, longPoint)
	_, stderr, code := vbp(t, dir, "apply", "spec.yaml")
	if code != exitUsage || !strings.Contains(stderr, "long is being applied by process ") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("the first apply was disturbed: %v\n%s", err, a.stderr.String())
	}
}
