// Package probe asks an OpenAI-compatible server the few questions that a
// deployment needs answered: is it up, which models does it serve, what is it
// and with what arguments does it run (environment.go), does it complete a
// request by the API that the load will use (complete.go), can it empty its
// prefix cache (reset.go).
//
// Servers differ in what they can be asked. One that does not know a question
// has told nothing, which is no error; one that cannot answer right now is.
// What they answer is bounded and never trusted.
//
// It is used by local (servers that vbp starts) and attach (servers that
// already run), and measures nothing: load has a client of its own.
package probe

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

// bodyLimit is how much of an answer is read. A list of models or a
// completion of two tokens is a few KiB.
const bodyLimit = 4 << 20

// Server is one server to ask. HTTP must be set; its timeouts apply to each
// question, beside those of ctx.
type Server struct {
	URL     string            // no trailing slash, no /v1
	Headers map[string]string // sent with every question
	HTTP    *http.Client
}

// Model is one entry of /v1/models.
type Model struct {
	ID          string `json:"id"`
	OwnedBy     string `json:"owned_by"`      // which most servers fill with their own name
	Root        string `json:"root"`          // where the weights came from, as vLLM tells it; "" if not told
	MaxModelLen int64  `json:"max_model_len"` // tokens; 0 if not told
}

// StatusError is an answer with a status other than 2xx.
type StatusError struct {
	Method, URL string
	Status      int
	Body        string // its beginning
	Advice      string // what to do about it; "" if that cannot be known here
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: answered %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		s += ": " + e.Body
	}
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

// Status is the HTTP status that err carries, and 0 if it carries none
// because no answer came.
func Status(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

// missing reports whether a server told by its status that it does not have
// what was asked for. 405 and 501 come from servers that know the path but
// not the method.
func missing(err error) bool {
	return slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, Status(err))
}

// Missing reports whether err says that the server has no such path or
// method, in contrast to one that failed to answer.
func Missing(err error) bool { return err != nil && missing(err) }

// Health asks /health.
func (s *Server) Health(ctx context.Context) error {
	_, err := s.do(ctx, http.MethodGet, "/health", nil)
	return err
}

// Models asks /v1/models.
func (s *Server) Models(ctx context.Context) ([]Model, error) {
	body, err := s.do(ctx, http.MethodGet, "/v1/models", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Data []Model `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("GET %s/v1/models: the answer is not a list of models: %w (it begins %q)", s.URL, err, start(body))
	}
	return list.Data, nil
}

// Version asks /version. A server without one gives "" and no error.
func (s *Server) Version(ctx context.Context) (string, error) {
	body, err := s.do(ctx, http.MethodGet, "/version", nil)
	if Missing(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var v struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return "", fmt.Errorf("GET %s/version: the answer is not JSON: %w (it begins %q)", s.URL, err, start(body))
	}
	return v.Version, nil
}

// Find returns the model called name, or the only one if name is "". Its
// error lists what there is.
func Find(models []Model, name string) (Model, error) {
	i := slices.IndexFunc(models, func(m Model) bool { return m.ID == name })
	switch {
	case i >= 0:
		return models[i], nil
	case name == "" && len(models) == 1:
		return models[0], nil
	case len(models) == 0:
		return Model{}, errors.New("the server lists no model at /v1/models")
	}
	ids := make([]string, len(models))
	for i, m := range models {
		ids[i] = m.ID
	}
	if name == "" {
		return Model{}, fmt.Errorf("the server serves several models, name one of them: %s", strings.Join(ids, ", "))
	}
	return Model{}, fmt.Errorf("the server does not serve model %q; it serves %s; set model to a name that it serves", name, strings.Join(ids, ", "))
}

// do sends one request and returns the whole answer of a 2xx.
func (s *Server) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range s.Headers {
		if strings.EqualFold(k, "Host") {
			req.Host = v // net/http ignores it among the headers
			continue
		}
		req.Header.Set(k, v)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return nil, err // names method and URL already
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return nil, fmt.Errorf("%s %s%s: the answer broke off: %w", method, s.URL, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{
			Method: method, URL: s.URL + path, Status: resp.StatusCode, Body: start(b),
			Advice: s.advice(resp.StatusCode, resp.Header.Get("WWW-Authenticate")),
		}
	}
	return b, nil
}

// advice says which header to set when the server does not let vbp in.
func (s *Server) advice(status int, challenge string) string {
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return ""
	}
	for name := range s.Headers {
		if slices.Contains([]string{"authorization", "x-api-key", "api-key"}, strings.ToLower(name)) {
			return fmt.Sprintf("it does not accept the header %s that was sent; set another value in headers of the mode", name)
		}
	}
	value := "Bearer ${secret:API_KEY}"
	if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "Basic") {
		value = "Basic ${secret:CREDENTIALS}"
	}
	return fmt.Sprintf("set headers of the mode, such as headers: {Authorization: %q}", value)
}

// start is the beginning of an answer on one line, for an error message.
func start(b []byte) string {
	const most = 300
	if len(b) > 4*most {
		b = b[:4*most]
	}
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "?")), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}
