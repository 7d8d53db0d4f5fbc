package load

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"vbp/stages/load/workload"
)

func TestBodies(t *testing.T) {
	prompts := []workload.Prompt{{Text: "a <b>\n\"é\u2028", MaxTokens: 5}}
	ids := []workload.Prompt{{IDs: []int32{1000, 7, 29999}, MaxTokens: 6}}
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"completions": {
			Config{API: Completions, Prompts: prompts, IgnoreEOS: true, Body: map[string]any{"temperature": 0, "seed": 1}},
			`{"model":"m","prompt":"a <b>\n\"é\u2028","max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"ignore_eos":true,"temperature":0,"seed":1}`,
		},
		"token ids": {
			Config{API: Completions, Prompts: ids},
			`{"model":"m","prompt":[1000,7,29999],"max_tokens":6,"stream":true,"stream_options":{"include_usage":true}}`,
		},
		"chat": {
			Config{API: Chat, Prompts: prompts, Body: map[string]any{"chat_template_kwargs": map[string]any{"enable_thinking": false}}},
			`{"model":"m","messages":[{"role":"user","content":"a <b>\n\"é\u2028"}],"max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"chat_template_kwargs":{"enable_thinking":false}}`,
		},
		"without what is optional": {
			Config{API: Completions, Prompts: prompts, IgnoreEOS: true, Body: map[string]any{"stream_options": nil, "max_tokens": nil, "max_completion_tokens": 7, "stop": nil}},
			`{"model":"m","prompt":"a <b>\n\"é\u2028","stream":true,"ignore_eos":true,"max_completion_tokens":7,"stop":null}`,
		},
	} {
		c.config.Model = "m"
		got, err := c.config.bodies()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var g, w any
		if err := json.Unmarshal(got[0], &g); err != nil {
			t.Errorf("%s: %v: %s", name, err, got[0])
			continue
		}
		if err := json.Unmarshal([]byte(c.want), &w); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: got %s, want %s", name, got[0], c.want)
		}
		if strings.Contains(string(got[0]), `\u003c`) {
			t.Errorf("%s: text is blown up by HTML escapes: %s", name, got[0])
		}
	}
}

func TestRequestID(t *testing.T) {
	shape := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{4}0000001f$`)
	a, b := RequestID("a", 31), RequestID("b", 31)
	if !shape.MatchString(a) || !shape.MatchString(b) || a == b || a != RequestID("a", 31) {
		t.Errorf("%s, %s", a, b)
	}
}

func TestValidate(t *testing.T) {
	good := func() Config {
		return Config{
			Target: Target{URL: "http://h:1/v1/", Model: "m"}, API: Completions, Timeout: time.Second,
			Prompts: []workload.Prompt{{Text: "a", MaxTokens: 1}}, Arrivals: []time.Duration{1},
		}
	}
	c := good()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.endpoint(); got != "http://h:1/v1/completions" {
		t.Errorf("address is %s", got)
	}
	for want, spoil := range map[string]func(*Config){
		`server is "h:1"`:              func(c *Config) { c.URL = "h:1" },
		`server is "http://"`:          func(c *Config) { c.URL = "http://" },
		`unknown API "edits"`:          func(c *Config) { c.API = "edits" },
		"1 prompts, but 0 arrivals":    func(c *Config) { c.Arrivals = nil },
		"timeout of a request is 0s":   func(c *Config) { c.Timeout = 0 },
		"request 0 is due at -1ns":     func(c *Config) { c.Arrivals[0] = -1 },
		"asks for 0 tokens":            func(c *Config) { c.Prompts[0].MaxTokens = 0 },
		"which the chat API cannot":    func(c *Config) { c.API, c.Prompts[0].IDs = Chat, []int32{1} },
		`body sets "stream_options"`:   func(c *Config) { c.Body = map[string]any{"stream_options": map[string]any{}} },
		`body sets "ignore_eos"`:       func(c *Config) { c.Body = map[string]any{"ignore_eos": nil} },
		`max_tokens and stream_opt`:    func(c *Config) { c.Body = map[string]any{"max_tokens": 5} },
		`value of "temperature": json`: func(c *Config) { c.Body = map[string]any{"temperature": func() {}} },
	} {
		c := good()
		spoil(&c)
		if table, err := Run(t.Context(), c, NewHTTP(), nil); table != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v", want, err)
		}
	}
}

func TestAsked(t *testing.T) {
	prompt := &workload.Prompt{MaxTokens: 5}
	for _, c := range []struct {
		body map[string]any
		want int64
	}{
		{nil, 5},
		{map[string]any{"temperature": 0}, 5},
		{map[string]any{"max_completion_tokens": 3}, 3},
		{map[string]any{"max_completion_tokens": 9.0}, 5},
		{map[string]any{"max_tokens": nil, "max_completion_tokens": uint64(9)}, 9},
		{map[string]any{"max_tokens": nil, "max_completion_tokens": 1e6}, 1e6},
		{map[string]any{"max_tokens": nil, "max_completion_tokens": "many"}, 0},
		{map[string]any{"max_tokens": nil}, 0},
		{map[string]any{"max_completion_tokens": nil}, 5},
	} {
		config := Config{Body: c.body}
		if got := config.asked(prompt); got != c.want {
			t.Errorf("%v: %d, want %d", c.body, got, c.want)
		}
	}
}
