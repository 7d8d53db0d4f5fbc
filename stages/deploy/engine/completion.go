package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// requestBody is what is read of a request for a completion or for counting
// tokens; fields that change nothing here (temperature, stop and the like)
// are accepted and ignored.
type requestBody struct {
	Model               string          `json:"model"`
	Prompt              json.RawMessage `json:"prompt"`
	Messages            []message       `json:"messages"`
	Stream              bool            `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	MinTokens           int             `json:"min_tokens"`
	IgnoreEOS           bool            `json:"ignore_eos"`
	N                   *int            `json:"n"`
	BestOf              *int            `json:"best_of"`
	Echo                bool            `json:"echo"`
	Logprobs            json.RawMessage `json:"logprobs"`
	Seed                int64           `json:"seed"`
	KV                  *kvParams       `json:"kv_transfer_params"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// message is one turn of a chat. Its content is a text or a list of parts.
type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

func (m message) text() (string, error) {
	if len(m.Content) == 0 || string(m.Content) == "null" {
		return "", nil
	}
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(m.Content, &parts); err != nil {
		return "", fmt.Errorf("the content of a message is neither a text nor a list of parts")
	}
	for _, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("a message has a part of type %q; only text is understood", p.Type)
		}
		text += p.Text
	}
	return text, nil
}

// tokens are the token ids of the prompt or of the messages.
func (b *requestBody) tokens(chat bool, vocab int) ([]uint32, error) {
	if chat {
		if len(b.Messages) == 0 {
			return nil, fmt.Errorf("messages is missing or empty; send at least one")
		}
		var text strings.Builder
		for _, m := range b.Messages {
			content, err := m.text()
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&text, "<|im_start|>%s\n%s<|im_end|>\n", m.Role, content)
		}
		text.WriteString("<|im_start|>assistant\n")
		return tokenize(text.String(), vocab), nil
	}
	raw := bytes.TrimSpace(b.Prompt)
	// A batch of one is as good as its only prompt.
	if first, ok := bytes.CutPrefix(raw, []byte("[")); ok {
		if first = bytes.TrimSpace(first); len(first) > 0 && (first[0] == '[' || first[0] == '"') {
			var batch []json.RawMessage
			if err := json.Unmarshal(raw, &batch); err != nil {
				return nil, fmt.Errorf("prompt: %w", err)
			}
			if len(batch) != 1 {
				return nil, fmt.Errorf("prompt is a list of %d prompts; send each in a request of its own", len(batch))
			}
			raw = batch[0]
		}
	}
	switch {
	case len(raw) > 0 && raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("prompt: %w", err)
		}
		return tokenize(text, vocab), nil
	case len(raw) > 0 && raw[0] == '[':
		ids := []uint32{}
		if err := json.Unmarshal(raw, &ids); err != nil {
			return nil, fmt.Errorf("prompt is neither a text nor a list of token ids: %w", err)
		}
		for i, id := range ids {
			if id >= uint32(vocab) {
				return nil, fmt.Errorf("token id %d at position %d of the prompt is out of the vocabulary of %d", id, i, vocab)
			}
		}
		return ids, nil
	}
	return nil, fmt.Errorf("prompt is missing, or neither a text nor a list of token ids")
}

// completion is one request on its way through the server.
type completion struct {
	call    *call
	driver  *driver // of the replica that serves it
	chat    bool
	id      string
	model   string
	created int64
	stream  bool
	usage   bool // a usage chunk at the end of the stream
	kv      *kvParams
}

// read turns a body into a completion.
func (s *server) read(b *requestBody, chat bool, requestID string) (*completion, error) {
	prompt, err := b.tokens(chat, s.settings.Vocab)
	if err != nil {
		return nil, err
	}
	for _, count := range []struct {
		name  string
		value *int
	}{{"n", b.N}, {"best_of", b.BestOf}} {
		if count.value != nil && *count.value != 1 {
			return nil, fmt.Errorf("%s is %d; this server gives one answer to a request", count.name, *count.value)
		}
	}
	if lp := string(b.Logprobs); b.Echo || (lp != "" && lp != "null" && lp != "false") {
		return nil, fmt.Errorf("echo and logprobs are not simulated; leave them out")
	}
	if s.honoursKV() {
		if err := b.KV.check(); err != nil {
			return nil, err
		}
	}
	length := s.settings.Scheduler.MaxModelLen
	left := length - len(prompt)
	if left < 1 {
		return nil, fmt.Errorf("this model's maximum context length is %d tokens, but the prompt has %d, which leaves none for the output; shorten it", length, len(prompt))
	}
	// vLLM's defaults: 16 for completions, what is left of the context for chat.
	limit := 16
	if chat {
		limit = left
	}
	if m := cmp.Or(b.MaxCompletionTokens, b.MaxTokens); m != nil {
		limit = *m
	}
	// As in vLLM a limit beyond the context is lowered without a word.
	limit = min(limit, left)
	if err := s.settings.Scheduler.fits(len(prompt), limit); err != nil {
		return nil, err
	}
	if b.MinTokens < 0 || b.MinTokens > limit {
		return nil, fmt.Errorf("min_tokens is %d; it is between 0 and max_tokens, which is %d", b.MinTokens, limit)
	}
	prefix := "cmpl-"
	if chat {
		prefix = "chatcmpl-"
	}
	serial := strconv.FormatInt(s.serial.Add(1), 10)
	if requestID == "" {
		requestID = s.engineID + "-" + serial
	}
	c := &completion{
		chat: chat, id: prefix + requestID, model: cmp.Or(b.Model, s.names[0]), created: time.Now().Unix(),
		driver: s.replicas.next(),
		stream: b.Stream, usage: b.StreamOptions != nil && b.StreamOptions.IncludeUsage, kv: b.KV,
	}
	// A client may use an id twice; the name that other instances use may not repeat.
	c.call = newCall(c.id + "-" + serial)
	r := &c.call.req
	r.Prompt, r.Output, c.call.reason = prompt, limit, "length"
	r.Seed = textSeed(prompt, s.options.Seed, b.Seed)
	if !b.IgnoreEOS {
		if n := max(naturalLength(r.Seed), b.MinTokens); n <= limit {
			r.Output, c.call.reason = n, "stop"
		}
	}
	if b.KV != nil && s.honoursKV() {
		r.RemoteKV = b.KV.DoRemotePrefill
		r.Hold = b.KV.DoRemoteDecode && c.call.reason == "length"
	}
	return c, nil
}

// tags are those under which the request's KV is shared.
func (c *completion) tags() string {
	if c.kv == nil {
		return ""
	}
	return c.kv.Tags
}

// complete serves both completion APIs.
func (s *server) complete(w http.ResponseWriter, r *http.Request, chat bool) {
	if s.fault(w, r, int(s.completions.Add(1))) {
		return
	}
	s.load.Add(1)
	defer s.load.Add(-1)
	var body requestBody
	if !s.decode(w, r, &body) {
		return
	}
	c, err := s.read(&body, chat, r.Header.Get("X-Request-Id"))
	if err == nil {
		c.call.req.External = s.shared.lookup(r.Context(), c.call.req.Prompt, c.tags())
		err = c.driver.submit(c.call)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequestError", err.Error())
		return
	}
	defer c.driver.cancel(c.call) // unless it ended
	if c.call.req.RemoteKV {
		if err := s.awaitKV(r.Context(), c); err != nil {
			if r.Context().Err() != nil {
				panic(http.ErrAbortHandler) // nobody is there, and an empty answer would look like success
			}
			if s.options.Strict && c.stream {
				_ = c.writeFailure(w) // vLLM has promised a stream by then
				return
			}
			refuse(w, http.StatusInternalServerError, "InternalServerError", err.Error())
			return
		}
	}
	if err = s.share(r.Context(), c); err != nil {
		panic(http.ErrAbortHandler) // its client left
	}
	if c.stream {
		err = c.writeStream(r.Context(), w)
	} else {
		err = s.writeWhole(r.Context(), w, r, c)
	}
	if err != nil {
		// A client that left does not mind; for the others an aborted
		// connection says that the answer is not whole.
		panic(http.ErrAbortHandler)
	}
}

// honoursKV tells whether kv_transfer_params mean anything here: to vLLM
// without NIXL they do not.
func (s *server) honoursKV() bool { return !s.options.Strict || s.options.KVTransfer.nixl() }

// share waits until the prompt is computed and makes its KV findable for
// others, if KV is shared. LMCache hands the KV to its server while the answer
// is on its way already; here it is there first, so that an instance that
// looks for it next finds it.
func (s *server) share(ctx context.Context, c *completion) error {
	if s.shared == nil || !s.shared.stores {
		return nil
	}
	if _, err := c.call.await(ctx, 0); err != nil {
		return err
	}
	s.shared.store(ctx, c.call.req.Prompt, c.tags(), c.call.req.External)
	return nil
}

// fault makes the trouble that was asked for; true if that was the answer.
func (s *server) fault(w http.ResponseWriter, r *http.Request, n int) bool {
	o := s.options
	switch {
	case o.ExitAfter >= 0 && n > o.ExitAfter:
		s.die(errExit)
		panic(http.ErrAbortHandler)
	case o.StallAfter >= 0 && n > o.StallAfter:
		s.failing.Do(func() {
			s.log.Printf("completion request %d and all further ones are left without an answer (--stall-after)", n)
		})
		// The end of the client's connection is only noticed once its
		// request has been read.
		var body requestBody
		if s.decode(w, r, &body) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		return true
	case o.FailAfter >= 0 && n > o.FailAfter:
		s.failing.Do(func() {
			s.log.Printf("completion request %d and all further ones are answered with status 500 (--fail-after)", n)
		})
		refuse(w, http.StatusInternalServerError, "InternalServerError", "failing as asked for by --fail-after")
		return true
	}
	return false
}

// await waits until more than n tokens came out and returns how many did.
func (c *call) await(ctx context.Context, n int) (int, error) {
	for {
		if made := int(c.made.Load()); made > n {
			return made, nil
		}
		select {
		case <-c.notify:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
