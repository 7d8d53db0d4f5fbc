package stages

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync/atomic"
	"testing"

	"vbp/pipeline"
)

// asks makes a plan's questions about the modes of a spec.
func (w *world) asks(ctx context.Context, modes string) map[string]map[string]string {
	w.t.Helper()
	e := w.parse(changed(w.t, oneMode, "{simple: {engine: simulated}}", modes))
	g, err := Build(e, w.site)
	if err != nil {
		w.t.Fatal(err)
	}
	known, err := knownEnvironments(ctx, g, e.Reveal)
	if err != nil {
		w.t.Fatal(err)
	}
	return known
}

// TestKnownEnvironments asks a server that runs already, with and without its
// secret. Nothing is started, and what cannot be known is no error of a plan.
func TestKnownEnvironments(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hush" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/v1/models":
			_, _ = io.WriteString(w, `{"data": [{"id": "Qwen/Qwen3-8B", "max_model_len": 4096}]}`)
		case "/version":
			_, _ = io.WriteString(w, `{"version": "0.27.0"}`)
		case "/health":
		default:
			if r.Method != http.MethodGet {
				t.Errorf("a plan asks %s %s", r.Method, r.URL.Path) // which may make the server work
			}
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	w := newWorld(t)
	w.env["KEY"], w.env["WRONG"] = "hush", "guess"
	got := w.asks(t.Context(), `
  simulated: {engine: simulated}
  good: {endpoint: "`+web.URL+`", headers: {Authorization: "Bearer ${secret:KEY}"}}
  wrong: {endpoint: "`+web.URL+`", headers: {Authorization: "Bearer ${secret:WRONG}"}}`)
	want := map[string]map[string]string{"deploy mode=good": {
		"engine": "attached", "model": "Qwen/Qwen3-8B", "max_model_len": "4096", "engine_version": "0.27.0",
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("known: %v\nwant:  %v", got, want)
	}
	if len(w.started()) > 0 {
		t.Error("a plan starts something")
	}
}

// TestKnownEnvironmentsEnd holds that a server which never answers holds up
// nobody who has had enough.
func TestKnownEnvironmentsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer web.Close()
	if got := newWorld(t).asks(ctx, `{silent: {endpoint: "`+web.URL+`"}}`); len(got) > 0 {
		t.Errorf("known: %v", got)
	}
}

// TestPlanAsks holds that what a server that runs says of itself decides
// about what was measured of it before.
func TestPlanAsks(t *testing.T) {
	var version atomic.Value
	version.Store("1")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			_, _ = io.WriteString(w, `{"data": [{"id": "Qwen/Qwen3-8B"}]}`)
		case "/version":
			_, _ = io.WriteString(w, `{"version": "`+version.Load().(string)+`"}`)
		}
	}))
	defer web.Close()
	w := newWorld(t)
	w.prepare = func(s *server) error {
		s.env = map[string]string{"engine": "attached", "model": "Qwen/Qwen3-8B", "engine_version": version.Load().(string)}
		return nil
	}
	spec := changed(t, oneMode, "{engine: simulated}", `{endpoint: "`+web.URL+`"}`)
	w.apply(spec)
	const load = "load mode=simple qps=1000 repeat=0"
	for _, c := range []struct {
		version string
		action  pipeline.Action
		why     string
	}{
		{"1", pipeline.Reuse, "measured under 1, just now"},
		{"2", pipeline.Run, "the environment differs: engine_version: 1 -> 2"},
	} {
		version.Store(c.version)
		p, err := PlanOf(t.Context(), w.parse(spec), w.site, PlanChoices{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Decisions {
			if d.Node.ID == load && (d.Action != c.action || d.Why != c.why) {
				t.Errorf("version %s: %s, %s", c.version, d.Action, d.Why)
			}
		}
	}
}
