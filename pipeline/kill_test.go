package pipeline

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
)

// The test binary is its own child process: VBP_PIPELINE_CHILD is the folder
// in which it applies the small experiment, and dies at the event of the
// number VBP_PIPELINE_EVENT.
func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv("VBP_PIPELINE_CHILD")
	if !ok {
		os.Exit(m.Run())
	}
	at, err := strconv.Atoi(os.Getenv("VBP_PIPELINE_EVENT"))
	if err == nil {
		err = applyAndDie(dir, at)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// traced lets every load append a line to a file when its work ends, so that
// measurements are counted over processes.
func traced(w *world, dir string) *Graph {
	g := w.graph(two())
	for _, n := range g.Nodes {
		if n.Kind != Measurement {
			continue
		}
		inner := n.Work
		n.Work = func(ctx context.Context, in Input, rt *Runtime) error {
			f, err := os.OpenFile(filepath.Join(dir, "measured"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteString(n.ID + "\n"); err != nil {
				return err
			}
			return inner(ctx, in, rt)
		}
	}
	return g
}

func bareWorld(dir string) (*world, error) {
	s, err := cache.Open(filepath.Join(dir, "store"))
	return &world{
		store: s, dir: dir, up: make(map[string]int), starts: make(map[string]int), stops: make(map[string]int),
	}, err
}

func applyAndDie(dir string, at int) error {
	w, err := bareWorld(dir)
	if err != nil {
		return err
	}
	p, err := Make(traced(w, dir), w.store, PlanOptions{Now: time.Now()})
	if err != nil {
		return err
	}
	j, err := history.Create(filepath.Join(dir, history.FileName))
	if err != nil {
		return err
	}
	events := 0
	_, err = Execute(context.Background(), p, ExecuteOptions{
		Store: w.store, Journal: j, RunDir: filepath.Join(dir, "run"), Workers: 2,
		Emit: func(Event) {
			if events++; events == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	})
	return err
}

// Killed at any event, a run loses at most what was in flight: what was
// finished is reused, the rest is made, and the outcome is whole.
func TestKillAtEveryEvent(t *testing.T) {
	for at := 1; ; at++ {
		dir := tempDir(t)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "VBP_PIPELINE_CHILD="+dir, "VBP_PIPELINE_EVENT="+strconv.Itoa(at))
		out, err := cmd.CombinedOutput()
		if err == nil {
			if at < 20 { // 2 services with 2 events more each, 9 nodes that work with 2
				t.Errorf("only %d events", at-1)
			}
			return
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Fatalf("event %d: %v: %s", at, err, out)
		}
		records, _, err := history.Read(filepath.Join(dir, history.FileName))
		if err != nil {
			t.Fatalf("event %d: the journal: %v", at, err)
		}
		w, err := bareWorld(dir)
		if err != nil {
			t.Fatal(err)
		}
		w.t, w.now = t, time.Now()
		g := traced(w, dir)
		p := w.plan(g)
		for _, r := range records {
			if d := p.Decisions[max(0, g.index[r.Node])]; r.Kind == history.NodeDone && d.Node.Kind == Measurement && d.Action != Reuse {
				t.Errorf("event %d: %s was finished and is not reused: %s", at, r.Node, d.Why)
			}
		}
		rep, err := w.execute(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Results {
			if r.Node.leavesResult() && (r.Artefact == nil || r.Artefact.Verify() != nil) {
				t.Errorf("event %d: %s: %s", at, r.Node.ID, r.State)
			}
		}
		if p := w.plan(g); p.Todo() != 0 {
			t.Errorf("event %d: still to do:\n%s", at, decisions(p))
		}
		measured, err := os.ReadFile(filepath.Join(dir, "measured"))
		if n := strings.Count(string(measured), "\n"); err != nil || n < 4 || n > 5 {
			t.Errorf("event %d: %d measurements of 4, %v; at most the one in flight may be taken again", at, n, err)
		}
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "store", "tmp", "*")); len(left) > 0 {
			t.Errorf("event %d: drafts left: %v", at, left)
		}
	}
}
