//go:build linux

package local

import (
	"net"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vbp/stages/deploy"
)

// A server that the user starts with a shell command, and that has no /health.
func TestCommandEngine(t *testing.T) {
	d := deploy.Deployment{
		Engine: "command", Model: "my/model", Server: &deploy.Pool{Instances: 1, TensorParallel: 2, Env: map[string]string{"SELF": os.Args[0]}},
		Run: `"$SELF" engine --model {model} --host 127.0.0.1 --port {port} --tensor-parallel-size {tensor_parallel} --no-health`,
	}
	o := options(t)
	o.GPUs = []string{"3", "1"}
	r := start(t, d, o)
	e := r.Endpoint()
	if e.Model != "my/model" || len(e.Instances) != 1 || !slices.Equal(e.Instances[0].GPUs, o.GPUs) {
		t.Errorf("endpoint %+v", e)
	}
	if got := get(t, "GET", e.URL+"/getenv?name=CUDA_VISIBLE_DEVICES"); got != "3,1" {
		t.Errorf("CUDA_VISIBLE_DEVICES=%s", got)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if env := r.Environment(); env["engine"] != "command" || env["engine_version"] != "1.0" {
		t.Errorf("environment %v", env)
	}
}

// programs puts this test's binary on PATH under other names.
func programs(t *testing.T, names ...string) {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// vLLM instances that share KV through LMCache's server, which is started
// before them and is part of the deployment.
func TestLMCacheServer(t *testing.T) {
	programs(t, "vllm", "lmcache_server")
	port, err := pickPorts(firstPort(t.Name()), 1)
	if err != nil {
		t.Fatal(err)
	}
	releasePorts([]int{port})
	one := func() *deploy.Pool { return &deploy.Pool{Instances: 1, TensorParallel: 1} }
	d := deploy.Deployment{
		Engine: "vllm", Model: "m", Connector: "lmcache", Cache: &deploy.CacheServer{Program: "lmcache_server", Port: port},
		Prefill: one(), Decode: one(),
	}
	r := start(t, d, options(t))
	e := r.Endpoint()
	var names []string
	for _, in := range e.Instances {
		names = append(names, in.Name)
	}
	if !slices.Equal(names, []string{"cache", "prefill-0", "decode-0", "proxy"}) || e.Instances[0].URL != "lm://127.0.0.1:"+strconv.Itoa(port) {
		t.Errorf("instances %+v", e.Instances)
	}
	if got := get(t, "GET", e.Instances[2].URL+"/getenv?name=LMCACHE_REMOTE_URL"); got != e.Instances[0].URL {
		t.Errorf("decode is told of %q", got)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	// Caches are reset on engines only; a dead cache server is a dead deployment.
	if all, err := r.ResetCaches(t.Context()); !all || err != nil {
		t.Error(all, err)
	}
	p, err := os.FindProcess(e.Instances[0].PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	<-r.Died()
	contains(t, r.Err().Error(), "cache died (killed by signal 9", "lmcache_server 127.0.0.1")
}

// A port of the cache server that somebody has is told before anything starts.
func TestLMCachePortIsTaken(t *testing.T) {
	programs(t, "vllm", "lmcache_server")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one := &deploy.Pool{Instances: 1, TensorParallel: 1}
	_, err = New(os.Args[0]).Start(t.Context(), deploy.Deployment{
		Engine: "vllm", Model: "m", Connector: "lmcache", Prefill: one, Decode: one,
		Cache: &deploy.CacheServer{Program: "lmcache_server", Port: l.Addr().(*net.TCPAddr).Port},
	}, options(t))
	if err == nil || !strings.Contains(err.Error(), "cache server: port ") || !strings.Contains(err.Error(), "is already taken by pid ") {
		t.Errorf("got %v", err)
	}
}

// Side channels take as many ports in a row as an instance has GPUs, and no
// port is given twice.
func TestSideChannelsDoNotOverlap(t *testing.T) {
	d := deploy.Deployment{
		Engine: "vllm", Model: "m", Connector: "nixl",
		Prefill: &deploy.Pool{Instances: 3, TensorParallel: 2, Width: 8}, // 4 data-parallel ranks
		Decode:  &deploy.Pool{Instances: 2, TensorParallel: 4},
	}
	processes, err := Preview(d, "vbp", nil, "a folder\x00nixl")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(map[int]string)
	take := func(port int, who string) {
		if other, twice := taken[port]; twice {
			t.Errorf("port %d is of %s and of %s", port, other, who)
		}
		taken[port] = who
	}
	for _, p := range processes {
		take(p.Port, p.Name)
		for _, e := range p.Env {
			if text, ok := strings.CutPrefix(e, "VLLM_NIXL_SIDE_CHANNEL_PORT="); ok {
				first, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				for i := range map[deploy.Role]int{deploy.Prefill: 8, deploy.Decode: 4}[p.Role] {
					take(first+i, p.Name+" side channel")
				}
			}
		}
	}
	if want := 3*9 + 2*5 + 1; len(taken) != want {
		t.Errorf("%d ports, want %d", len(taken), want)
	}
	last := processes[len(processes)-1]
	for i, word := range last.Argv {
		if word == "--prefill" {
			u, err := neturl.Parse(last.Argv[i+1])
			if err != nil {
				t.Fatal(err)
			}
			if port, _ := strconv.Atoi(u.Port()); !strings.HasPrefix(taken[port], "prefill-") {
				t.Errorf("the proxy sends prefills to %s", u)
			}
		}
	}
}
