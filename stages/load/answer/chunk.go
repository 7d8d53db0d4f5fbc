package answer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// chunk is what is read of an event's JSON.
type chunk struct {
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage"`
	Timings *timings        `json:"timings"`
	Error   json.RawMessage `json:"error"`
	Object  json.RawMessage `json:"object"`
	Message json.RawMessage `json:"message"`
}

// choice is one of the answers that were asked for. Text is in one of several
// places: text (completions), delta.content (chat), delta.reasoning_content or
// delta.reasoning (models that think aloud, by version of the server),
// delta.tool_calls, delta.refusal. Token ids, where they are asked for, tell
// of a token that has no text yet.
type choice struct {
	Index    int             `json:"index"`
	Text     json.RawMessage `json:"text"`
	TokenIDs json.RawMessage `json:"token_ids"`
	Delta    struct {
		Role             json.RawMessage `json:"role"`
		Content          json.RawMessage `json:"content"`
		ReasoningContent json.RawMessage `json:"reasoning_content"`
		Reasoning        json.RawMessage `json:"reasoning"`
		ToolCalls        json.RawMessage `json:"tool_calls"`
		Refusal          json.RawMessage `json:"refusal"`
	} `json:"delta"`
	Finish finish `json:"finish_reason"`
}

// finish is a finish reason: a text, null or "" while there is none; early
// SGLang sent an object with a type.
type finish string

// UnmarshalJSON implements json.Unmarshaler.
func (f *finish) UnmarshalJSON(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*f = ""
	case string:
		*f = finish(v)
	case map[string]any:
		kind, ok := v["type"].(string)
		if !ok {
			return fmt.Errorf("finish_reason %s has no type", excerpt(string(raw)))
		}
		*f = finish(kind)
	default:
		return fmt.Errorf("finish_reason %s is not a text", excerpt(string(raw)))
	}
	return nil
}

type usage struct {
	PromptTokens     *float64 `json:"prompt_tokens"`
	CompletionTokens *float64 `json:"completion_tokens"`
}

// timings is how llama.cpp counts, beside or instead of usage.
type timings struct {
	PromptN    *float64 `json:"prompt_n"`    // prompt tokens that were processed
	CacheN     *float64 `json:"cache_n"`     // prompt tokens that came from the cache
	PredictedN *float64 `json:"predicted_n"` // tokens that were generated
}

// generated lists the places of a choice that may hold something generated.
func (c *choice) generated() [7]json.RawMessage {
	d := &c.Delta
	return [...]json.RawMessage{c.Text, d.Content, d.ReasoningContent, d.Reasoning, d.ToolCalls, d.Refusal, c.TokenIDs}
}

// present reports whether a raw value says anything.
func present(v json.RawMessage) bool {
	switch string(v) {
	case "", "null", `""`, "[]", "{}":
		return false
	}
	return true
}

// carries reports whether the event carries generated text or a token.
func (c *chunk) carries() bool {
	for i := range c.Choices {
		for _, v := range c.Choices[i].generated() {
			if present(v) {
				return true
			}
		}
	}
	return false
}

// steps reports whether the event tells of a step of generation though it
// carries no text: it has a choice, which is not chat's opening that only says
// who speaks. After an earlier step (begun) nothing is an opening: TGI and
// Ollama say who speaks in every event.
func (c *chunk) steps(begun bool) bool {
	for i := range c.Choices {
		if begun || c.Choices[i].Finish != "" || !present(c.Choices[i].Delta.Role) {
			return true
		}
	}
	return false
}

// finishes reports whether a choice of the event has its finish reason.
func (c *chunk) finishes() bool {
	return slices.ContainsFunc(c.Choices, func(o choice) bool { return o.Finish != "" })
}

// failure returns the error that the event tells of. Servers write
// {"error": {"message": ...}}, {"error": "..."} (TGI, with error_type), or,
// older vLLM and SGLang, {"object": "error", "message": ...}.
func (c *chunk) failure() (string, bool) {
	switch {
	case string(c.Object) == `"error"`:
		return errorText(c.Message), true
	case present(c.Error) && string(c.Error) != "false":
		return errorText(c.Error), true
	}
	return "", false
}

// errorText finds the message in what a server sent with an error: JSON in one
// of the usual shapes, else the text itself, cut to a line of bearable length.
func errorText(raw []byte) string {
	text := strings.TrimSpace(string(raw))
	for range 4 { // error in object, message in error, detail in message, text
		var v struct {
			Error   json.RawMessage `json:"error"`
			Message json.RawMessage `json:"message"`
			Detail  json.RawMessage `json:"detail"`
		}
		var s string
		if json.Unmarshal([]byte(text), &s) == nil {
			text = s
			break
		}
		if list := invalid(text); list != "" {
			text = list
			break
		}
		if json.Unmarshal([]byte(text), &v) != nil {
			break
		}
		inner := ""
		for _, m := range []json.RawMessage{v.Error, v.Message, v.Detail} {
			if present(m) {
				inner = string(m)
				break
			}
		}
		if inner == "" {
			break
		}
		text = inner
	}
	return excerpt(text)
}

// invalid renders the list in which FastAPI tells what is wrong with a
// request, without the input that it repeats; "" if text is no such list.
func invalid(text string) string {
	var list []struct {
		Loc []any  `json:"loc"` // path to the value: names, and indexes of lists
		Msg string `json:"msg"`
	}
	if !strings.HasPrefix(text, "[") || json.Unmarshal([]byte(text), &list) != nil {
		return ""
	}
	var parts []string
	for _, e := range list {
		if e.Msg == "" {
			return ""
		}
		var path []string
		for _, p := range e.Loc {
			path = append(path, fmt.Sprint(p))
		}
		part := strings.Join(path, ".") + ": " + e.Msg
		parts = append(parts, strings.TrimPrefix(part, ": "))
	}
	return strings.Join(parts, "; ")
}

// Lengths of what is kept of a server's message, and of an error with it, in
// bytes.
const (
	mostMessage = 300
	mostError   = 600
)

// excerpt is a server's text on one line, cut to a bearable length.
func excerpt(text string) string { return cut(text, mostMessage) }

// cut is text on one line, without more than so many bytes of it.
func cut(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
