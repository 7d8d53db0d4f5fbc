package count

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// form is how a family of servers is asked to count. All take POST /tokenize
// and mean different things by it.
type form struct {
	name string
	body func(model, text string) any
	read func(answer []byte) (counted, error)
}

// counted is what a server answered.
type counted struct {
	count int
	ids   string // of its tokens, in whatever notation
}

// forms are tried in this order.
//
//	vLLM, SGLang  {"model", "prompt"} -> {"count", "max_model_len", "tokens": [ids]}
//	              https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
//	llama.cpp     {"content"} -> {"tokens": [ids]}
//	              https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
//	TGI           {"inputs"} -> [{"id", "text", "start", "stop"}]
//	              https://huggingface.github.io/text-generation-inference
//
// Special tokens are asked for where that is not the default, since a request
// gets them too. llama.cpp answers a question in vLLM's form by no tokens at
// all, which is why one is taken at its word only for a text that has some.
var forms = []*form{
	{
		name: "vllm",
		body: func(model, text string) any {
			return struct {
				Model   string `json:"model"`
				Prompt  string `json:"prompt"`
				Special bool   `json:"add_special_tokens"`
			}{model, text, true}
		},
		read: func(answer []byte) (counted, error) {
			var v struct {
				Count  *int            `json:"count"`
				Tokens json.RawMessage `json:"tokens"`
			}
			if err := json.Unmarshal(answer, &v); err != nil {
				return counted{}, err
			}
			if v.Count == nil {
				return counted{}, errors.New("there is no count in it")
			}
			var ids []json.RawMessage
			if json.Unmarshal(v.Tokens, &ids) == nil && len(ids) > 0 && len(ids) != *v.Count {
				return counted{}, fmt.Errorf("it counts %d and lists %d tokens", *v.Count, len(ids))
			}
			return counted{*v.Count, notation(v.Tokens)}, nil
		},
	},
	{
		name: "llama.cpp",
		body: func(_, text string) any {
			return struct {
				Content string `json:"content"`
				Special bool   `json:"add_special"`
			}{text, true}
		},
		read: func(answer []byte) (counted, error) {
			var v struct {
				Tokens []json.RawMessage `json:"tokens"`
			}
			if err := json.Unmarshal(answer, &v); err != nil {
				return counted{}, err
			}
			if v.Tokens == nil {
				return counted{}, errors.New("there are no tokens in it")
			}
			return counted{len(v.Tokens), notation(answer)}, nil
		},
	},
	{
		name: "tgi",
		body: func(_, text string) any {
			return struct {
				Inputs string `json:"inputs"`
			}{text}
		},
		read: func(answer []byte) (counted, error) {
			var v []struct {
				ID *json.Number `json:"id"`
			}
			if err := json.Unmarshal(answer, &v); err != nil {
				return counted{}, err
			}
			ids := make([]string, len(v))
			for i := range v {
				if v[i].ID == nil {
					return counted{}, errors.New("its tokens have no id")
				}
				ids[i] = v[i].ID.String()
			}
			return counted{len(v), strings.Join(ids, ",")}, nil
		},
	},
}

// notation is JSON without its spaces.
func notation(raw []byte) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw) // it was parsed already
	return b.String()
}

// recognize finds the form in which a server counts the probe.
func (s *Server) recognize(ctx context.Context, url string) (*form, counted, error) {
	var said []string
	for _, f := range forms {
		got, err := f.ask(ctx, s, url, probe)
		var status *statusError
		switch {
		case err == nil && got.count > 0:
			return f, got, nil
		case err == nil:
			err = errors.New("it counts no tokens in a text of many")
		case errors.As(err, &status) && status.missing():
			// No form of it is there.
			return nil, counted{}, fmt.Errorf("%w: %w", ErrNone, err)
		case errors.As(err, &status) && !status.misunderstood(), !errors.As(err, &status) && !errors.Is(err, errUnread):
			return nil, counted{}, err
		}
		said = append(said, fmt.Sprintf("asked in %s's form, %v", f.name, err))
	}
	return nil, counted{}, fmt.Errorf("%w of a form that is known: %s", ErrNone, strings.Join(said, "; "))
}

// errUnread marks an answer that is not of the form.
var errUnread = errors.New("its answer is of another form")

// limit is how much of an answer is read: TGI's of half a million tokens.
const limit = 64 << 20

// ask counts the tokens of a text at one server.
func (f *form) ask(ctx context.Context, s *Server, url, text string) (counted, error) {
	body, err := json.Marshal(f.body(s.target.Model, text))
	if err != nil {
		return counted{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/tokenize", bytes.NewReader(body))
	if err != nil {
		return counted{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range s.target.Headers {
		req.Header.Set(k, v)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return counted{}, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, limit))
	if err != nil {
		return counted{}, err
	}
	if res.StatusCode != http.StatusOK {
		return counted{}, &statusError{res.StatusCode, strings.TrimSpace(string(answer))}
	}
	got, err := f.read(answer)
	if err == nil && got.count < 0 {
		err = fmt.Errorf("it counts %d tokens", got.count)
	}
	if err != nil {
		return counted{}, fmt.Errorf("%w: %w: %.120q", errUnread, err, answer)
	}
	return got, nil
}

// statusError is an answer with another status than 200.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("POST /tokenize is answered %d %s: %.200q", e.status, http.StatusText(e.status), e.body)
}

// missing tells that there is no such path, or none for this client: a gateway
// may let /v1 through and nothing else.
func (e *statusError) missing() bool {
	return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented}, e.status)
}

// misunderstood tells that the body was not what the server takes.
func (e *statusError) misunderstood() bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity}, e.status)
}

// passing tells that it may be answered another time.
func (e *statusError) passing() bool {
	return e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout || e.status >= 500
}

// tooLong tells that the text is longer than the model can read, by the words
// that servers have for it.
func (e *statusError) tooLong() bool {
	if e.status == http.StatusRequestEntityTooLarge {
		return true
	}
	body := strings.ToLower(e.body)
	return e.misunderstood() && slices.ContainsFunc([]string{"context length", "max_model_len", "too long", "longer than", "exceed"}, func(words string) bool {
		return strings.Contains(body, words)
	})
}
