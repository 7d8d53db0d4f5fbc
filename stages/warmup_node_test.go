package stages

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/stages/load"
	"vbp/stages/warmup"
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

// The first warm-up that can be compared is what the others are compared with.
func TestFirstPace(t *testing.T) {
	var f firstPace
	for i, c := range []struct {
		now  warmup.Pace
		want float64
	}{
		{warmup.Pace{Requests: 2, TTFT: 0.01, PerToken: 0.001}, 0},
		{warmup.Pace{Requests: 20, TTFT: 0.04, PerToken: 0.009}, 1},
		{warmup.Pace{Requests: 20, TTFT: 0.09, PerToken: 0.009}, 2}, // (90 + 10) / (40 + 10) ms
		{warmup.Pace{Requests: 1, TTFT: 0.04, PerToken: 0.009}, 0},
		{warmup.Pace{Requests: 20, TTFT: 0.04, PerToken: 0.009}, 1},
	} {
		if got := f.slowdown(c.now); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("start %d: %v, want %v", i, got, c.want)
		}
	}
}

// A start's warm-up is compared with that of the deployment's first start: its
// points are not valid if the deployment came back much slower.
func TestSlowerThanBefore(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "warmup: {requests: 0}", "warmup: {requests: 6}")
	var warm, point *pipeline.Node
	for _, n := range w.build(spec).Nodes {
		switch n.Stage {
		case "warmup":
			warm = n
		case "load":
			point = n
		}
	}
	std, err := standardOf(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		late   time.Duration
		fails  bool
		low    float64 // of the fact; 0: not told
		high   float64
		reason string
	}{
		{0, true, 0, 0, ""}, // it cannot be compared, with this or anything
		{0, false, 1, 1, ""},
		// 10 ms are added to both: 210/(10 + what an answer takes here).
		{200 * time.Millisecond, false, 3, 25, "warmup_slowdown < 1.5"},
	} {
		srv := newServer(t)
		srv.complete = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if c.fails && n < 6 {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return true
			}
			if n < 6 {
				time.Sleep(c.late) // what a slow server does
			}
			return false
		}
		rt := &pipeline.Runtime{
			Attempt: "try", Dir: t.TempDir(), Service: up(srv), Restarts: i,
			Now: time.Now, Emit: func(pipeline.Event) {},
		}
		for _, n := range []*pipeline.Node{warm, point} {
			if err := n.Work(t.Context(), n.Input, rt); err != nil {
				t.Fatal(err)
			}
		}
		f := samplesIn(t, rt.Dir).Meta.Facts
		got, told := f["warmup_slowdown"]
		if told != (c.low > 0) || got < c.low || got > c.high || f["restarts"] != float64(i) {
			t.Errorf("start %d: slowdown %v, %v, want %v to %v; restarts %v", i, got, told, c.low, c.high, f["restarts"])
		}
		if v := std.judge(f, nil); v.Usable != (c.reason == "") || !strings.HasPrefix(v.Reason, c.reason) {
			t.Errorf("start %d: verdict %+v, want %q", i, v, c.reason)
		}
	}
}
