package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain makes this test binary vbp itself when it is called by that name:
// scripts and the processes that vbp starts run the code under test.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "vbp" {
		// Where the machine's lock lies: these tests wait for nobody who
		// measures on it.
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("vbp-test-%d", os.Getuid()))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			panic(err)
		}
		os.Setenv("TMPDIR", dir)
	}
	testscript.Main(m, map[string]func(){"vbp": main})
}

// TestScripts runs the command as a user would: each file of
// testdata/script is a session.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "rows": rows,
		},
		Setup: func(env *testscript.Env) error {
			root, err := filepath.Abs("../..")
			env.Setenv("REPO", root)
			return errors.Join(err, writeStandIns(env))
		},
	})
}

// exits is the script command `exits CODE COMMAND...`: the command must end
// with that exit code. Its output is for stdout and stderr to look at.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, not %s", code, args[0])
	}
}

// rows is the script command `rows N REGEXP FILE`: N lines of the file match.
func rows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: rows N TEXT FILE")
	}
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		if strings.Contains(line, args[1]) {
			n++
		}
	}
	if got := strconv.Itoa(n); got != args[0] {
		ts.Fatalf("%s lines hold %q, not %s:\n%s", got, args[1], args[0], ts.ReadFile(args[2]))
	}
}

// vbpProgram is the path of a vbp that runs the code under test.
func vbpProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vbp")
	if os.Link(self, path) == nil {
		return path
	}
	data, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(path, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// vbp runs the command in dir and returns its output and exit code.
func vbp(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), vbpProgram(t), args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestEveryCommandHelps holds that --help of each command has an example and
// that its flags say what they do.
func TestEveryCommandHelps(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		var out bytes.Buffer
		if code := run(context.Background(), []string{cmd.Name(), "--help"}, &out, &out); code != 0 {
			t.Errorf("vbp %s --help: exit code %d", cmd.Name(), code)
		}
		if !strings.Contains(out.String(), "Examples:") {
			t.Errorf("vbp %s --help has no example", cmd.Name())
		}
		checkFlags(t, cmd)
	}
}

func checkFlags(t *testing.T, cmd *cobra.Command) {
	for line := range strings.Lines(cmd.Flags().FlagUsages()) {
		if fields := strings.Fields(line); len(fields) < 3 {
			t.Errorf("vbp %s: a flag without a description: %q", cmd.Name(), line)
		}
	}
}

// A value with a unit, where a flag wants a number, is told in a user's words.
func TestFlagIsNoNumber(t *testing.T) {
	_, stderr, code := vbp(t, t.TempDir(), "compare", "--simple-dir", "a", "--nixl-dir", "b", "--ttft-slo", "125ms")
	if code != 2 || !strings.Contains(stderr, `invalid argument "125ms" for "--ttft-slo" flag: want a number alone`) || strings.Contains(stderr, "strconv") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
