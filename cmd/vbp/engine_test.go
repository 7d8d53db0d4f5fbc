package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// vllmPrograms is a folder for PATH with programs under the names of vLLM's and
// LMCache's, which execute vbp.
func vllmPrograms(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	program := vbpProgram(t)
	for name, command := range map[string]string{"vllm": "engine", "lmcache_server": "engine lmcache-server"} {
		script := "#!/bin/sh\nexec '" + program + "' " + command + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh here to run a two-line program with")
	}
	return dir
}

// serverProcess is a process that serves on a port of 127.0.0.1.
type serverProcess struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read once it ended
	port   int
}

// startServer starts a program with {port} filled in and waits until the port
// accepts connections.
func startServer(t *testing.T, dir string, env []string, argv ...string) *serverProcess {
	t.Helper()
	s := &serverProcess{port: unusedPorts(t, 1)}
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "{port}", strconv.Itoa(s.port))
	}
	s.cmd = exec.Command(filepath.Join(dir, argv[0]), argv[1:]...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	until(t, argv[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return s
}

func (s *serverProcess) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// stop ends the process as a deployment does and returns its exit code.
func (s *serverProcess) stop(t *testing.T) int {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

// unusedPorts is the first of n ports in a row that nobody has.
func unusedPorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		var open []net.Listener
		first := 0
		for i := range n {
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first)))
			if err != nil {
				break
			}
			open = append(open, ln)
			if i == 0 {
				first = ln.Addr().(*net.TCPAddr).Port
			}
			first++
		}
		for _, ln := range open {
			ln.Close()
		}
		if len(open) == n {
			return first - n
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

// answer asks and returns the status and the JSON of the answer.
func answer(t *testing.T, method, url string, body any) (int, map[string]any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	_ = json.Unmarshal(data, &v) // some answers are empty
	return resp.StatusCode, v
}

// metric is the sum of a metric's samples.
func metric(t *testing.T, url, name string) float64 {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == '{' || rest[0] == ' ') {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " ")+1:]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum, found = sum+v, true
		}
	}
	if !found {
		t.Fatalf("%s has no metric %s", url, name)
	}
	return sum
}

const nixlConfig = `{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_load_failure_policy":"fail"}`

// TestStandInForVLLM runs a prefill and a decode instance under vLLM's name
// and command line behind the proxy.
func TestStandInForVLLM(t *testing.T) {
	dir := vllmPrograms(t)
	version, err := exec.Command(filepath.Join(dir, "vllm"), "--version").Output()
	if err != nil || strings.TrimSpace(string(version)) != "sim/1" {
		t.Errorf("vllm --version: %q, %v", version, err)
	}
	side := unusedPorts(t, 2)
	env := func(n int) []string {
		return []string{
			"VLLM_SERVER_DEV_MODE=1", "VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT=" + strconv.Itoa(side+n),
			"CUDA_VISIBLE_DEVICES=" + strconv.Itoa(n), "UCX_NET_DEVICES=all",
		}
	}
	command := []string{
		"vllm", "serve", "my/model", "--host", "127.0.0.1", "--port", "{port}", "--tensor-parallel-size", "1", "--gpu-memory-utilization", "0.8",
		"--kv-transfer-config", nixlConfig, "--max-model-len", "4096", "--enforce-eager",
	}
	prefill := startServer(t, dir, env(0), append([]string{}, command...)...)
	decode := startServer(t, dir, env(1), append([]string{}, command...)...)
	_, info := answer(t, http.MethodGet, decode.url()+"/server_info?config_format=json", nil)
	config, _ := info["vllm_config"].(map[string]any)
	if transfer, _ := config["kv_transfer_config"].(map[string]any); transfer["kv_connector"] != "NixlConnector" {
		t.Errorf("server_info tells of no connector: %v", config)
	}
	proxy := startServer(t, filepath.Dir(vbpProgram(t)), nil, "vbp", "proxy", "--port", "{port}", "--prefill", prefill.url(), "--decode", decode.url())
	body := map[string]any{"model": "my/model", "prompt": strings.Repeat("word ", 100), "max_tokens": 3, "ignore_eos": true}
	if status, v := answer(t, http.MethodPost, proxy.url()+"/v1/completions", body); status != 200 {
		t.Errorf("%d %v", status, v)
	}
	// 500 bytes are 125 tokens of 114688 bytes of KV.
	for name, want := range map[string]float64{
		"vllm:nixl_bytes_transferred_sum": 125 * 114688, "vllm:nixl_num_failed_transfers_total": 0, "vllm:nixl_num_kv_expired_reqs_total": 0,
		"vllm:external_prefix_cache_hits_total": 125, "vbp_proxy_fallbacks_total": 0, "vbp_proxy_requests_total": 1,
	} {
		if got := metric(t, proxy.url(), name); got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	if status, v := answer(t, http.MethodPost, proxy.url()+"/reset_prefix_cache", nil); status != 200 {
		t.Errorf("reset: %d %v", status, v)
	}

	// A third instance with the port of the second fails, and says so.
	third := exec.Command(filepath.Join(dir, "vllm"), "serve", "my/model", "--port", "0", "--kv-transfer-config", nixlConfig)
	third.Env = append(os.Environ(), env(1)...)
	out, _ := third.CombinedOutput()
	if code := third.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "Address already in use (addr='tcp://127.0.0.1:"+strconv.Itoa(side+1)+"')") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if code := decode.stop(t); code != 0 {
		t.Errorf("stopped with exit code %d:\n%s", code, decode.stderr.String())
	}
	if text := decode.stderr.String(); !strings.Contains(text, "behaves like h100/qwen3-0.6b") || !strings.Contains(text, "without effect in a simulation: --enforce-eager") {
		t.Errorf("the log tells neither preset nor flags:\n%s", text)
	}
}

// TestStandInsShareByLMCache runs two instances and their cache server under
// the names of the real ones.
func TestStandInsShareByLMCache(t *testing.T) {
	dir := vllmPrograms(t)
	cache := startServer(t, dir, nil, "lmcache_server", "127.0.0.1", "{port}", "cpu")
	env := []string{"LMCACHE_REMOTE_URL=lm://127.0.0.1:" + strconv.Itoa(cache.port), "PYTHONHASHSEED=0", "LMCACHE_SAVE_UNFULL_CHUNK=True"}
	start := func(role string) *serverProcess {
		return startServer(t, dir, env, "vllm", "serve", "Qwen/Qwen3-8B", "--port", "{port}", "--kv-transfer-config", `{"kv_connector":"LMCacheConnectorV1","kv_role":"`+role+`"}`)
	}
	prefill, decode := start("kv_producer"), start("kv_consumer")
	proxy := startServer(t, filepath.Dir(vbpProgram(t)), nil, "vbp", "proxy", "--connector", "lmcache", "--port", "{port}", "--prefill", prefill.url(), "--decode", decode.url())
	body := map[string]any{"prompt": strings.Repeat("word ", 400), "max_tokens": 2, "ignore_eos": true}
	if status, v := answer(t, http.MethodPost, proxy.url()+"/v1/completions", body); status != 200 {
		t.Errorf("%d %v", status, v)
	}
	// 500 tokens: all but the last come from the cache.
	if hits := metric(t, decode.url(), "vllm:external_prefix_cache_hits_total"); hits != 499 {
		t.Errorf("decode took %g of 500 tokens from the cache", hits)
	}
	if hits := metric(t, prefill.url(), "vllm:external_prefix_cache_hits_total"); hits != 0 {
		t.Errorf("prefill took %g tokens from the cache", hits)
	}
	if code := cache.stop(t); code != 0 || !strings.Contains(cache.stderr.String(), "2 stored, 2 found") {
		t.Errorf("exit code %d:\n%s", code, cache.stderr.String())
	}
}
