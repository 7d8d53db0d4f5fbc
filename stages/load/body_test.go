package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vbp/stages/load/workload"
)

func TestBodies(t *testing.T) {
	prompts := workload.List{{Text: "a <b>\n\"é\u2028", MaxTokens: 5}}
	ids := workload.List{{IDs: []int32{1000, 7, 29999}, MaxTokens: 6}}
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
		r, err := c.config.renderer()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := c.config.Prompts.Prompt(0)
		got := r.render(&p)
		var g, w any
		if err := json.Unmarshal(got, &g); err != nil {
			t.Errorf("%s: %v: %s", name, err, got)
			continue
		}
		if err := json.Unmarshal([]byte(c.want), &w); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		if strings.Contains(string(got), `\u003c`) {
			t.Errorf("%s: text is blown up by HTML escapes: %s", name, got)
		}
	}
}

// Texts are escaped as encoding/json does it, with its own escapes for HTML
// left out.
func TestStringsAreWhatEncodingJSONWrites(t *testing.T) {
	check := func(s string) error {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			return err
		}
		var a, b string
		got := appendString(nil, s)
		if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal(want.Bytes(), &b)); err != nil || a != b {
			return fmt.Errorf("%q: %s, not %s (%v)", s, got, want.Bytes(), err)
		}
		if len(got) > want.Len() {
			return fmt.Errorf("%q: %s is longer than %s", s, got, want.Bytes())
		}
		return nil
	}
	var all strings.Builder
	for c := range 256 {
		all.WriteByte(byte(c))
	}
	for _, s := range []string{"", all.String(), "\u2028\U0001F600\xc3", "<&>", "\xed\xa0\x80"} {
		if err := check(s); err != nil {
			t.Error(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := check(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))); err != nil {
			t.Error(err)
		}
	})
}

// A body is one allocation, whatever the prompt: it is made while others are
// measured.
func TestABodyIsOneAllocation(t *testing.T) {
	ids := make([]int32, 1000)
	for i := range ids {
		ids[i] = int32(100_000 + i)
	}
	config := Config{Target: Target{Model: "m"}, API: Completions}
	r, err := config.renderer()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*workload.Prompt{
		"text": {Text: strings.Repeat("a line of text,\nand \"another\"; ", 100), MaxTokens: 128},
		"ids":  {IDs: ids, MaxTokens: 128},
	} {
		if n := testing.AllocsPerRun(100, func() { r.render(p) }); n != 1 {
			t.Errorf("%s: %v allocations", name, n)
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
			Prompts: workload.List{{Text: "a", MaxTokens: 1}}, Arrivals: []time.Duration{1},
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
		"0 prompts, but 1 arrivals":    func(c *Config) { c.Prompts = nil },
		"-1 requests may be in flight": func(c *Config) { c.MaxConcurrency = -1 },
		"asks for 0 tokens":            func(c *Config) { c.Prompts = workload.List{{Text: "a"}} },
		"which the chat API cannot":    func(c *Config) { c.API, c.Prompts = Chat, workload.List{{IDs: []int32{1}, MaxTokens: 1}} },
		`body sets "stream_options"`:   func(c *Config) { c.Body = map[string]any{"stream_options": map[string]any{}} },
		`body sets "ignore_eos"`:       func(c *Config) { c.Body = map[string]any{"ignore_eos": nil} },
		`max_tokens and stream_opt`:    func(c *Config) { c.Body = map[string]any{"max_tokens": 5} },
		`value of header "X"`:          func(c *Config) { c.Headers = map[string]string{"X": "a\r\nY: b"} },
		`"X Y" is not a name`:          func(c *Config) { c.Headers = map[string]string{"X Y": "a"} },
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
		if got := config.answerLimit().of(5); got != c.want {
			t.Errorf("%v: %d, want %d", c.body, got, c.want)
		}
	}
}
