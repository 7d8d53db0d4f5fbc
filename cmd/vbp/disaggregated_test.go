package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vbp/stages/collect"
)

const nixlSpec = `
name: nixl
model: Qwen/Qwen3-8B
modes:
  nixl:
    engine: simulated
    args: {kv-transfer-latency: 150ms}
    disaggregated:
      connector: nixl
      prefill: {instances: "${NUM_PREFILL_INSTANCES:-1}"}
      decode: {instances: "${NUM_DECODE_INSTANCES:-1}"}
workload: {requests: 12, dataset: {kind: random, input_tokens: 64, output_tokens: 3}}
sweep: {qps: [50]}
stages: {warmup: {requests: 3}, plot: {formats: [svg]}, load: {cooldown: 0s}, collect: {server_metrics: 100ms}}
valid: ["sent == 12", "fallbacks == 0"]
`

// TestDisaggregated runs two prefill and three decode instances behind the
// proxy: every one serves, nothing falls back, and TTFT holds the transfer.
func TestDisaggregated(t *testing.T) {
	t.Setenv("NUM_PREFILL_INSTANCES", "2")
	t.Setenv("NUM_DECODE_INSTANCES", "3")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(nixlSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := vbp(t, dir, "apply", "spec.yaml")
	if code != 0 || !strings.Contains(stdout, "PF:2, D:3") {
		t.Fatalf("exit code %d:\n%s\n%s", code, stdout, stderr)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "results/nixl/*/logs/nixl/*.log"))
	if len(logs) != 6 {
		t.Errorf("logs of %d processes, not of five engines and a proxy: %q", len(logs), logs)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "results/nixl/*/samples/mode=nixl/qps=50/repeat=0/samples.parquet"))
	if len(files) != 1 {
		t.Fatalf("samples files: %q", files)
	}
	table, err := collect.ReadSamples(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"prefill-0", "prefill-1"} {
		if n := count(table.Prefill, want); n != 6 {
			t.Errorf("%s served %d of 12 requests, not 6", want, n)
		}
	}
	for _, want := range []string{"decode-0", "decode-1", "decode-2"} {
		if n := count(table.Decode, want); n != 4 {
			t.Errorf("%s served %d of 12 requests, not 4", want, n)
		}
	}
	for i := range table.Len() {
		if table.Fallback[i] != 0 {
			t.Errorf("request %d: fallback %d", i, table.Fallback[i])
		}
		if after := table.TTFT[i] - table.PrefillTime[i]; !(table.PrefillTime[i] > 0) || after < 0.15 {
			t.Errorf("request %d: TTFT %v s with a prefill leg of %v s does not hold the transfer's 0.15 s", i, table.TTFT[i], table.PrefillTime[i])
		}
	}
	if table.Meta.Facts["cache_reset"] != 1 {
		t.Errorf("the record does not say that prefix caches were reset: %v", table.Meta.Facts)
	}
}

func count(list []string, s string) int {
	n := 0
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

// TestPortTaken holds that a fixed port in use is an error that names it.
func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	spec := strings.Replace(nixlSpec, "engine: simulated", "engine: simulated\n    port: "+strconv.Itoa(port), 1)
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := vbp(t, dir, "apply", "spec.yaml")
	if code != exitNothing || !strings.Contains(stderr, "port "+strconv.Itoa(port)) {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	_, stderr, code = vbp(t, dir, "engine", "--model", "Qwen/Qwen3-8B", "--port", strconv.Itoa(port))
	if code != exitUsage || !strings.Contains(stderr, "choose another --port") {
		t.Errorf("engine: exit code %d:\n%s", code, stderr)
	}
	if left := processes("vbp"); slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, dir) }) {
		t.Errorf("processes are left: %q", left)
	}
}
