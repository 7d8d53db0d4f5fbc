package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/deploy/local"
)

// TestMain makes this test binary the guardian of commands when it is called
// as vbp calls itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guard" {
		os.Exit(local.RunGuardian(os.Args[2:], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// world is what the tests of this package run in: a folder for specs and
// results, an environment, and servers that live in the test's own process
// and answer at once.
type world struct {
	t    *testing.T
	dir  string
	env  map[string]string
	site *Site

	// prepare, if it is set, may give a server its faults before it is handed
	// out, or refuse to start it.
	prepare func(s *server) error

	mu      sync.Mutex
	servers []*server // all that were started, in order
}

func newWorld(t *testing.T) *world {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: tempDir(t), env: make(map[string]string)}
	t.Setenv("TMPDIR", w.dir) // where the machine's lock lies: others measure on it too
	w.site = &Site{
		Results: filepath.Join(w.dir, "results"), Self: self,
		Host: "host", Code: "code", Now: time.Now, Local: starter{w}, Attach: starter{w},
	}
	return w
}

// tempDir is a folder in memory where the machine has one: results are synced
// many times over, which takes milliseconds on a disk.
func tempDir(t *testing.T) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "vbp-stages-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func (w *world) lookup(name string) (string, bool) {
	v, ok := w.env[name]
	return v, ok
}

// parse reads a spec as if it lay in the world's folder.
func (w *world) parse(text string, set ...string) *specs.Experiment {
	w.t.Helper()
	e, err := specs.Parse(filepath.Join(w.dir, "spec.yaml"), []byte(text), specs.Options{Set: set, Env: w.lookup})
	if err != nil {
		w.t.Fatalf("the test's spec: %v", err)
	}
	return e
}

func (w *world) build(text string, set ...string) *pipeline.Graph {
	w.t.Helper()
	g, err := BuildToDraw(w.parse(text, set...), w.site) // order_test.go is about order
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// apply runs a spec, which must work as a whole; nodes may fail.
func (w *world) apply(text string, set ...string) *Applied {
	w.t.Helper()
	a, err := w.applyWith(w.t.Context(), ApplyOptions{}, text, set...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) applyWith(ctx context.Context, o ApplyOptions, text string, set ...string) (*Applied, error) {
	w.t.Helper()
	if o.OnPlan == nil {
		o.OnPlan = func(*pipeline.Plan, string) {}
	}
	if o.Notice == nil {
		o.Notice = func(s string) { w.t.Errorf("notice: %s", s) }
	}
	return Apply(ctx, w.parse(text, set...), w.site, o)
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// started lists the servers that were started so far.
func (w *world) started() []*server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.servers)
}

// starter starts servers of a world.
type starter struct{ w *world }

func (s starter) Start(ctx context.Context, d deploy.Deployment, o deploy.Options) (deploy.Running, error) {
	srv := newServer(s.w.t)
	srv.deployment, srv.options = d, o
	if s.w.prepare != nil {
		if err := s.w.prepare(srv); err != nil {
			return nil, err
		}
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.servers = append(s.w.servers, srv)
	return srv, ctx.Err()
}

// server is a deployment of one process that answers at once. Its fields are
// set before it is used.
type server struct {
	deployment deploy.Deployment
	options    deploy.Options
	endpoint   deploy.Endpoint
	env        map[string]string
	reset      func() (bool, error)
	check      func() error
	// complete may answer the nth request, from 0, and say that it did.
	complete func(w http.ResponseWriter, r *http.Request, n int) bool
	// metrics is what the nth reading of /metrics gets, from 0.
	metrics func(n int) string

	again chan struct{} // closed when /metrics is read a second time
	dead  chan struct{}
	err   error // why; set before dead is closed

	mu      sync.Mutex
	log     []string      // "reset", or the id of a request, in order
	bodies  []request     // of the requests
	headers []http.Header // of the requests
	reads   int           // of /metrics
	unkeyed int           // of those without the endpoint's headers
	stops   int
}

// request is what is looked at of a request's body.
type request struct {
	Model     string `json:"model"`
	Prompt    any    `json:"prompt"`
	MaxTokens int    `json:"max_tokens"`
	IgnoreEOS bool   `json:"ignore_eos"`
	Top       int    `json:"top_k"` // stands for anything that a spec's body adds
}

func newServer(t *testing.T) *server {
	s := &server{
		env:  map[string]string{"engine_version": "fake/1", "model": "m"},
		dead: make(chan struct{}), again: make(chan struct{}),
	}
	web := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(web.Close)
	s.endpoint = deploy.Endpoint{
		URL: web.URL, Model: "m", Headers: map[string]string{"X-Token": "hush"},
		Instances: []deploy.Instance{{Name: "server", Role: deploy.Server, URL: web.URL}},
	}
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/metrics" {
		s.mu.Lock()
		n := s.reads
		if s.reads++; n == 1 {
			close(s.again)
		}
		if r.Header.Get("X-Token") != "hush" {
			s.unkeyed++
		}
		s.mu.Unlock()
		switch {
		case s.metrics != nil:
		case s.deployment.Connector != "":
			// KV goes from instance to instance.
			_, _ = fmt.Fprintf(w, "# TYPE vllm:nixl_bytes_transferred summary\nvllm:nixl_bytes_transferred_sum %d\nvllm:nixl_bytes_transferred_count %d\n"+
				"# TYPE vllm:nixl_num_failed_transfers_total counter\nvllm:nixl_num_failed_transfers_total 0\n"+
				"# TYPE vllm:nixl_num_kv_expired_reqs_total counter\nvllm:nixl_num_kv_expired_reqs_total 0\n", n*4096, n)
			return
		default:
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, s.metrics(n))
		return
	}
	var body request
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	n := len(s.bodies)
	s.log = append(s.log, r.Header.Get("X-Request-Id"))
	s.bodies = append(s.bodies, body)
	s.headers = append(s.headers, r.Header.Clone())
	s.mu.Unlock()
	if s.complete != nil && s.complete(w, r, n) {
		return
	}
	if s.deployment.Connector != "" {
		w.Header().Set("X-Vbp-Fallback", "0")
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for range body.MaxTokens {
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"text":"a","finish_reason":null}]}`+"\n\n")
	}
	_, _ = fmt.Fprintf(w, `data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]}`+"\n\n"+
		`data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":%d}}`+"\n\ndata: [DONE]\n\n", body.MaxTokens)
}

// die ends the server as a crash would.
func (s *server) die(err error) {
	s.err = err
	close(s.dead)
}

func (s *server) Endpoint() deploy.Endpoint      { return s.endpoint }
func (s *server) Environment() map[string]string { return maps.Clone(s.env) }
func (s *server) Died() <-chan struct{}          { return s.dead }
func (s *server) Err() error                     { return s.err }

func (s *server) Check(context.Context) error {
	select {
	case <-s.dead:
		return s.err
	default:
	}
	if s.check != nil {
		return s.check()
	}
	return nil
}

func (s *server) ResetCaches(context.Context) (bool, error) {
	s.mu.Lock()
	s.log = append(s.log, "reset")
	s.mu.Unlock()
	if s.reset != nil {
		return s.reset()
	}
	return true, nil
}

func (s *server) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops++
	return nil
}

// up is srv as the service that nodes stand on.
func up(srv *server) *serving {
	return &serving{Running: srv, redact: func(s string) string { return strings.ReplaceAll(s, "hush", "***") }}
}

// asked is what was asked of the server so far, in order.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// oneMode is the smallest spec that is not slow.
const oneMode = `
name: small
model: Qwen/Qwen3-8B
modes: {simple: {engine: simulated}}
workload: {requests: 4, dataset: {kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0}}
slo: {ttft: 500ms, tpot: 50ms}
sweep: {qps: [1000]}
stages: {warmup: {requests: 0}, load: {cooldown: 0s}, collect: {server_metrics: 0s}, plot: {formats: [svg]}}
valid: ["sent == 4"]
`

// twoModes is oneMode with a second, disaggregated mode.
var twoModes = strings.Replace(oneMode, "modes: {simple: {engine: simulated}}",
	"modes: {simple: {engine: simulated}, nixl: {engine: simulated, disaggregated: {connector: nixl}}}", 1)

// mustContain holds that err is there and says each of words.
func mustContain(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that says %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
}

func ids(g *pipeline.Graph) []string {
	var out []string
	for _, n := range g.Nodes {
		out = append(out, n.ID)
	}
	return out
}
