package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// events sends a streaming request and returns the data of its events.
func (i *instance) events(path string, body any) []string {
	i.t.Helper()
	status, raw := i.ask(http.MethodPost, path, body)
	if status != http.StatusOK {
		i.t.Fatalf("%s: %d %s", path, status, raw)
	}
	var all []string
	for _, event := range strings.Split(strings.TrimSuffix(raw, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok || strings.Contains(data, "\n") {
			i.t.Fatalf("not an event: %q", event)
		}
		all = append(all, data)
	}
	return all
}

// sameShape compares an event with a JSON text in which the answer's own
// "created" is 0 and its words are "W".
func sameShape(t *testing.T, event, want string) {
	t.Helper()
	var got, expected map[string]any
	if err := json.Unmarshal([]byte(event), &got); err != nil {
		t.Fatalf("%v in %s", err, event)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if c, _ := got["created"].(float64); c < 1e9 {
		t.Errorf("created is %v", got["created"])
	}
	got["created"] = 0.0
	for _, c := range got["choices"].([]any) {
		for holder := range map[string]bool{"": true, "delta": true, "message": true} {
			o := c.(object)
			if holder != "" {
				o, _ = o[holder].(object)
			}
			for _, key := range []string{"text", "content"} {
				if text, ok := o[key].(string); ok && text != "" {
					o[key] = strings.Repeat("W", len(text)/4)
				}
			}
		}
	}
	if !reflect.DeepEqual(got, expected) {
		t.Errorf("got  %v\nwant %v", got, expected)
	}
}

func TestStreamedCompletion(t *testing.T) {
	i := start(t, "--served-model-name=m")
	events := i.events("/v1/completions", object{
		"model": "m", "prompt": []int{5, 6, 7}, "max_tokens": 3, "ignore_eos": true, "stream": true, "stream_options": object{"include_usage": true},
	})
	if len(events) != 5 {
		t.Fatalf("%d events: %q", len(events), events)
	}
	const head = `{"id":"cmpl-abc","object":"text_completion","created":0,"model":"m","choices":[`
	sameShape(t, events[0], head+`{"index":0,"text":"W","logprobs":null,"finish_reason":null}]}`)
	sameShape(t, events[1], head+`{"index":0,"text":"W","logprobs":null,"finish_reason":null}]}`)
	sameShape(t, events[2], head+`{"index":0,"text":"W","logprobs":null,"finish_reason":"length"}]}`)
	sameShape(t, events[3], head+`],"usage":{"prompt_tokens":3,"total_tokens":6,"completion_tokens":3}}`)
	if events[4] != "[DONE]" {
		t.Errorf("the last event is %s", events[4])
	}
}

func TestStreamedChat(t *testing.T) {
	i := start(t, "--served-model-name=m")
	events := i.events("/v1/chat/completions", object{
		"messages": []object{{"role": "user", "content": "hi"}}, "max_completion_tokens": 2, "max_tokens": 9, "ignore_eos": true, "stream": true,
	})
	if len(events) != 4 {
		t.Fatalf("%d events: %q", len(events), events)
	}
	const head = `{"id":"chatcmpl-abc","object":"chat.completion.chunk","created":0,"model":"m","choices":[{"index":0,"delta":`
	sameShape(t, events[0], head+`{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`)
	sameShape(t, events[1], head+`{"content":"W"},"logprobs":null,"finish_reason":null}]}`)
	sameShape(t, events[2], head+`{"content":"W"},"logprobs":null,"finish_reason":"length"}]}`)
	if events[3] != "[DONE]" {
		t.Errorf("the last event is %s", events[3])
	}
}

func TestWholeAnswers(t *testing.T) {
	i := start(t, "--served-model-name=m")
	for _, prompt := range []any{"hello", []string{"hello"}} {
		_, raw := i.ask(http.MethodPost, "/v1/completions", object{"prompt": prompt, "max_tokens": 2, "ignore_eos": true})
		sameShape(t, raw, `{"id":"cmpl-abc","object":"text_completion","created":0,"model":"m",
			"choices":[{"index":0,"text":"WW","logprobs":null,"finish_reason":"length"}],
			"usage":{"prompt_tokens":2,"total_tokens":4,"completion_tokens":2},"kv_transfer_params":null}`)
	}
	_, raw := i.ask(http.MethodPost, "/v1/completions", object{"prompt": [][]int{{1, 2, 3}}, "ignore_eos": true})
	sameShape(t, raw, `{"id":"cmpl-abc","object":"text_completion","created":0,"model":"m",
		"choices":[{"index":0,"text":"WWWWWWWWWWWWWWWW","logprobs":null,"finish_reason":"length"}],
		"usage":{"prompt_tokens":3,"total_tokens":19,"completion_tokens":16},"kv_transfer_params":null}`)
	_, raw = i.ask(http.MethodPost, "/v1/chat/completions", object{"messages": []object{{"role": "user", "content": "hi"}}, "max_tokens": 2, "ignore_eos": true})
	sameShape(t, raw, `{"id":"chatcmpl-abc","object":"chat.completion","created":0,"model":"m",
		"choices":[{"index":0,"message":{"role":"assistant","content":"WW"},"logprobs":null,"finish_reason":"length"}],
		"usage":{"prompt_tokens":13,"total_tokens":15,"completion_tokens":2},"kv_transfer_params":null}`)
}

func TestAnswersEndByThemselves(t *testing.T) {
	i := start(t, "--seed=3", "--step-base=10us")
	ask := func(seed int) (string, string, float64) {
		v := i.object(http.MethodPost, "/v1/completions", object{"prompt": "tell me more", "max_tokens": 5000, "seed": seed})
		c := v["choices"].([]any)[0].(object)
		return c["text"].(string), c["finish_reason"].(string), v["usage"].(object)["completion_tokens"].(float64)
	}
	text, reason, n := ask(1)
	if reason != "stop" || n < 16 || n >= 5000 || TokenCount(text) != int(n) {
		t.Errorf("ended by %s after %g tokens: %s", reason, n, text)
	}
	if again, _, _ := ask(1); again != text {
		t.Error("the same request has another answer")
	}
	if other, _, _ := ask(2); other == text {
		t.Error("another seed has the same answer")
	}
}

// vLLM 0.32 with a context of 2048 answered 2000 tokens of prompt and
// max_tokens 500 with status 200 and 48 tokens of output.
func TestOutputIsCutToTheContext(t *testing.T) {
	for _, strict := range []bool{false, true} {
		o := options(t, append(quick, "--max-model-len=2048", "--step-base=10us")...)
		o.Strict = strict
		i := serve(t, o)
		usage := func(v map[string]any) [2]float64 {
			u := v["usage"].(object)
			return [2]float64{u["prompt_tokens"].(float64), u["completion_tokens"].(float64)}
		}
		for _, max := range []int{48, 49, 500, 1 << 40} {
			v := i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 2000), "max_tokens": max, "ignore_eos": true})
			if got := usage(v); got != [2]float64{2000, 48} || v["choices"].([]any)[0].(object)["finish_reason"] != "length" {
				t.Errorf("strict %v: max_tokens %d: %v", strict, max, v)
			}
		}
		if got := usage(i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 2047), "ignore_eos": true})); got[1] != 1 {
			t.Errorf("strict %v: usage %v", strict, got)
		}
		chat := i.object(http.MethodPost, "/v1/chat/completions", object{
			"messages": []object{{"role": "user", "content": "hi"}}, "max_tokens": 5000, "ignore_eos": true,
		})
		if got := usage(chat); got[0]+got[1] != 2048 {
			t.Errorf("strict %v: chat usage %v", strict, got)
		}
	}
}

func TestLeavingClientFreesBlocks(t *testing.T) {
	i := start(t)
	ctx, leave := context.WithCancel(t.Context())
	resp, err := i.do(ctx, http.MethodPost, "/v1/completions", object{"prompt": ids(1, 100), "max_tokens": 30000, "ignore_eos": true, "stream": true})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if n := i.value("vllm:num_requests_running"); n != 1 {
		t.Errorf("%g requests are running, want 1", n)
	}
	if status, _ := i.ask(http.MethodPost, "/reset_prefix_cache", nil); status != http.StatusConflict {
		t.Errorf("reset under load: %d", status)
	}
	leave()
	for i.value("vllm:num_requests_running") != 0 { // it would take 30 s to end by itself
		if t.Context().Err() != nil {
			t.Fatal("the request of a client that left goes on")
		}
	}
	if used := i.value("vllm:kv_cache_usage_perc"); used != 0 {
		t.Errorf("%g of the blocks are in use", used)
	}
	if n := i.value("vllm:generation_tokens_total"); n >= 30000 {
		t.Errorf("it ran to its end")
	}
}
