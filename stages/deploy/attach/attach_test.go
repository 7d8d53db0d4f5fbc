package attach

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"vbp/stages/deploy"
)

// serve runs a server with these paths, each wanting the API key, and records
// what was asked.
func serve(t *testing.T, paths map[string]string) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	mux := http.NewServeMux()
	for path, answer := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			*asked = append(*asked, path+" "+string(body))
			if r.Header.Get("Authorization") != "Bearer key" {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			if status := 0; answer == "" {
				w.WriteHeader(http.StatusInternalServerError)
			} else if _, err := fmt.Sscanf(answer, "%d", &status); err == nil {
				w.WriteHeader(status)
			}
			fmt.Fprint(w, answer)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, asked
}

const (
	models     = `{"data":[{"id":"a","max_model_len":2048},{"id":"b","root":"/b"}]}`
	completion = `{"choices":[{"text":"hi"}]}`
)

var key = deploy.Options{Headers: map[string]string{"Authorization": "Bearer key"}}

func TestStart(t *testing.T) {
	url, asked := serve(t, map[string]string{
		"GET /health": "{}", "GET /v1/models": models, "GET /version": `{"version":"0.27.0"}`,
		"POST /v1/completions": completion, "POST /reset_prefix_cache": "{}",
	})
	d := deploy.Deployment{Endpoint: url + "/v1/", Model: "a"}
	r, err := New().Start(t.Context(), d, key)
	if err != nil {
		t.Fatal(err)
	}
	e := r.Endpoint()
	if e.URL != url || e.Model != "a" || e.Headers["Authorization"] != "Bearer key" || len(e.Instances) != 1 || e.Instances[0].URL != url {
		t.Errorf("endpoint %+v", e)
	}
	if got := fmt.Sprint(r.Environment()); got != "map[engine:attached engine_version:0.27.0 max_model_len:2048 model:a]" {
		t.Error(got)
	}
	if !strings.Contains((*asked)[len(*asked)-1], `"model":"a"`) {
		t.Errorf("no completion of the model was asked for: %q", *asked)
	}
	if could, err := r.ResetCaches(t.Context()); !could || err != nil {
		t.Error(could, err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("the server was stopped: %v", err)
	}
}

// A server with nothing but what is needed: no /health, no /version, no
// cache to reset, and chat only.
func TestStartBare(t *testing.T) {
	url, _ := serve(t, map[string]string{"GET /v1/models": `{"data":[{"id":"only"}]}`, "POST /v1/chat/completions": completion})
	r, err := New().Start(t.Context(), deploy.Deployment{Endpoint: url}, key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Endpoint().Model != "only" {
		t.Errorf("endpoint %+v", r.Endpoint())
	}
	if _, told := r.Environment()["engine_version"]; told {
		t.Errorf("a version was made up: %v", r.Environment())
	}
	if could, err := r.ResetCaches(t.Context()); could || err != nil {
		t.Error(could, err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	whole := map[string]string{"GET /health": "{}", "GET /v1/models": models, "POST /v1/completions": completion}
	with := func(path, answer string) map[string]string {
		m := map[string]string{}
		for k, v := range whole {
			m[k] = v
		}
		m[path] = answer
		return m
	}
	for want, c := range map[string]struct {
		paths   map[string]string
		d       deploy.Deployment
		options deploy.Options
	}{
		`does not serve model "c"; it serves a, b`:                       {whole, deploy.Deployment{Model: "c"}, key},
		"serves several models, name one of them: a, b":                  {whole, deploy.Deployment{}, key},
		`answered 401 Unauthorized: who are you?; set headers`:           {whole, deploy.Deployment{Model: "a"}, deploy.Options{}},
		"header X still holds a reference to a secret":                   {whole, deploy.Deployment{Model: "a", Headers: map[string]string{"X": "${secret:K}"}}, deploy.Options{}},
		"/health: answered 503 Service Unavailable":                      {with("GET /health", "503"), deploy.Deployment{Model: "a"}, key},
		"is this an OpenAI-compatible server":                            {map[string]string{"GET /health": "{}"}, deploy.Deployment{Model: "a"}, key},
		"it serves model a, but a first request failed":                  {with("POST /v1/completions", ""), deploy.Deployment{Model: "a"}, key},
		"gave no completion; it begins":                                  {with("POST /v1/completions", "{}"), deploy.Deployment{Model: "a"}, key},
		"not a list of models":                                           {with("GET /v1/models", "<html>"), deploy.Deployment{Model: "a"}, key},
		"the server lists no model":                                      {with("GET /v1/models", "{}"), deploy.Deployment{Model: "a"}, key},
		`endpoint "localhost:8000": want a URL such as http://host:8000`: {nil, deploy.Deployment{Endpoint: "localhost:8000"}, key},
		"as an Authorization header":                                     {nil, deploy.Deployment{Endpoint: "http://me:pw@host:8000"}, key},
		"endpoint http://127.0.0.1:1: ":                                  {nil, deploy.Deployment{Endpoint: "http://127.0.0.1:1"}, key},
		"/health\": no answer within 50ms (stages.deploy.ready_timeout)": {nil, deploy.Deployment{}, deploy.Options{ReadyTimeout: 50 * time.Millisecond}},
	} {
		if c.paths != nil {
			c.d.Endpoint, _ = serve(t, c.paths)
		} else if c.d.Endpoint == "" {
			hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			defer hung.Close()
			c.d.Endpoint = hung.URL
		}
		_, err := New().Start(t.Context(), c.d, c.options)
		if err == nil {
			t.Errorf("no error, want %q", want)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("error %q\nwant %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New().Start(ctx, deploy.Deployment{Endpoint: "http://127.0.0.1:1"}, key); err == nil {
		t.Error("a cancelled start succeeded")
	}
}
