package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"vbp/stages/load/workload"
)

// reserved are the fields of a body that are not the user's to set: they come
// from the dataset or are what makes an answer measurable.
var reserved = []string{"model", "prompt", "messages", "max_tokens", "stream", "stream_options", "ignore_eos"}

// optional are those that the user can leave out, by null, for a server that
// refuses them.
var optional = []string{"max_tokens", "stream_options"}

// leavesOut reports whether the user has an optional field left out.
func (c *Config) leavesOut(field string) bool {
	value, said := c.Body[field]
	return said && value == nil && slices.Contains(optional, field)
}

// asked is how many output tokens a request asks for, by max_tokens or by the
// user's max_completion_tokens; the lower one where both are sent, as servers
// differ in which they follow. 0: none that is known here, as the server's
// own limit is not.
func (c *Config) asked(p *workload.Prompt) int64 {
	var limits []int64
	if !c.leavesOut("max_tokens") {
		limits = append(limits, int64(p.MaxTokens))
	}
	if value, said := c.Body["max_completion_tokens"]; said {
		if b, err := marshal(value); err == nil {
			if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
				limits = append(limits, n)
			}
		}
	}
	if len(limits) == 0 {
		return 0
	}
	return slices.Min(limits)
}

// bodies renders the body of every request. Usage is asked for: the number of
// tokens is not the number of events.
func (c *Config) bodies() ([][]byte, error) {
	tail := []byte(`,"stream":true`)
	if !c.leavesOut("stream_options") {
		tail = append(tail, `,"stream_options":{"include_usage":true}`...)
	}
	if c.IgnoreEOS {
		tail = append(tail, `,"ignore_eos":true`...)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Body)) {
		if c.leavesOut(key) {
			continue
		}
		name, err := marshal(key)
		if err != nil {
			return nil, fmt.Errorf("load: body: %w", err)
		}
		value, err := marshal(c.Body[key])
		if err != nil {
			return nil, fmt.Errorf("load: body: value of %q: %w", key, err)
		}
		tail = append(append(append(append(tail, ','), name...), ':'), value...)
	}
	tail = append(tail, '}')
	model, err := marshal(c.Model)
	if err != nil {
		return nil, fmt.Errorf("load: model: %w", err)
	}
	out := make([][]byte, len(c.Prompts))
	for i := range c.Prompts {
		prompt, err := renderPrompt(c.API, &c.Prompts[i])
		if err != nil {
			return nil, fmt.Errorf("load: prompt %d: %w", i, err)
		}
		b := make([]byte, 0, len(model)+len(prompt)+len(tail)+48)
		b = append(append(b, `{"model":`...), model...)
		b = append(append(b, ','), prompt...)
		if !c.leavesOut("max_tokens") {
			b = strconv.AppendInt(append(b, `,"max_tokens":`...), int64(c.Prompts[i].MaxTokens), 10)
		}
		out[i] = append(b, tail...)
	}
	return out, nil
}

// renderPrompt is the field that carries the prompt.
func renderPrompt(api string, p *workload.Prompt) ([]byte, error) {
	if p.IDs != nil {
		b := append(make([]byte, 0, 6*len(p.IDs)+16), `"prompt":[`...)
		for i, id := range p.IDs {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
		return append(b, ']'), nil
	}
	text, err := marshal(p.Text)
	if err != nil {
		return nil, err
	}
	if api == Chat {
		return append(append([]byte(`"messages":[{"role":"user","content":`), text...), "}]"...), nil
	}
	return append([]byte(`"prompt":`), text...), nil
}

// marshal is JSON without the escapes that only matter inside HTML, so that a
// prompt's size on the wire is that of its text.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
