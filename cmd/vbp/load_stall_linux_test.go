package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stallSpec is a point of some seconds, which is tried once.
var stallSpec = strings.NewReplacer("qps: [500, 4]", "qps: [4]", "cooldown: 0s", "cooldown: 0s, retries: 0").Replace(longSpec)

// TestStoppedClient stops vbp in mid-load, as a suspended machine or a
// debugger would: the point is kept, drawn hollow and said to be the client's
// fault, and the next apply measures it again.
func TestStoppedClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it loads for some seconds")
	}
	dir := t.TempDir()
	a := startApply(t, dir, stallSpec, longPoint)
	// Ten requests at four per second: when its spool is there, most of the
	// point is ahead.
	until(t, "the load has begun", func() bool {
		return len(filesNamed(t, filepath.Join(dir, "results"), "rows.spool")) > 0
	})
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "it has stopped", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(rest, "T")
	})
	<-time.After(800 * time.Millisecond) // what is to be noticed, not a wait for something
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Logf("apply: %v", err)
	}
	const why = "client_stall_max_ms < 500, it was "
	if !strings.Contains(a.stderr.String(), "not valid: "+why) {
		t.Errorf("apply says:\n%s", a.stderr.String())
	}
	runs, _ := filepath.Glob(filepath.Join(dir, "results", "long", "2*"))
	if len(runs) != 1 {
		t.Fatalf("runs %q", runs)
	}
	figures, _ := filepath.Glob(filepath.Join(runs[0], "plots", "*.svg"))
	if len(figures) == 0 {
		t.Fatal("there is no figure")
	}
	text, err := os.ReadFile(figures[0])
	if err != nil || !strings.Contains(string(text), "Hollow markers: not valid: client_stall_max_ms") {
		t.Errorf("the figure does not say which point is hollow, and why: %v", err)
	}
	stdout, _, _ := vbp(t, dir, "plan", "spec.yaml")
	if !strings.Contains(stdout, "the last attempt is not usable: "+why) {
		t.Errorf("plan says:\n%s", stdout)
	}
	if stdout, stderr, _ := vbp(t, dir, "apply", "spec.yaml"); strings.Contains(stderr, "not valid: "+why) || !strings.Contains(stderr, longPoint+": 10 sent") {
		t.Errorf("the next apply:\n%s%s", stdout, stderr)
	}
}

// filesNamed lists the files of that name at any depth.
func filesNamed(t *testing.T, dir, name string) []string {
	t.Helper()
	var out []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name { // a folder may be gone by now
			out = append(out, path)
		}
		return nil
	})
	return out
}
