package engine

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// usage is the token count of an answer.
type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	TotalTokens      int `json:"total_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

func (c *completion) counts() usage {
	r := &c.call.req
	return usage{r.PromptTokens, r.PromptTokens + r.Output, r.Output}
}

// quoted is a JSON string. Strings can always be encoded.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// startStream promises server-sent events.
func startStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
}

// writeFailure is the stream of a request that failed before its first token,
// as vLLM writes it: an event with an error under status 200, and no choices.
func (c *completion) writeFailure(w http.ResponseWriter) error {
	startStream(w)
	if c.chat {
		role := `{"id":` + quoted(c.id) + `,"object":"chat.completion.chunk","created":` + strconv.FormatInt(c.created, 10) + `,"model":` + quoted(c.model) +
			`,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`
		if _, err := io.WriteString(w, "data: "+role+"\n\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, `data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}`+"\n\ndata: [DONE]\n\n")
	return err
}

// writeStream writes the answer as server-sent events, in the shapes of vLLM.
// Everything that a chunk consists of but its word is formatted once. Tokens
// that came out since the last look share one write, each in a chunk of its
// own. The status is sent with the first token, as late as possible, so that
// errors before it can have their own.
func (c *completion) writeStream(ctx context.Context, w http.ResponseWriter) error {
	object, open, role := "text_completion", `"text":" `, ""
	closing := `","logprobs":null,"finish_reason":`
	if c.chat {
		object, open = "chat.completion.chunk", `"delta":{"content":" `
		closing = `"},"logprobs":null,"finish_reason":`
	}
	head := `data: {"id":` + quoted(c.id) + `,"object":"` + object + `","created":` + strconv.FormatInt(c.created, 10) +
		`,"model":` + quoted(c.model) + `,"choices":[`
	const choice, end = `{"index":0,`, "}]}\n\n"
	if c.chat {
		role = head + choice + `"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null` + end
	}
	before, after := head+choice+open, closing+"null"+end

	startStream(w)
	flush := http.NewResponseController(w)
	buf := make([]byte, 0, 1024)
	r := &c.call.req
	for sent := 0; sent < r.Output; {
		made, err := c.call.await(ctx, sent)
		if err != nil {
			return err
		}
		buf = buf[:0]
		if sent == 0 {
			buf = append(buf, role...)
		}
		for ; sent < made; sent++ {
			buf = append(buf, before...)
			buf = append(buf, word(r.Seed, sent)...)
			if sent == r.Output-1 {
				buf = append(buf, closing...)
				buf = append(buf, `"`+c.call.reason+`"`+end...)
			} else {
				buf = append(buf, after...)
			}
		}
		if sent == r.Output {
			if c.usage {
				counts, _ := json.Marshal(c.counts()) // integers can always be encoded
				buf = append(buf, head...)
				buf = append(buf, `],"usage":`...)
				buf = append(buf, counts...)
				buf = append(buf, "}\n\n"...)
			}
			buf = append(buf, "data: [DONE]\n\n"...)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		if err := flush.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// chatMessage and the types below are the answers that are not streamed.
type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type textChoice struct {
	Index        int    `json:"index"`
	Text         string `json:"text"`
	Logprobs     any    `json:"logprobs"`
	FinishReason string `json:"finish_reason"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      chatMessage `json:"message"`
	Logprobs     any         `json:"logprobs"`
	FinishReason string      `json:"finish_reason"`
}

type wholeAnswer struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Created int64     `json:"created"`
	Model   string    `json:"model"`
	Choices any       `json:"choices"`
	Usage   usage     `json:"usage"`
	KV      *kvParams `json:"kv_transfer_params"`
}

// writeWhole writes the answer once all of its tokens came out, with the
// parameters for fetching its KV if that is held.
func (s *server) writeWhole(ctx context.Context, w http.ResponseWriter, r *http.Request, c *completion) error {
	req := &c.call.req
	for n := 0; n < req.Output; {
		var err error
		if n, err = c.call.await(ctx, n); err != nil {
			return err
		}
	}
	var text strings.Builder
	for i := range req.Output {
		text.WriteByte(' ')
		text.WriteString(word(req.Seed, i))
	}
	a := wholeAnswer{ID: c.id, Created: c.created, Model: c.model, Usage: c.counts()}
	if c.chat {
		a.Object = "chat.completion"
		a.Choices = []chatChoice{{Message: chatMessage{"assistant", text.String()}, FinishReason: c.call.reason}}
	} else {
		a.Object = "text_completion"
		a.Choices = []textChoice{{Text: text.String(), FinishReason: c.call.reason}}
	}
	if req.Hold {
		a.KV = s.handOver(r, c)
	}
	answer(w, http.StatusOK, a)
	return nil
}
