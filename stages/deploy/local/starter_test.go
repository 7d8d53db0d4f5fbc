//go:build linux

package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vbp/stages/deploy"
)

func TestStartDisaggregated(t *testing.T) {
	d := deploy.Deployment{
		Engine: "simulated", Model: "m", Connector: "nixl",
		Prefill: &deploy.Pool{Instances: 2, TensorParallel: 1, Args: []deploy.Arg{arg("version", "1.0")}, Env: map[string]string{"TOKEN": "${secret:T}"}},
		Decode:  &deploy.Pool{Instances: 3, TensorParallel: 1, Args: []deploy.Arg{arg("version", "1.1")}},
	}
	o := options(t)
	o.Name = "nixl"
	o.Reveal = func(s string) (string, error) { return strings.ReplaceAll(s, "${secret:T}", "revealed"), nil }
	r := start(t, d, o)

	e := r.Endpoint()
	if e.Model != "m" || len(e.Instances) != 6 || e.URL != e.Instances[5].URL {
		t.Errorf("endpoint %+v", e)
	}
	urls := map[string]bool{}
	for i, want := range []string{"prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2", "proxy"} {
		in := e.Instances[i]
		urls[in.URL] = true
		if in.Name != want || in.PID == 0 || filepath.Base(in.Log) != "nixl-"+want+".log" {
			t.Errorf("instance %d: %+v", i, in)
		}
		if _, alive := identify(in.PID); !alive {
			t.Errorf("%s: no process has pid %d", in.Name, in.PID)
		}
	}
	if len(urls) != 6 {
		t.Errorf("addresses are not distinct: %v", urls)
	}
	env := r.Environment()
	for key, want := range map[string]string{
		"engine": "simulated", "model": "m", "max_model_len": "4096", "model_root": "/weights",
		"engine_version.prefill-1": "1.0", "engine_version.decode-2": "1.1", "engine_version": "",
	} {
		if env[key] != want {
			t.Errorf("environment %s = %q, want %q", key, env[key], want)
		}
	}
	if got := get(t, "GET", e.Instances[0].URL+"/getenv?name=TOKEN"); got != "revealed" {
		t.Errorf("the engine's secret is %q", got)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := r.ResetCaches(t.Context()); !all || err != nil {
		t.Error(all, err)
	}
	for _, in := range e.Instances[:5] {
		if got := get(t, "GET", in.URL+"/resets"); got != "1" {
			t.Errorf("%s: cache was reset %s times", in.Name, got)
		}
	}
	killed, err := Reap(o.StateDir) // while its owner lives
	if len(killed) > 0 || err != nil {
		t.Error(killed, err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		args    []deploy.Arg
		timeout time.Duration
		want    []string
	}{
		"dies": {
			[]deploy.Arg{arg("exit-at-start", int64(3)), arg("version", "it's")},
			0,
			[]string{"server died (exit status 3) before it was ready", "engine --model m --host 127.0.0.1 --port ", `--version 'it'\''s'`, "| engine: loading m", "| engine: out of memory"},
		},
		"never ready": {
			[]deploy.Arg{arg("never-ready", true), arg("daemon", "DIR")},
			2 * time.Second,
			[]string{"server was not ready within 2s", "still loading", "--never-ready", "| engine: loading m"},
		},
		"broken": {
			[]deploy.Arg{arg("broken", nil)},
			0,
			[]string{"server is ready but fails its first request", "answered 500", "kernel panic", "| engine: loading m"},
		},
		"secret in args": {
			[]deploy.Arg{arg("api-key", "${secret:K}")},
			0,
			[]string{"server: a secret in args would be visible", "env"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			for i := range c.args {
				if c.args[i].Value == "DIR" {
					c.args[i].Value = t.TempDir()
				}
			}
			if c.timeout > 0 {
				o.ReadyTimeout = c.timeout
			}
			o.Reveal = func(s string) (string, error) { return s, nil }
			_, err := New(os.Args[0]).Start(t.Context(), single(c.args...), o)
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), c.want...)
			nothingLeft(t, o.StateDir)
		})
	}
}

// A second process of the log file's name must not be blamed with the words
// of the first, and a port that was lost to somebody is replaced.
func TestStartAgainOnOtherPorts(t *testing.T) {
	o := options(t)
	flag := filepath.Join(t.TempDir(), "clashed")
	r := start(t, single(arg("clash", flag)), o)
	if _, err := os.Stat(flag); err != nil {
		t.Fatal("the first start met no clash")
	}
	m := r.processes[0]
	contains(t, strings.Join(lastLines(m.log, 99), "\n"), "Address already in use")
	if text := m.fault("").Error(); strings.Contains(text, "Address already in use") {
		t.Errorf("log lines of the earlier start are shown:\n%s", text)
	}
}

func TestStartOnTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := single()
	d.Port = l.Addr().(*net.TCPAddr).Port
	o := options(t)
	_, err = New(os.Args[0]).Start(t.Context(), d, o)
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "port "+strconv.Itoa(d.Port)+" is already taken by pid "+strconv.Itoa(os.Getpid()))
	if logs, _ := os.ReadDir(o.LogDir); len(logs) > 0 {
		t.Errorf("something was started: %v", logs)
	}

	l.Close()
	r := start(t, d, o) // free now
	if want := "http://127.0.0.1:" + strconv.Itoa(d.Port); r.Endpoint().URL != want {
		t.Errorf("at %s, want %s", r.Endpoint().URL, want)
	}
	if _, err := New(os.Args[0]).Start(t.Context(), d, o); err == nil {
		t.Error("a second deployment had the same port")
	} else {
		contains(t, err.Error(), "another deployment of this run")
	}
}

func TestStartCancelled(t *testing.T) {
	o := options(t)
	dir := t.TempDir()
	why := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	began := make(chan struct{})
	o.Progress = func(string) { close(began) }
	done := make(chan error)
	go func() {
		_, err := New(os.Args[0]).Start(ctx, single(arg("never-ready", true), arg("daemon", dir)), o)
		done <- err
	}()
	<-began
	eventually(t, "the server has a grandchild", func() bool { files, _ := os.ReadDir(dir); return len(files) == 1 })
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
	nothingLeft(t, o.StateDir)
}
