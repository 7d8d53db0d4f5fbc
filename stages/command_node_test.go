package stages

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vbp/pipeline"
)

// commandNode is the node of a command stage. settings are those of the
// stage, behind "uses: command".
func (w *world) commandNode(settings string) *pipeline.Node {
	w.t.Helper()
	return w.build(changed(w.t, oneMode, "stages: {", "stages: {own: {uses: command, "+settings+"}, ")).Node("own")
}

// command runs a command stage by itself, in a folder that it returns.
func (w *world) command(settings string, needs map[string]string) (dir string, err error) {
	w.t.Helper()
	n := w.commandNode(settings)
	dir = w.t.TempDir()
	return dir, n.Work(w.t.Context(), n.Input, &pipeline.Runtime{Dir: dir, Needs: needs})
}

// filesBelow lists the files below dir.
func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func contentOf(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCommand holds what a command finds and what is kept of it.
func TestCommand(t *testing.T) {
	w := newWorld(t)
	w.env["TOKEN"] = "hush"
	script := w.write("tools/step.sh", `#!/bin/sh
mkdir deep
echo "$LEVEL $SECRET${STRAY-} $(cat "$VBP_ANALYZE/made") $(cat data.txt)" > deep/out.txt
echo draft > scratch; echo more > deep/scratch
echo told; echo warned >&2
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("data.txt", "words")
	need := t.TempDir()
	if err := os.WriteFile(filepath.Join(need, "made"), []byte("analysis"), 0o644); err != nil {
		t.Fatal(err)
	}
	// What a key does not hold does not reach a command.
	t.Setenv("LEVEL", "outer")
	t.Setenv("STRAY", "stray")
	dir, err := w.command(`run: ./step.sh, needs: [analyze], inputs: [tools/step.sh, data.txt], outputs: [./deep//out.txt],
    env: {LEVEL: inner, SECRET: "${secret:TOKEN}"}`, map[string]string{"analyze": need})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contentOf(t, dir, "deep/out.txt"), "inner hush analysis words\n"; got != want {
		t.Errorf("it wrote %q, want %q", got, want)
	}
	// Inputs, which are known already, and drafts are not results.
	if got, want := filesBelow(t, dir), []string{"deep/out.txt", "stderr.txt", "stdout.txt"}; !slices.Equal(got, want) {
		t.Errorf("kept: %q, want %q", got, want)
	}
	if out, errs := contentOf(t, dir, "stdout.txt"), contentOf(t, dir, "stderr.txt"); out != "told\n" || errs != "warned\n" {
		t.Errorf("streams %q and %q", out, errs)
	}
	// It works on copies.
	if _, err = w.command("run: echo more >> data.txt, inputs: [data.txt]", nil); err != nil {
		t.Error(err)
	}
	if got := contentOf(t, w.dir, "data.txt"); got != "words" {
		t.Errorf("the user's own file became %q", got)
	}
}

// TestCommandLeavesNothingRunning holds that what a command started ends with
// it, though it succeeded.
func TestCommandLeavesNothingRunning(t *testing.T) {
	w := newWorld(t)
	run, pipe := lineage(t)
	in := reader(t, pipe, syscall.O_NONBLOCK)
	// The command ends as soon as its grandchild is there.
	dir, err := w.command(`run: "(`+strings.Replace(run, "wait", ": > here; wait", 1)+`) & until test -e here; do :; done; echo done"`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !ended(t, in) {
		t.Error("the grandchild never began")
	}
	if got := contentOf(t, dir, "stdout.txt"); got != "done\n" {
		t.Errorf("it told %q", got)
	}
}

func TestCommandErrors(t *testing.T) {
	w := newWorld(t)
	w.write("x", "")
	for name, c := range map[string]struct {
		settings string
		want     []string
		not      string
	}{
		"exit code":        {"run: 'echo out; echo trouble >&2; exit 7'", []string{`command "echo out; echo trouble >&2; exit 7": exit status 7`, "\n  trouble"}, "\n  out"},
		"last lines":       {"run: 'seq 100 >&2; exit 1'", []string{"\n  91\n", "\n  100"}, "\n  90\n"},
		"signal":           {"run: kill -TERM $$", []string{"exit status 143"}, ""},
		"not there":        {"run: ./nowhere.sh", []string{"exit status 127", "nowhere.sh"}, ""},
		"no output":        {"run: 'echo > a', outputs: [a, b/c]", []string{"succeeded but did not write its output b/c"}, ""},
		"output is link":   {"run: 'echo > a; ln -s a b', outputs: [a, b]", []string{"its output b is a link, or behind one"}, ""},
		"behind a link":    {"run: 'mkdir d; echo > d/a; ln -s d e', outputs: [e/a]", []string{"its output e/a is a link, or behind one"}, ""},
		"output is folder": {"run: mkdir a, outputs: [a]", []string{"succeeded but did not write its output a"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.command(c.settings, nil)
			mustContain(t, err, c.want...)
			if c.not != "" && err != nil && strings.Contains(err.Error(), c.not) {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

// TestCommandKeepsStreams holds that what a command said is in the run's
// folder when it fails, however it does, and that the error says where.
func TestCommandKeepsStreams(t *testing.T) {
	w := newWorld(t)
	w.env["TOKEN"] = "hush"
	const say = "echo out $SECRET; echo trouble $SECRET >&2; "
	for name, c := range map[string]struct {
		run, settings string
		stop          bool // it is interrupted
		want          string
	}{
		"exit code": {say + "exit 3", "", false, "exit status 3\n  trouble ${secret:TOKEN}\n  its output: "},
		"timeout":   {say + "sleep 1000", ", timeout: 1s", false, "it ran longer than its timeout of 1s\n"},
		"interrupt": {say + ": > said; sleep 1000", "", true, "enough"},
		"no output": {say, ", outputs: [a]", false, "it succeeded but did not write its output a\n  its output: "},
	} {
		t.Run(name, func(t *testing.T) {
			n := w.commandNode(`run: "` + c.run + `", env: {SECRET: "${secret:TOKEN}"}` + c.settings)
			rt := &pipeline.Runtime{Dir: t.TempDir(), RunDir: t.TempDir(), Emit: func(pipeline.Event) {}}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var watching sync.WaitGroup
			if c.stop {
				watching.Go(func() {
					for ctx.Err() == nil {
						if _, err := os.Stat(filepath.Join(rt.Dir, "said")); err == nil {
							cancel(errors.New("enough"))
						}
						runtime.Gosched()
					}
				})
			}
			err := n.Work(ctx, n.Input, rt)
			cancel(nil)
			watching.Wait()
			out, errs := filepath.Join(rt.RunDir, "logs/own/stdout.txt"), filepath.Join(rt.RunDir, "logs/own/stderr.txt")
			mustContain(t, err, c.want, "its output: "+out+", "+errs)
			if name == "timeout" && len(contentOf(t, out)) == 0 {
				t.Skip("the machine is too busy for the command to say anything within a second")
			}
			if got := contentOf(t, out) + contentOf(t, errs); got != "out ${secret:TOKEN}\ntrouble ${secret:TOKEN}\n" {
				t.Errorf("kept: %q", got)
			}
		})
	}
}

// lineage makes a named pipe and a command that starts a child of a child
// which holds the pipe's end for writing and would live for long.
func lineage(t *testing.T) (run, pipe string) {
	t.Helper()
	pipe = filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	return fmt.Sprintf("exec 9>%s; sh -c 'sleep 1000 & echo begun >&9; wait'; true", pipe), pipe
}

// reader opens the pipe, with O_NONBLOCK before somebody has it open for
// writing.
func reader(t *testing.T, pipe string, flag int) *os.File {
	t.Helper()
	in, err := os.OpenFile(pipe, os.O_RDONLY|flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

// ended holds that nobody has the pipe open any more, and says whether
// somebody ever had.
func ended(t *testing.T, in *os.File) (begun bool) {
	t.Helper()
	// Far longer than it takes, and only reached if something survives.
	if err := in.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		t.Errorf("a child of the command outlives it: %v", err)
	}
	return string(data) == "begun\n"
}

// TestCommandTimeout holds that a command which takes too long is ended with
// all that it started. A machine may be too busy to let it begin in time: then
// it gets more.
func TestCommandTimeout(t *testing.T) {
	w := newWorld(t)
	for _, limit := range []string{"100ms", "1s", "10s"} {
		run, pipe := lineage(t)
		in := reader(t, pipe, syscall.O_NONBLOCK)
		_, err := w.command(`run: "`+run+`", timeout: `+limit, nil)
		mustContain(t, err, "command ", "it ran longer than its timeout of "+limit)
		if ended(t, in) {
			return
		}
	}
	t.Error("the command never began")
}

func TestCommandCancelled(t *testing.T) {
	w := newWorld(t)
	run, pipe := lineage(t)
	n, rt := w.commandNode(`run: "`+run+`"`), &pipeline.Runtime{Dir: t.TempDir()}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		done <- n.Work(ctx, n.Input, rt)
		// Should it have ended by itself, nobody waits for it below.
		if out, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			_ = out.Close()
		}
	}()
	watch := reader(t, pipe, syscall.O_NONBLOCK)
	in := reader(t, pipe, 0) // returns when the command has it open
	line, err := bufio.NewReader(in).ReadString('\n')
	if line != "begun\n" {
		t.Fatalf("%q, %v", line, err)
	}
	enough := errors.New("enough")
	cancel(enough)
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	ended(t, watch)
}

// TestCommandOfAbsentNeed holds that a command runs in the executor with the
// folders of what it needs, and is skipped without them.
func TestCommandOfAbsentNeed(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, twoModes, "stages: {", `stages: {
  own: {uses: command, per: mode, needs: [load, analyze], run: "IFS=:; for d in $VBP_LOAD; do ls $d; done; ls $VBP_ANALYZE"}, `,
		"qps: [1000]", "qps: [1000, 2000]")
	w.prepare = func(s *server) error {
		if s.deployment.Connector == "nixl" {
			return errors.New("no such card")
		}
		return nil
	}
	a := w.apply(spec)
	// Folders of several results are a list as PATH is.
	got := contentOf(t, a.RunDir, "own/simple/stdout.txt")
	if strings.Count(got, "samples.parquet\n") != 2 || !strings.Contains(got, "analysis.json\n") {
		t.Errorf("in the folders of its needs it finds\n%s", got)
	}
	r := a.Report.Result("own mode=nixl")
	if r.State != pipeline.StateSkipped || !strings.Contains(r.Err.Error(), "no such card") {
		t.Errorf("without its need: %s, %v", r.State, r.Err)
	}
}
