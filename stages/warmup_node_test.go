package stages

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/stages/load"
)

// warmUp runs the warm-up of a spec on srv, and returns what it tells.
func (w *world) warmUp(ctx context.Context, srv *server, text string) (told []string, err error) {
	w.t.Helper()
	for _, n := range w.build(text).Nodes {
		if n.Stage == "warmup" {
			rt := &pipeline.Runtime{Attempt: "try", Now: time.Now, Emit: func(e pipeline.Event) { told = append(told, e.Text) }}
			if srv != nil {
				rt.Service = up(srv)
			}
			return told, n.Work(ctx, n.Input, rt)
		}
	}
	w.t.Fatal("no warm-up")
	return nil, nil
}

func TestWarmup(t *testing.T) {
	w := newWorld(t)
	one := changed(t, oneMode, "warmup: {requests: 0}", "warmup: {requests: 1}", "requests: 4", "requests: 4, body: {top_k: 9}")
	srv := newServer(t)
	told, err := w.warmUp(t.Context(), srv, one)
	if err != nil || len(told) > 0 {
		t.Errorf("it tells %q, %v", told, err)
	}
	if got := srv.asked(); !slices.Equal(got, []string{load.RequestID("warmup-try", 0)}) {
		t.Errorf("asked %q: caches are not its business, and it sends what is asked for", got)
	}
	if b := srv.bodies[0]; b.Top != 9 || !b.IgnoreEOS || b.Model != "m" || srv.headers[0].Get("X-Token") != "hush" {
		t.Errorf("it asks otherwise than a load: %+v, %v", b, srv.headers[0])
	}

	// Five decode instances take five requests.
	many := newServer(t)
	if _, err := w.warmUp(t.Context(), many, changed(t, one, "engine: simulated", "engine: simulated, disaggregated: {connector: nixl, decode: {instances: 5}}")); err != nil {
		t.Error(err)
	}
	if got := many.asked(); len(got) != 5 {
		t.Errorf("asked %q", got)
	}
}

func TestWarmupErrors(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "warmup: {requests: 0}", "warmup: {requests: 2}")
	_, err := w.warmUp(t.Context(), nil, spec)
	mustContain(t, err, "no deployment")

	// Requests that fail are told of; what they mean, the load shows.
	bad := newServer(t)
	bad.complete = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return true
	}
	told, err := w.warmUp(t.Context(), bad, spec)
	if err != nil || !slices.Equal(told, []string{"2 of 2 warm-up requests failed: status 503: no"}) {
		t.Errorf("it tells %q, %v", told, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	stuck := newServer(t)
	stuck.complete = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		cancel()
		<-r.Context().Done()
		return true
	}
	if _, err := w.warmUp(ctx, stuck, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
