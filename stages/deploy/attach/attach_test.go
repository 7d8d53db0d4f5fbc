package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/deploy/probe"
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
	models     = `{"data":[{"id":"a","max_model_len":2048,"owned_by":"vllm"},{"id":"b","root":"/b"}]}`
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
	if got := fmt.Sprint(r.Environment()); got != "map[engine:attached engine_version:0.27.0 max_model_len:2048 model:a server:vllm]" {
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

// A cache that is in use is asked for again until its lease must have ended;
// only the clock is not the real one.
func TestResetCachesInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRunning("http://s", nil)
		r.endpoint.URL = "http://s"
		begun := time.Now()
		free := 2 * time.Second
		r.server.HTTP = &http.Client{Transport: transport(func(q *http.Request) *http.Response {
			body := fmt.Sprintf(`{"success":%t}`, time.Since(begun) >= free)
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Request: q}
		})}
		if could, err := r.ResetCaches(t.Context()); !could || err != nil || time.Since(begun) != free {
			t.Errorf("%v after %v, error %v", could, time.Since(begun), err)
		}
		free = time.Hour
		could, err := r.ResetCaches(t.Context())
		if could || !errors.Is(err, probe.ErrCacheInUse) || !strings.HasPrefix(err.Error(), "endpoint http://s: reset its prefix cache: the prefix cache is in use") {
			t.Errorf("%v, error %v", could, err)
		}
		if took := time.Since(begun) - 2*time.Second; took <= 30*time.Second || took > time.Minute {
			t.Errorf("it gave up after %v", took)
		}
	})
}

// transport answers without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

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

// The load's API is what the first request uses; nothing is swapped unasked.
func TestStartUsesTheAPI(t *testing.T) {
	for name, c := range map[string]struct {
		paths map[string]string
		api   string
		want  string // of the error; "" for none
	}{
		"chat, asked for chat":         {map[string]string{"POST /v1/chat/completions": completion}, "chat", ""},
		"chat, asked for completions":  {map[string]string{"POST /v1/chat/completions": completion}, "completions", "/v1/completions: answered 404 Not Found: 404 page not found; but /v1/chat/completions works: set workload.api: chat"},
		"completions, asked for chat":  {map[string]string{"POST /v1/completions": completion}, "chat", "set workload.api: completions"},
		"neither, asked for chat":      {nil, "chat", "/v1/chat/completions: answered 404 Not Found: 404 page not found; then POST "},
		"both, the one asked for ails": {map[string]string{"POST /v1/completions": "500", "POST /v1/chat/completions": completion}, "completions", "answered 500 Internal Server Error: 500"},
	} {
		paths := map[string]string{"GET /v1/models": models}
		for k, v := range c.paths {
			paths[k] = v
		}
		url, asked := serve(t, paths)
		_, err := New().Start(t.Context(), deploy.Deployment{Endpoint: url, Model: "a"}, deploy.Options{Headers: key.Headers, API: c.api})
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v\nwant %s", name, err, c.want)
		case err == nil && strings.Contains(fmt.Sprint(*asked), `"prompt"`):
			t.Errorf("%s: asked %q", name, *asked)
		}
	}
}

// A server without a list of models is taken to know the one that is named.
func TestStartWithoutAList(t *testing.T) {
	for _, list := range []map[string]string{{}, {"GET /v1/models": `{"object":"list","data":[]}`}} {
		list["POST /v1/chat/completions"] = completion
		url, _ := serve(t, list)
		o := deploy.Options{Headers: key.Headers, API: "chat"}
		r, err := New().Start(t.Context(), deploy.Deployment{Endpoint: url, Model: "named"}, o)
		if err != nil || r.Endpoint().Model != "named" || fmt.Sprint(r.Environment()) != "map[engine:attached model:named]" {
			t.Errorf("error %v", err)
		}
		if _, err := New().Start(t.Context(), deploy.Deployment{Endpoint: url}, o); err == nil {
			t.Error("a model without a name was found")
		}
	}
}

// A server that loads its model is waited for, and what it tells of itself is
// the environment, for Start and Ask alike.
func TestStartWaitsAndIdentifies(t *testing.T) {
	var asked atomic.Int64
	ready := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			close(ready)
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`)
		}
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":[{"id":"m.gguf","owned_by":"llamacpp"}]}`)
	})
	mux.HandleFunc("GET /props", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"build_info":"b1-abc","model_path":"/m.gguf","total_slots":4,"default_generation_settings":{"n_ctx":4096}}`)
	})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, completion) })
	s := httptest.NewServer(mux)
	defer s.Close()
	var told []string
	d := deploy.Deployment{Endpoint: s.URL}
	r, err := New().Start(t.Context(), d, deploy.Options{API: "completions", Progress: func(s string) { told = append(told, s) }})
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	const want = "map[engine:attached engine_version:b1-abc max_model_len:4096 max_num_seqs:4 model:m.gguf model_root:/m.gguf server:llama.cpp]"
	if got := fmt.Sprint(r.Environment()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if all := strings.Join(told, "\n"); !strings.Contains(all, "waiting until it is ready: GET "+s.URL+"/health: answered 503 Service Unavailable: ") || !strings.Contains(all, "Loading model") {
		t.Errorf("told %q", told)
	}
	env, err := Ask(t.Context(), d, nil)
	if err != nil || fmt.Sprint(env) != want {
		t.Errorf("Ask: %v, error %v", env, err)
	}
}

// A plan does not wait long: what came before its patience ended is what it
// knows.
func TestAskKnowsInPart(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":[{"id":"a","owned_by":"vllm"}]}`)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"0.32.0"}`) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mux.HandleFunc("GET /server_info", func(_ http.ResponseWriter, r *http.Request) {
		cancel() // patience ends while it looks at its system
		<-r.Context().Done()
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	env, err := Ask(ctx, deploy.Deployment{Endpoint: s.URL}, nil)
	if err != nil || fmt.Sprint(env) != "map[engine:attached engine_version:0.32.0 model:a server:vllm]" {
		t.Errorf("%v, error %v", env, err)
	}
	if _, err := Ask(ctx, deploy.Deployment{Endpoint: s.URL}, nil); err == nil {
		t.Error("a server of which nothing is known has an environment")
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
		"not ready within 30ms (stages.deploy.ready_timeout)":            {with("GET /health", "503"), deploy.Deployment{Model: "a"}, deploy.Options{Headers: key.Headers, ReadyTimeout: 30 * time.Millisecond}},
		"/health: answered 500 Internal Server Error":                    {with("GET /health", ""), deploy.Deployment{Model: "a"}, key},
		"is this an OpenAI-compatible server":                            {map[string]string{"GET /health": "{}"}, deploy.Deployment{Model: "a"}, key},
		"it serves model a, but a first request failed":                  {with("POST /v1/completions", ""), deploy.Deployment{Model: "a"}, key},
		"gave no completion; it begins":                                  {with("POST /v1/completions", "{}"), deploy.Deployment{Model: "a"}, key},
		"not a list of models":                                           {with("GET /v1/models", "<html>"), deploy.Deployment{Model: "a"}, key},
		"the server lists no model":                                      {with("GET /v1/models", "{}"), deploy.Deployment{}, key},
		`endpoint "localhost:8000": want a URL such as http://host:8000`: {nil, deploy.Deployment{Endpoint: "localhost:8000"}, key},
		"as an Authorization header":                                     {nil, deploy.Deployment{Endpoint: "http://me:pw@host:8000"}, key},
		"endpoint http://127.0.0.1:1: ":                                  {nil, deploy.Deployment{Endpoint: "http://127.0.0.1:1"}, key},
		"/health\": not ready within 50ms (stages.deploy.ready_timeout)": {nil, deploy.Deployment{}, deploy.Options{ReadyTimeout: 50 * time.Millisecond}},
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

// Another server at the same address is not the one that was attached to.
func TestCheckNoticesAnotherServer(t *testing.T) {
	var version atomic.Value
	version.Store("1.0")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"data": [{"id": "m"}]}`) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version": %q}`, version.Load())
	})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"choices": [{"text": "a"}]}`) })
	s := httptest.NewServer(mux)
	defer s.Close()
	r, err := New().Start(t.Context(), deploy.Deployment{Endpoint: s.URL, Model: "m"}, deploy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop(t.Context())
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	version.Store("2.0")
	if err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `it is another server now: engine_version was "1.0" and is "2.0"`) {
		t.Errorf("got %v", err)
	}
}
