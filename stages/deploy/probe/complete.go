package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// APIs of CompleteWith, as workload.api names them.
const (
	Completions = "completions" // POST /v1/completions
	Chat        = "chat"        // POST /v1/chat/completions
)

// paths are where the APIs live.
var paths = map[string]string{Completions: "/v1/completions", Chat: "/v1/chat/completions"}

// Complete sends one short real request by whichever API the server has.
func (s *Server) Complete(ctx context.Context, model string) error {
	return s.CompleteWith(ctx, "", model)
}

// CompleteWith sends one short real request by the given API and wants a
// completion back. Where the API is missing but the other one works, the error
// says which to set: to use the other would measure something else than the
// spec says. With api "" nobody has said, and whichever is there will do.
func (s *Server) CompleteWith(ctx context.Context, api, model string) error {
	first, second := Completions, Chat
	switch api {
	case "", Completions:
	case Chat:
		first, second = Chat, Completions
	default:
		return fmt.Errorf("unknown API %q; it must be %s or %s", api, Completions, Chat)
	}
	err := s.complete(ctx, first, model)
	if err != nil && first == Chat && strings.Contains(err.Error(), "chat template") {
		return fmt.Errorf("%w; the model may have no chat template: set workload.api: %s", err, Completions)
	}
	if !Missing(err) {
		return err
	}
	switch other := s.complete(ctx, second, model); {
	case other != nil:
		return fmt.Errorf("%w; then %w", err, other)
	case api != "":
		return fmt.Errorf("%w; but %s works: set workload.api: %s", err, paths[second], second)
	}
	return nil
}

// complete asks for two tokens, so that a decode instance does at least one
// decode step.
func (s *Server) complete(ctx context.Context, api, model string) error {
	request := map[string]any{"model": model, "max_tokens": 2, "temperature": 0}
	if api == Chat {
		request["messages"] = []map[string]string{{"role": "user", "content": "Hello"}}
	} else {
		request["prompt"] = "Hello"
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	body, err := s.do(ctx, http.MethodPost, paths[api], b)
	if err != nil {
		return err
	}
	var answer struct {
		Choices []json.RawMessage `json:"choices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Choices) == 0 {
		return fmt.Errorf("POST %s%s: answered 200 but gave no completion; it begins %q", s.URL, paths[api], start(body))
	}
	return nil
}
