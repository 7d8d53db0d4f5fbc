package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// freePort is a port that is free, and so is the next one.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		a.Close()
		if err == nil {
			b.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no two free ports in a row")
	return ""
}

const nixlConfig = `--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}`

// nixl are the options of an instance as `vllm serve` would be started.
func nixl(t *testing.T, port string, more ...string) Options {
	t.Helper()
	vars := map[string]string{"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": port, "VLLM_SERVER_DEV_MODE": "1"}
	return parseServe(t, vars, append(append([]string{"Qwen/Qwen3-0.6B", nixlConfig}, quick[1:]...), more...)...)
}

// KV is handed over by the side channel, whose address the parameters carry.
func TestKVGoesByTheSideChannel(t *testing.T) {
	port := freePort(t)
	p, d := serve(t, nixl(t, port)), serve(t, nixl(t, freePort(t)))
	prompt := ids(1, 100)
	params := p.prefill(prompt)
	if n, _ := strconv.Atoi(port); params["remote_host"] != "127.0.0.1" || params["remote_port"] != float64(n) {
		t.Errorf("parameters %v, side channel at port %s", params, port)
	}
	// Held blocks refuse a reset, with vLLM's status for that.
	if status, body := p.ask(http.MethodPost, "/reset_prefix_cache", nil); status != 200 || strings.TrimSpace(body) != `{"success":false}` {
		t.Errorf("a reset while KV is held: %d %s", status, body)
	}
	// The API does not hand KV over, and the side channel serves nothing else.
	if status, _ := p.ask(http.MethodPost, releasePath, object{"remote_request_id": params["remote_request_id"]}); status != 404 {
		t.Errorf("release by the API: %d", status)
	}
	resp, err := http.Get("http://127.0.0.1:" + port + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("the API by the side channel: %d", resp.StatusCode)
	}

	d.object(http.MethodPost, "/v1/completions", object{"prompt": prompt, "max_tokens": 2, "kv_transfer_params": params})
	if used := p.value("vllm:kv_cache_usage_perc"); used != 0 {
		t.Errorf("the prefill instance still holds %g of its blocks", used)
	}
	for name, want := range map[string]float64{
		"vllm:external_prefix_cache_queries_total": 100, "vllm:external_prefix_cache_hits_total": 100,
		"vllm:nixl_num_failed_transfers_total": 0, "vllm:nixl_num_notifications_after_expiry_total": 0, "vllm:nixl_bytes_transferred": 1,
	} {
		if got := d.value(name); got != want {
			t.Errorf("decode: %s is %g, want %g", name, got, want)
		}
	}
	// On the prefill instance the prompt was looked up outside in vain.
	if q, h := p.value("vllm:external_prefix_cache_queries_total"), p.value("vllm:external_prefix_cache_hits_total"); q != 100 || h != 0 {
		t.Errorf("prefill: %g queries and %g hits outside", q, h)
	}

	// Read before: vLLM has promised the stream by the time that it knows.
	again := object{"prompt": ids(200, 300), "max_tokens": 2, "stream": true, "kv_transfer_params": params}
	status, raw := d.ask(http.MethodPost, "/v1/completions", again)
	if status != 200 || raw != `data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}`+"\n\ndata: [DONE]\n\n" {
		t.Errorf("reading twice: %d %s", status, raw)
	}
	if n := d.value("vllm:nixl_num_failed_transfers_total"); n != 1 {
		t.Errorf("%g failed transfers", n)
	}
	if n := p.value("vllm:nixl_num_notifications_after_expiry_total"); n != 1 {
		t.Errorf("%g late notifications", n)
	}
	if n := labelled(d, "vllm:request_success_total", "finished_reason", "error"); n != 1 {
		t.Errorf("%g requests ended in an error", n)
	}
}

// labelled is the sample of a counter with that label.
func labelled(i *instance, name, label, value string) float64 {
	i.t.Helper()
	for _, m := range i.metrics()[name].GetMetric() {
		for _, l := range m.Label {
			if l.GetName() == label && l.GetValue() == value {
				return m.GetCounter().GetValue()
			}
		}
	}
	i.t.Fatalf("%s has no sample with %s=%q", name, label, value)
	return 0
}

// Ports that overlap fail as they do under vLLM; each data-parallel rank has
// one.
func TestSideChannelsMustNotOverlap(t *testing.T) {
	port := freePort(t)
	i := serve(t, nixl(t, port, "--data-parallel-size=2"))
	i.ask(http.MethodGet, "/health", nil) // both are bound before the API answers
	n, _ := strconv.Atoi(port)
	o := nixl(t, strconv.Itoa(n+1))
	ln, err := o.Listen()
	if err != nil {
		t.Fatal(err)
	}
	err = Serve(context.Background(), o, ln, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "Address already in use (addr='tcp://127.0.0.1:"+strconv.Itoa(n+1)+"')") {
		t.Errorf("%v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("it listens all the same: %v", err)
	}
}

// vLLM without NIXL does not know kv_transfer_params.
func TestWithoutAConnectorNothingIsHeld(t *testing.T) {
	i := serve(t, parseServe(t, nil, append([]string{"Qwen/Qwen3-0.6B"}, quick[1:]...)...))
	v := i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 1, "kv_transfer_params": remoteDecode})
	if v["kv_transfer_params"] != nil {
		t.Errorf("parameters without a connector: %v", v)
	}
	i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 1, "kv_transfer_params": object{"do_remote_prefill": true}})
	if i.metrics()["vllm:nixl_bytes_transferred"] != nil || i.metrics()["vllm:external_prefix_cache_hits_total"] == nil {
		t.Error("metrics of NIXL without NIXL, or none of external caches")
	}
}
