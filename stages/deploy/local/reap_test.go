//go:build linux

package local

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vbp/stages/deploy"
)

// apply starts another process that deploys, and returns what it tells.
func apply(t *testing.T, o deploy.Options, d deploy.Deployment) (*exec.Cmd, applied) {
	t.Helper()
	var a applied
	a.Deployment, a.Options.LogDir, a.Options.StateDir = d, o.LogDir, o.StateDir
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "apply", string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return cmd, a
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func pair(args ...deploy.Arg) deploy.Deployment {
	return deploy.Deployment{
		Engine: "simulated", Model: "m", Connector: "nixl",
		Prefill: &deploy.Pool{Instances: 1, Args: args}, Decode: &deploy.Pool{Instances: 1, Args: args},
	}
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	o := options(t)
	daemons := t.TempDir()
	cmd, a := apply(t, o, pair(arg("daemon", daemons), arg("deaf", true)))
	for _, in := range a.Instances[:2] {
		if _, alive := identify(pidIn(t, filepath.Join(daemons, strconv.Itoa(in.PID)))); !alive {
			t.Fatalf("%s has no grandchild", in.Name)
		}
	}
	if killed, err := Reap(o.StateDir); len(killed) > 0 || err != nil {
		t.Fatalf("of a live apply: %v, %v", killed, err)
	}
	// With its process group, as CI runners kill.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// Either Reap finds guardians at work and waits for them, or they have
	// finished; nothing is left after it in both cases.
	if killed, err := Reap(o.StateDir); len(killed) > 0 || err != nil {
		t.Errorf("Reap did the guardians' work: %v, %v", killed, err)
	}
	eventually(t, "the last guardian ends", func() bool { return len(players()) == 0 })
	nothingLeft(t, o.StateDir)
}

// Guardians and owner die at once, as when a host's memory runs out. One
// server leaves a grandchild that carries the marker, and a child that does
// not, as if it had overwritten its environment.
func TestReapAfterKilledGuardians(t *testing.T) {
	o := options(t)
	daemons, bare := t.TempDir(), filepath.Join(t.TempDir(), "pid")
	d := single(arg("daemon", daemons), arg("bare", bare))
	cmd, a := apply(t, o, d)
	plain, ok := identify(pidIn(t, bare))
	if !ok {
		t.Fatal("the server has no child without environment")
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP) // lest it does the guardian's work
	for _, pid := range a.Guardians {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	server := a.Instances[0].PID
	eventually(t, "the kernel kills the server with its guardian", func() bool { _, alive := identify(server); return !alive })
	if _, alive := identify(pidIn(t, filepath.Join(daemons, strconv.Itoa(server)))); !alive {
		t.Fatal("nothing is left to reap")
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	var killed []string
	for range 2 { // two vbp at once
		wg.Go(func() {
			lines, err := Reap(o.StateDir)
			mu.Lock()
			defer mu.Unlock()
			killed = append(killed, lines...)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	contains(t, strings.Join(killed, "\n"), "sleeper", "sleep 3600", "server (pid ")
	if plain.alive() {
		t.Error("the child without environment is left")
	}
	nothingLeft(t, o.StateDir)
}

// The guardian alone dies: its owner notices, and does its work.
func TestOwnerClearsUpAfterKilledGuardian(t *testing.T) {
	o := options(t)
	r := start(t, single(arg("daemon", t.TempDir())), o)
	if err := r.processes[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.Died()
	contains(t, r.Err().Error(), "server died with its guardian (signal: killed)")
	eventually(t, "the tree is gone", func() bool { return len(players()) == 0 })
}

func TestReapTouchesNothingForeign(t *testing.T) {
	dir := t.TempDir()
	foreign := exec.Command("sleep", "3600")
	foreign.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a group of the same number, too
	if err := foreign.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = foreign.Process.Kill()
		_ = foreign.Wait()
	}()
	id, _ := identify(foreign.Process.Pid)
	later := identity{PID: id.PID, Start: id.Start - 1} // whose pid it has got since

	write := func(name string, change func(*state)) {
		s := state{
			Schema: stateSchema, ID: "id-" + name, Name: name, Host: thisHost(),
			Owner: later, Guardian: later, Server: &later, Log: filepath.Join(dir, "log"),
		}
		change(&s)
		if err := s.write(filepath.Join(dir, name+stateSuffix)); err != nil {
			t.Fatal(err)
		}
	}
	write("reused", func(*state) {})
	write("rebooted", func(s *state) { s.Host.Boot = "earlier" })
	write("elsewhere", func(s *state) { s.Host.Name += "-other" })
	write("container", func(s *state) { s.Host.PIDNamespace = "pid:[1]" })
	if err := os.WriteFile(filepath.Join(dir, "cut"+stateSuffix), []byte(`{"schema":`), 0o644); err != nil {
		t.Fatal(err)
	}

	killed, err := Reap(dir)
	if len(killed) > 0 {
		t.Errorf("killed %v", killed)
	}
	contains(t, fmt.Sprint(err), "cut"+stateSuffix)
	if !id.alive() {
		t.Error("the foreign process is dead")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"+stateSuffix))
	for i := range left {
		left[i] = strings.TrimSuffix(filepath.Base(left[i]), stateSuffix)
	}
	if got, want := strings.Join(left, " "), "container cut elsewhere"; got != want {
		t.Errorf("states left: %s, want %s", got, want)
	}
	if killed, err := Reap(filepath.Join(dir, "none")); killed != nil || err != nil {
		t.Error(killed, err)
	}
}
