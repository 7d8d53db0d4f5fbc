//go:build linux

package local

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vbp/stages/deploy"
)

// The test binary is vbp here: it executes itself as guardian, engine, proxy,
// and as an apply that can be killed. play is set in the environment of all
// of them, to a value of this run, so that what is left can be found.
const play = "VBP_LOCAL_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(play) == "" {
		os.Setenv(play, fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()))
		code := m.Run()
		for _, p := range players() { // of tests that failed
			p.signal(syscall.SIGKILL)
		}
		os.Exit(code)
	}
	switch role := os.Args[1]; role {
	case "guard":
		os.Exit(RunGuardian(os.Args[2:], os.Stdin, os.Stdout))
	case "engine":
		playEngine(os.Args[2:])
	case "serve": // as vllm is called
		playEngine(append([]string{"--model", os.Args[2]}, os.Args[3:]...))
	case deploy.Host: // as lmcache_server is called: HOST PORT cpu
		l := must1(net.Listen("tcp4", net.JoinHostPort(os.Args[1], os.Args[2])))
		for {
			must1(l.Accept()).Close()
		}
	case "proxy":
		playProxy(os.Args[2:])
	case "daemon":
		playDaemon(os.Args[2])
	case "sleeper":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		time.Sleep(time.Hour)
	case "apply":
		playApply(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(64)
	}
}

// playEngine is an OpenAI-compatible server with faults on request.
func playEngine(args []string) {
	f := flag.NewFlagSet("engine", flag.ExitOnError)
	model, address, port := f.String("model", "", ""), f.String("host", "", ""), f.Int("port", 0, "")
	f.Int("tensor-parallel-size", 0, "")
	f.Float64("gpu-memory-utilization", 0, "")
	f.String("kv-transfer-config", "", "")
	noHealth := f.Bool("no-health", false, "no /health")
	version := f.String("version", "1.0", "")
	exit := f.Int("exit-at-start", -1, "die with this status")
	neverReady := f.Bool("never-ready", false, "/health stays 503")
	broken := f.Bool("broken", false, "every request is answered with 500")
	noReset := f.Bool("no-reset", false, "no /reset_prefix_cache")
	deaf := f.Bool("deaf", false, "ignore SIGTERM")
	clash := f.String("clash", "", "report a taken port unless this file exists, and make it")
	daemon := f.String("daemon", "", "leave a grandchild in a session of its own, its pid in this folder")
	bare := f.String("bare", "", "start a child without environment, its pid in this file")
	f.Parse(args)

	fmt.Println("engine: loading", *model)
	if *deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	if *daemon != "" {
		must(exec.Command(os.Args[0], "daemon", filepath.Join(*daemon, strconv.Itoa(os.Getpid()))).Run())
	}
	if *bare != "" {
		c := exec.Command("sleep", "3600")
		c.Env, c.Stdout, c.Stderr = []string{"NONE=1"}, os.Stdout, os.Stderr
		must(c.Start())
		must(os.WriteFile(*bare, []byte(strconv.Itoa(c.Process.Pid)), 0o644))
	}
	if *exit >= 0 {
		fmt.Fprintln(os.Stderr, "engine: out of memory")
		os.Exit(*exit)
	}
	if *clash != "" {
		if f, err := os.OpenFile(*clash, os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			f.Close()
			fmt.Println("OSError: [Errno 98] Address already in use")
			os.Exit(1)
		}
	}
	fmt.Println("engine: up")
	var resets atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case *neverReady:
			http.Error(w, "still loading", http.StatusServiceUnavailable)
		case *noHealth:
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"root":"/weights","max_model_len":4096}]}`, *model)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"version":%q}`, *version) })
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		if *broken {
			http.Error(w, `{"error":{"message":"kernel panic"}}`, http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"choices":[{"text":"hi"}]}`)
	})
	if !*noReset {
		mux.HandleFunc("POST /reset_prefix_cache", func(w http.ResponseWriter, r *http.Request) { resets.Add(1) })
	}
	mux.HandleFunc("GET /resets", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, resets.Load()) })
	mux.HandleFunc("GET /getenv", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.URL.Query().Get("name"))) })
	mux.HandleFunc("POST /die", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("engine: dying as asked")
		os.Exit(7)
	})
	must(http.ListenAndServe(net.JoinHostPort(*address, strconv.Itoa(*port)), mux))
}

// playProxy asks its backends in turn for everything that the Starter asks.
func playProxy(args []string) {
	var backends []string
	f := flag.NewFlagSet("proxy", flag.ExitOnError)
	address, port := f.String("host", "", ""), f.Int("port", 0, "")
	f.String("connector", "", "")
	for _, role := range []string{"prefill", "decode"} {
		f.Func(role, "", func(u string) error { backends = append(backends, u); return nil })
	}
	f.Parse(args)
	all := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var last []byte
		for _, b := range backends {
			req, _ := http.NewRequest(r.Method, b+r.URL.Path, strings.NewReader(string(body)))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			last, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				http.Error(w, string(last), resp.StatusCode)
				return
			}
		}
		w.Write(last)
	}
	must(http.ListenAndServe(net.JoinHostPort(*address, strconv.Itoa(*port)), http.HandlerFunc(all)))
}

// playDaemon leaves a process that has left parent, group and session.
func playDaemon(pidFile string) {
	c := exec.Command(os.Args[0], "sleeper")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(c.Start())
	must(os.WriteFile(pidFile, []byte(strconv.Itoa(c.Process.Pid)), 0o644))
}

// applied is what playApply is told and tells.
type applied struct {
	Deployment deploy.Deployment
	Options    struct{ LogDir, StateDir string }
	Instances  []deploy.Instance
	Guardians  []int
}

// playApply deploys, tells what it deployed, and waits to be killed.
func playApply(text string) {
	var a applied
	must(json.Unmarshal([]byte(text), &a))
	r, err := New(os.Args[0]).Start(context.Background(), a.Deployment,
		deploy.Options{LogDir: a.Options.LogDir, StateDir: a.Options.StateDir, ReadyTimeout: time.Minute})
	must(err)
	a.Instances = r.Endpoint().Instances
	for _, m := range r.(*running).processes {
		a.Guardians = append(a.Guardians, m.cmd.Process.Pid)
	}
	must(json.NewEncoder(os.Stdout).Encode(a))
	time.Sleep(time.Hour)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

// patience is how long a test waits for what must come, on a busy machine.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not come to pass", what)
		}
	}
}

// players are the live processes of this test run but the test itself.
func players() []proc {
	var found []proc
	for _, p := range processes() {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if !p.dead && p.PID != os.Getpid() && slices.Contains(strings.Split(string(env), "\x00"), play+"="+os.Getenv(play)) {
			found = append(found, p)
		}
	}
	return found
}

// nothingLeft is called after something claims that all has ended: not in a
// while, but now.
func nothingLeft(t *testing.T, stateDir string) {
	t.Helper()
	for _, p := range players() {
		t.Errorf("left over: pid %d: %s", p.PID, p.command())
	}
	if files, _ := filepath.Glob(filepath.Join(stateDir, "*guard*")); len(files) > 0 {
		t.Errorf("state left over: %v", files)
	}
}

// single is a deployment of one simulated server with faults.
func single(args ...deploy.Arg) deploy.Deployment {
	return deploy.Deployment{Engine: "simulated", Model: "m", Server: &deploy.Pool{Instances: 1, TensorParallel: 1, Args: args}}
}

func options(t *testing.T) deploy.Options {
	dir := t.TempDir()
	return deploy.Options{
		LogDir: filepath.Join(dir, "logs"), StateDir: filepath.Join(dir, "state"), ReadyTimeout: time.Minute,
		Progress: func(s string) { t.Log(s) },
	}
}

// start starts d and stops it with the test.
func start(t *testing.T, d deploy.Deployment, o deploy.Options) *running {
	t.Helper()
	r, err := New(os.Args[0]).Start(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		nothingLeft(t, o.StateDir)
	})
	return r.(*running)
}

func get(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if method == http.MethodPost {
			return "" // it died, as it was asked to
		}
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// lastLines are the last n lines of a log.
func lastLines(log string, n int) []string {
	lines, _ := tail(log, 0, n)
	return lines
}
