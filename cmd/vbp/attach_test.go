package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"vbp/stages/deploy/engine"
)

const attachSpec = `
name: attach
model: Qwen/Qwen3-8B
modes:
  there: {endpoint: "http://ADDR", headers: {Authorization: "Bearer ${secret:KEY}"}}
workload: {requests: 5, dataset: {kind: random, input_tokens: 32, output_tokens: 2}}
sweep: {qps: [100]}
stages: {warmup: {requests: 1}, plot: {formats: [svg]}, load: {cooldown: 0s}}
valid: ["sent == 5"]
`

// serveEngine runs a simulated engine in this process until stop is called.
func serveEngine(t *testing.T, at string, args ...string) (address string, stop func()) {
	t.Helper()
	var o engine.Options
	flags := pflag.NewFlagSet("engine", pflag.ContinueOnError)
	o.Flags(flags)
	if err := flags.Parse(append([]string{"--model", "Qwen/Qwen3-8B"}, args...)); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(ctx, o, ln, io.Discard) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// TestAttach measures a server that already runs. Another server at its
// address contradicts what the first one measured, and plan asks it; a
// server that is gone cannot be asked, and plan says so.
func TestAttach(t *testing.T) {
	t.Setenv("KEY", "hush")
	dir := t.TempDir()
	address, stop := serveEngine(t, "127.0.0.1:0")
	spec := strings.Replace(attachSpec, "ADDR", address, 1)
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := vbp(t, dir, "apply", "spec.yaml")
	if code != 0 || !strings.Contains(stdout, "there") {
		t.Fatalf("exit code %d:\n%s\n%s", code, stdout, stderr)
	}
	stdout, _, _ = vbp(t, dir, "plan", "spec.yaml")
	if !strings.Contains(stdout, "reuse  load mode=there qps=100 repeat=0") || !strings.Contains(stdout, "--check-environment deploys to look") {
		t.Errorf("plan:\n%s", stdout)
	}
	stdout, stderr, code = vbp(t, dir, "apply", "spec.yaml", "--check-environment")
	if code != 0 || !strings.Contains(stderr, "deploy mode=there: ready") || strings.Contains(stderr, "5 sent") {
		t.Errorf("with --check-environment: exit code %d:\n%s\n%s", code, stdout, stderr)
	}

	// Another server at the same address: what was measured before is not
	// reused, and plan says what differs.
	stop()
	stdout, _, _ = vbp(t, dir, "plan", "spec.yaml")
	if !strings.Contains(stdout, "reuse  load mode=there qps=100 repeat=0") {
		t.Errorf("plan with nobody to ask:\n%s", stdout)
	}
	serveEngine(t, address, "--max-model-len", "2048")
	stdout, _, _ = vbp(t, dir, "plan", "spec.yaml")
	if !strings.Contains(stdout, "the environment differs: max_model_len: 40960 -> 2048") {
		t.Errorf("plan with another server:\n%s", stdout)
	}
	_, stderr, code = vbp(t, dir, "apply", "spec.yaml")
	if code != 0 || !strings.Contains(stderr, "5 sent") {
		t.Errorf("with another server: exit code %d:\n%s", code, stderr)
	}

	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "hush") {
				t.Errorf("the secret is in %s", path)
			}
		}
		return nil
	})
}

// TestAttachRefused: a server that the spec's requests cannot be sent to is
// told of before any load, with what to change.
func TestAttachRefused(t *testing.T) {
	models := func(w http.ResponseWriter) { io.WriteString(w, `{"data": [{"id": "Qwen/Qwen3-8B"}]}`) }
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  []string
	}{
		{"chat only", func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/models":
				models(w)
			case "/v1/chat/completions":
				io.WriteString(w, `{"choices": [{"message": {"content": "hi"}}]}`)
			default:
				http.NotFound(w, r)
			}
		}, []string{"set workload.api: chat"}},
		{"a wrong key", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				return
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"Unauthorized"}`)
		}, []string{"401", "does not accept the header Authorization that was sent"}},
		{"no model of that name", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/models" {
				io.WriteString(w, `{"data": [{"id": "other/model"}]}`)
			}
		}, []string{`does not serve model "Qwen/Qwen3-8B"`, "other/model"}},
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>welcome</html>") }, []string{"not a list of models"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := httptest.NewServer(c.serve)
			defer web.Close()
			t.Setenv("KEY", "hush")
			dir := t.TempDir()
			spec := strings.Replace(attachSpec, "ADDR", strings.TrimPrefix(web.URL, "http://"), 1)
			if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(spec), 0o644); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := vbp(t, dir, "apply", "spec.yaml")
			if code != 1 || strings.Contains(stderr, " sent, ") || strings.Contains(stdout+stderr, "hush") {
				t.Errorf("exit code %d:\n%s\n%s", code, stdout, stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is not in:\n%s", want, stderr)
				}
			}
		})
	}
}
