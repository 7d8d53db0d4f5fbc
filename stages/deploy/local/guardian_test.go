//go:build linux

package local

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vbp/stages/deploy"
)

// guardian starts a real guardian of this test.
func guardian(t *testing.T, argv ...string) (cmd *exec.Cmd, stdin io.WriteCloser, reports *json.Decoder, g Guard) {
	t.Helper()
	dir := t.TempDir()
	me, _ := identify(os.Getpid())
	g = Guard{ID: "id-" + t.Name(), Name: "server", Log: filepath.Join(dir, "log"), State: filepath.Join(dir, "x"+stateSuffix), Argv: argv, owner: me}
	line := g.Command(os.Args[0])
	cmd = exec.Command(line[0], line[1:]...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		nothingLeft(t, dir)
	})
	return cmd, stdin, json.NewDecoder(stdout), g
}

func next(t *testing.T, reports *json.Decoder, event string) report {
	t.Helper()
	var r report
	if err := reports.Decode(&r); err != nil || r.Event != event {
		t.Fatalf("report %+v (%v), want %s", r, err, event)
	}
	return r
}

func TestGuardianPassesExitStatusOn(t *testing.T) {
	for want, argv := range map[int][]string{
		7:       {"sh", "-c", "echo to the log; exit 7"},
		128 + 9: {"sh", "-c", "kill -9 $$"},
		127:     {"no-such-program-anywhere"},
	} {
		cmd, _, reports, g := guardian(t, argv...)
		if want == 127 {
			contains(t, next(t, reports, "failed").Error, "no-such-program-anywhere")
		} else {
			next(t, reports, "started")
			contains(t, next(t, reports, "exited").Exit, map[int]string{7: "exit status 7", 137: "killed by signal 9"}[want])
			next(t, reports, "gone")
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit status %d, want %d", argv, got, want)
		}
		if want == 7 {
			contains(t, strings.Join(lastLines(g.Log, 9), "\n"), "to the log")
		}
	}
}

func TestGuardianLeavesTerminalSignalsToItsOwner(t *testing.T) {
	cmd, stdin, reports, g := guardian(t, "sh", "-c", "trap 'echo INT arrives; exit 5' INT; echo ready; while :; do sleep 0.05; done")
	server := next(t, reports, "started").PID
	eventually(t, "the server runs", func() bool { return len(lastLines(g.Log, 9)) == 1 })
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	st, err := readState(g.State)
	if err != nil || st.Server == nil || st.Server.PID != server || !st.Server.alive() || !st.Guardian.alive() || st.Guardian.PID != cmd.Process.Pid {
		t.Fatalf("state %+v, %v", st, err)
	}
	// The server can still be interrupted: what its guardian catches is not
	// ignored in it.
	if err := syscall.Kill(server, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	contains(t, next(t, reports, "exited").Exit, "exit status 5")
	next(t, reports, "gone")
	_ = stdin
}

// The owner is gone as soon as nobody holds the pipe. The server takes no
// notice of SIGTERM and has a grandchild that left group and session.
func TestGuardianKillsTreeAtEndOfFile(t *testing.T) {
	dir := t.TempDir()
	_, stdin, reports, g := guardian(t, os.Args[0], "engine", "--model", "m", "--host", deploy.Host, "--port", "0", "--deaf", "--daemon", dir)
	next(t, reports, "started")
	eventually(t, "a grandchild", func() bool { return strings.Contains(strings.Join(lastLines(g.Log, 9), " "), "engine: up") })
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Fatalf("grandchildren: %v", files)
	}
	stdin.Close()
	contains(t, next(t, reports, "exited").Exit, "signal 9")
	next(t, reports, "gone")
	if left := players(); len(left) > 1 { // the guardian itself is on its way out
		t.Errorf("left over: %v", left)
	}
}

func TestGuardianRefusesBadArguments(t *testing.T) {
	var out strings.Builder
	if code := RunGuardian([]string{"--log", "x"}, strings.NewReader(""), &out); code != 2 {
		t.Errorf("exit status %d, want 2", code)
	}
	contains(t, out.String(), "usage: vbp guard")
}
