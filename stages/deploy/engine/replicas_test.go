package engine

import (
	"net/http"
	"strings"
	"testing"
)

// Requests one after the other go round, and each replica tells of its own.
func TestReplicas(t *testing.T) {
	i := start(t, "--data-parallel-size=3")
	for range 6 {
		i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 1})
	}
	for _, engine := range []string{"0", "1", "2"} {
		if n := labelled(i, "vllm:prompt_tokens_total", "engine", engine); n != 80 {
			t.Errorf("replica %s had %g prompt tokens, not two prompts of 40", engine, n)
		}
		// Each has a prefix cache of its own: of 40 tokens two blocks are known the second time.
		if n := labelled(i, "vllm:prefix_cache_hits_total", "engine", engine); n != 32 {
			t.Errorf("replica %s had %g hits", engine, n)
		}
	}
	i.object(http.MethodPost, "/reset_prefix_cache", nil)
	i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 40), "max_tokens": 1})
	if n := labelled(i, "vllm:prefix_cache_hits_total", "engine", "0"); n != 32 {
		t.Errorf("after a reset replica 0 still hits: %g", n)
	}
	if p := i.prefill(ids(500, 600)); p["remote_request_id"] == "" {
		t.Errorf("%v", p)
	}
	if status, body := i.ask(http.MethodPost, "/reset_prefix_cache", nil); status != http.StatusConflict || !strings.Contains(body, "in use") {
		t.Errorf("a reset while one replica holds KV: %d %s", status, body)
	}
}

func TestTheIdleReplicaIsChosen(t *testing.T) {
	r := newReplicas(2, small(), nil)
	busy := newCall("busy")
	busy.req.PromptTokens, busy.req.Output = 4, 4
	if err := r.all[0].submit(busy); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r.next() != r.all[1] {
			t.Error("the replica with a waiting request was chosen over the idle one")
		}
	}
}
