package main

import (
	"context"
	"io"
	"net"
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
