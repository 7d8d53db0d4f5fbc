package engine

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// remoteDecode is what a proxy asks a prefill instance for.
var remoteDecode = object{
	"do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": nil, "remote_block_ids": nil, "remote_host": nil, "remote_port": nil,
}

func (i *instance) prefill(prompt any) object {
	i.t.Helper()
	v := i.object(http.MethodPost, "/v1/completions", object{"prompt": prompt, "max_tokens": 1, "kv_transfer_params": remoteDecode})
	params, ok := v["kv_transfer_params"].(object)
	if !ok {
		i.t.Fatalf("the prefill answer has no parameters: %v", v)
	}
	return params
}

func TestPrefillHereDecodeThere(t *testing.T) {
	p := start(t, "--tensor-parallel-size=2")
	d := start(t)
	prompt := ids(1, 100)
	params := p.prefill(prompt)
	if params["do_remote_prefill"] != true || params["do_remote_decode"] != false || params["remote_host"] != "127.0.0.1" ||
		params["tp_size"] != 2.0 || len(params["remote_block_ids"].([]any)) != 7 || params["remote_engine_id"] == "" {
		t.Errorf("parameters %v", params)
	}
	if used := p.value("vllm:kv_cache_usage_perc"); used == 0 {
		t.Error("the prefill instance holds no blocks")
	}
	events := d.events("/v1/completions", object{"prompt": prompt, "max_tokens": 4, "ignore_eos": true, "stream": true, "kv_transfer_params": params})
	if len(events) != 5 {
		t.Errorf("%d events: %q", len(events), events)
	}
	if used := p.value("vllm:kv_cache_usage_perc"); used != 0 {
		t.Errorf("the prefill instance still holds %g of its blocks", used)
	}
	bytes := d.metrics()["vllm:nixl_bytes_transferred"].Metric[0].GetHistogram()
	if bytes.GetSampleCount() != 1 || bytes.GetSampleSum() != 100*114688 {
		t.Errorf("%d transfers, %g bytes; want 100 tokens of 114688", bytes.GetSampleCount(), bytes.GetSampleSum())
	}
	if n := d.value("vllm:nixl_xfer_time_seconds"); n != 1 {
		t.Errorf("%g transfer times", n)
	}
	// The decode instance computed one prompt token, and 3 to go on.
	if h := d.metrics()["vllm:iteration_tokens_total"].Metric[0].GetHistogram(); h.GetSampleSum() != 4 {
		t.Errorf("the decode instance computed %g tokens, want 4", h.GetSampleSum())
	}

	// What was read is gone: the second reader must fail before it sends anything.
	status, raw := d.ask(http.MethodPost, "/v1/completions", object{"prompt": ids(200, 300), "max_tokens": 4, "stream": true, "kv_transfer_params": params})
	if status != http.StatusInternalServerError || !strings.Contains(raw, "no longer holds") {
		t.Errorf("reading twice: %d %s", status, raw)
	}
	if n := d.value("vllm:nixl_num_failed_transfers_total"); n != 1 {
		t.Errorf("%g failed transfers", n)
	}
	if used := d.value("vllm:kv_cache_usage_perc"); used != 0 {
		t.Errorf("the failed request keeps %g of the blocks", used)
	}
}

func TestExpiredLease(t *testing.T) {
	p, d := start(t, "--kv-lease=0"), start(t)
	params := p.prefill("some prompt")
	status, raw := d.ask(http.MethodPost, "/v1/chat/completions",
		object{"messages": []object{{"role": "user", "content": "some prompt"}}, "max_tokens": 2, "kv_transfer_params": params})
	if status != http.StatusInternalServerError {
		t.Errorf("reading expired KV: %d %s", status, raw)
	}
	if n := p.value("vllm:nixl_num_kv_expired_reqs_total"); n != 1 {
		t.Errorf("%g expired", n)
	}
	if !strings.Contains(p.log.String(), "was not fetched") || !strings.Contains(d.log.String(), "KV transfer failed") {
		t.Errorf("logs:\n%s\n%s", p.log, d.log)
	}
}

func TestPrefillInstanceIsGone(t *testing.T) {
	p, d := start(t), start(t)
	params := p.prefill("some prompt")
	p.stop()
	<-p.ended
	status, raw := d.ask(http.MethodPost, "/v1/completions", object{"prompt": "some prompt", "kv_transfer_params": params})
	if status != http.StatusInternalServerError {
		t.Errorf("reading from nowhere: %d %s", status, raw)
	}
	if a, b := d.value("vllm:nixl_num_failed_transfers_total"), d.value("vllm:nixl_num_failed_notifications_total"); a != 1 || b != 1 {
		t.Errorf("%g failed transfers, %g failed notifications", a, b)
	}
}

// A prefill that ends by itself has nothing to hand over.
func TestNoParametersWithoutLengthCap(t *testing.T) {
	i := start(t, "--step-base=10us")
	v := i.object(http.MethodPost, "/v1/completions", object{"prompt": "x", "max_tokens": 9000, "kv_transfer_params": remoteDecode})
	if v["choices"].([]any)[0].(object)["finish_reason"] != "stop" || v["kv_transfer_params"] != nil {
		t.Errorf("%v", v)
	}
	if used := i.value("vllm:kv_cache_usage_perc"); used != 0 {
		t.Errorf("%g of the blocks are held", used)
	}
}

// A client that leaves during the transfer leaves no blocks behind on either
// side.
func TestLeavingDuringTransfer(t *testing.T) {
	p, d := start(t), start(t, "--kv-transfer-latency=1h")
	params := p.prefill(ids(1, 50))
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := d.do(ctx, http.MethodPost, "/v1/completions", object{"prompt": ids(1, 50), "kv_transfer_params": params}); err == nil {
			resp.Body.Close()
			t.Errorf("answered with %s", resp.Status)
		}
	}()
	for d.value("vllm:num_requests_waiting") != 1 {
		if t.Context().Err() != nil {
			t.Fatal("the request does not wait for its KV")
		}
	}
	leave()
	<-ended
	for d.value("vllm:kv_cache_usage_perc") != 0 || p.value("vllm:kv_cache_usage_perc") != 0 {
		if t.Context().Err() != nil {
			t.Fatal("blocks are still held")
		}
	}
	if n := d.value("vllm:nixl_num_failed_transfers_total"); n != 0 {
		t.Errorf("%g failed transfers, though the client left", n)
	}
}
