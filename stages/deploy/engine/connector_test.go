package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestKVTransferReadsWhatVLLMTakes(t *testing.T) {
	var c KVTransfer
	text := `{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_load_failure_policy":"fail","engine_id":null,"kv_buffer_size":1e9,
		"kv_connector_extra_config":{"kv_lease_duration":7,"backends":["UCX"]}}`
	if err := c.Set(text); err != nil {
		t.Fatal(err)
	}
	lease, ok := c.lease()
	if c.Connector != "NixlConnector" || c.Role != both || c.EngineID != "" || c.LoadFailurePolicy != "fail" || !ok || lease != 7*time.Second || !c.nixl() || c.unsimulated() != "" {
		t.Errorf("%+v, lease %v", c, lease)
	}
	var want, got any
	if json.Unmarshal([]byte(text), &want) != nil || json.Unmarshal([]byte(c.String()), &got) != nil {
		t.Fatal("not JSON")
	}
	if a, b := mustJSON(want), mustJSON(got); a != b {
		t.Errorf("written again: %s, want %s", b, a)
	}
	if err := c.Set(`{}`); err != nil || c.Connector != "" {
		t.Errorf("an empty one: %v %+v", err, c)
	}
}

func mustJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestKVTransferRefuses(t *testing.T) {
	for text, says := range map[string]string{
		`{"kv_connector":"NixlConnector","kv_role":kv_both}`: `at character 43, "kv_both}"`,
		`{"kv_connector":"NixlConnector"`:                    `it ends too early, after "...nnector\":\"NixlConnector\""`,
		``:                                                   `it ends too early, after ""`,
		`{'kv_connector':'NixlConnector'}`:                   `at character 2, "'kv_connector':'NixlConn..."`,
		`[1]`:                                                "JSON array; write an object",
		`null`:                                               "write an object",
		`"NixlConnector"`:                                    "JSON string; write an object",
		`{"kv_conector":"NixlConnector"}`:                    `did you mean "kv_connector"?`,
		`{"kv_connector":"NixlConnector"}`:                   "needs a kv_role",
		`{"kv_connector":"NixlConnector","kv_role":"prefill"}`:                 `unsupported kv_role "prefill"`,
		`{"kv_connector":"NixlConector","kv_role":"kv_both"}`:                  `did you mean "NixlConnector"?`,
		`{"kv_connector":["NixlConnector"],"kv_role":"kv_both"}`:               "kv_connector is",
		`{"kv_connector_extra_config":"x"}`:                                    "write an object",
		`{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_role":{}}`:    "kv_role is an object",
		`{"kv_connector":"X","kv_role":"kv_both","kv_load_failure_policy":""}`: `unsupported connector type "X"`,
		`{"kv_load_failure_policy":"retry"}`:                                   "fail and recompute",
	} {
		c := KVTransfer{Connector: "before"}
		err := c.Set(text)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want an error that says %s", text, err, says)
		}
		if c.Connector != "before" {
			t.Errorf("%s: half of it was taken: %+v", text, c)
		}
	}
}

func FuzzKVTransfer(f *testing.F) {
	f.Add(`{"kv_connector":"NixlConnector","kv_role":"kv_both"}`)
	f.Add(`{"a":`)
	f.Add("\xff{")
	f.Fuzz(func(t *testing.T, text string) {
		var c KVTransfer
		if c.Set(text) != nil {
			return
		}
		var again KVTransfer
		if err := again.Set(c.String()); err != nil || again.Connector != c.Connector || again.Role != c.Role {
			t.Errorf("%q is written as %q, which reads as %+v, %v", text, c.String(), again, err)
		}
	})
}
