package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// streams is a handler that writes an event stream in one piece.
func streams(text string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		io.WriteString(w, text)
	}
}

// An error that comes as the first event is the status that it should have
// been; the first stream is what vLLM 0.32 wrote when decode could not reach
// prefill. All others come through as they are.
func TestFirstEvent(t *testing.T) {
	const vllm = `{"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}`
	long := `{"error":{"message":"` + strings.Repeat("x", 20<<10) + `"}}`
	for what, tt := range map[string]struct {
		stream string
		status int
		body   string // "": the stream
	}{
		"an error":                {"data: " + vllm + "\n\ndata: [DONE]\n\n", 500, vllm + "\n"},
		"an error with a code":    {`data:{"error":{"message":"full","code":503}}` + "\n\n", 503, `{"error":{"message":"full","code":503}}` + "\n"},
		"an error without a code": {`data: {"error":{"message":"m","code":"x"}}` + "\n\n", 500, `{"error":{"message":"m","code":"x"}}` + "\n"},
		"an error with code 200":  {`data: {"error":{"code":200}}` + "\n\n", 500, `{"error":{"code":200}}` + "\n"},
		"tokens":                  {"data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", 200, ""},
		"an error later":          {"data: {\"choices\":[]}\n\ndata: " + vllm + "\n\n", 200, ""},
		"a null error":            {"data: {\"error\":null,\"choices\":[]}\n\n", 200, ""},
		"a comment":               {": ping\n\n", 200, ""},
		"half an event":           {`data: {"error":`, 200, ""},
		"nothing":                 {"", 200, ""},
		"too long to be held":     {"data: " + long + "\n\n", 200, ""},
	} {
		t.Run(what, func(t *testing.T) {
			_, p, url := one(t, says(200, prefillAnswer), streams(tt.stream))
			resp, body := post(t, url+"/v1/completions", `{"stream":true}`)
			want := tt.body
			if want == "" {
				want = tt.stream
			}
			if resp.StatusCode != tt.status || body != want {
				t.Errorf("%d %q; want %d %q", resp.StatusCode, body, tt.status, want)
			}
			wantHeaders(t, resp.Header, HeaderDecode, "decode-0", HeaderFallback, "0")
			failed := int64(0)
			if tt.status != 200 {
				failed = 1
				wantHeaders(t, resp.Header, "Content-Type", "application/json")
			}
			if c := p.Counts(); c.DecodeErrors != failed || c.Requests != 1 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// A stream that breaks off before it has begun is a status, too.
func TestStreamBreaksOffBeforeItBegins(t *testing.T) {
	_, p, url := one(t, says(200, prefillAnswer), func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, body := post(t, url+"/v1/completions", `{"stream":true}`)
	if resp.StatusCode != 502 || !strings.Contains(body, "broke off before it had answered") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if c := p.Counts(); c.DecodeErrors != 1 {
		t.Errorf("counts %+v", c)
	}
}
