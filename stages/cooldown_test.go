package stages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vbp/pipeline"
	"vbp/stages/deploy"
)

func TestCooldown(t *testing.T) {
	const never = time.Hour
	for name, c := range map[string]struct {
		since     time.Duration // since the last point's end; < 0: there was none
		rest      time.Duration
		busy      time.Duration // from now on, the servers have requests
		cancelled bool
		want      time.Duration
		told      []string
		note      string
	}{
		"first point":        {since: -1, rest: 2 * time.Second},
		"right after":        {rest: 2 * time.Second, want: 2 * time.Second, told: []string{"cooling down"}},
		"in between":         {since: 500 * time.Millisecond, rest: 2 * time.Second, want: 1500 * time.Millisecond, told: []string{"cooling down"}},
		"long after":         {since: 3 * time.Second, rest: 2 * time.Second},
		"none":               {},
		"busy for less":      {rest: 2 * time.Second, busy: time.Second, want: 2 * time.Second, told: []string{"cooling down"}},
		"busy for more":      {rest: 2 * time.Second, busy: 2900 * time.Millisecond, want: 3 * time.Second, told: []string{"cooling down", "cooling down until the servers have no requests: decode-0 3"}},
		"busy before it all": {since: -1, rest: 2 * time.Second, busy: 300 * time.Millisecond, want: 500 * time.Millisecond, told: []string{"cooling down until the servers have no requests: decode-0 3"}},
		"busy for ever": {
			rest: 2 * time.Second, busy: never, want: time.Minute,
			told: []string{"cooling down", "cooling down until the servers have no requests: decode-0 3"},
			note: "cool-down ended after 1m0s (cooldown_limit) though the servers still had requests, running or waiting: decode-0 3",
		},
		"an end in the rest":  {rest: 50 * time.Second, cancelled: true, want: 30 * time.Second, told: []string{"cooling down"}},
		"an end in the queue": {busy: never, cancelled: true, want: 30 * time.Second, told: []string{"cooling down until the servers have no requests: decode-0 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var lastEnd time.Time
				if c.since >= 0 {
					lastEnd = time.Now()
					time.Sleep(c.since)
				}
				if c.cancelled {
					time.AfterFunc(30*time.Second, cancel)
				}
				begun := time.Now()
				var told []string
				rt := &pipeline.Runtime{Now: time.Now, Emit: func(e pipeline.Event) { told = append(told, e.Text) }}
				note, err := cooldown(ctx, rt, lastEnd, c.rest, time.Minute, func(context.Context) backlog {
					if time.Since(begun) < c.busy {
						return backlog{requests: 3, told: true, of: []string{"decode-0 3"}}
					}
					return backlog{}
				})
				if c.cancelled != errors.Is(err, context.Canceled) || !c.cancelled && err != nil {
					t.Errorf("error %v", err)
				}
				if took := time.Since(begun); took != c.want || note != c.note || !slices.Equal(told, c.told) {
					t.Errorf("waited %v, not %v; it tells %q, notes %q", took, c.want, told, note)
				}
			})
		})
	}
}

// gauges is a server's metrics while it has so many requests; the engine's
// replicas have them each for themselves.
func gauges(running, waiting int) string {
	return fmt.Sprintf("# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} %d\nvllm:num_requests_running{engine=\"1\"} 1\n"+
		"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\"} %d\n"+
		"# TYPE vllm:num_requests_waiting_by_reason gauge\nvllm:num_requests_waiting_by_reason{reason=\"capacity\"} 100\n", running, waiting)
}

func TestQueues(t *testing.T) {
	with := func(metrics string) *server {
		s := newServer(t)
		if metrics != "" {
			s.metrics = func(int) string { return metrics }
		}
		return s
	}
	for _, c := range []struct {
		name    string
		servers []*server // their places are a proxy's, a prefill instance's, decode instances'
		want    string    // requests, told, of
	}{
		{"all tell", []*server{with(gauges(50, 50)), with(gauges(0, 0)), with(gauges(4, 2))}, "8 true prefill-1 1, decode-2 7"},
		{"one does not", []*server{with(""), with(""), with(gauges(4, 2))}, "7 true decode-2 7"},
		{"none does", []*server{with(gauges(1, 1)), with(""), with("process_cpu_seconds_total 1\n")}, "0 false "},
		{"what is no metrics", []*server{with(""), with("vllm:num_requests_running NaN\n"), with("<html>")}, "0 false "},
		{"none left", []*server{with(""), with("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")}, "0 true "},
	} {
		e := deploy.Endpoint{Headers: map[string]string{"X-Token": "hush"}}
		for i, s := range c.servers {
			role := []deploy.Role{deploy.Proxy, deploy.Prefill, deploy.Decode}[i]
			e.Instances = append(e.Instances, deploy.Instance{Name: fmt.Sprint(role, "-", i), Role: role, URL: s.endpoint.URL})
		}
		e.Instances = append(e.Instances, deploy.Instance{Name: "cache", Role: deploy.Cache, URL: "lm://127.0.0.1:1"})
		q := newQueues(e)
		got := q.ask(t.Context())
		q.close()
		if text := fmt.Sprintf("%g %v %s", got.requests, got.told, got); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		for _, s := range c.servers {
			if s.unkeyed > 0 {
				t.Errorf("%s: a question came without the endpoint's headers", c.name)
			}
		}
	}
}

// A point waits until its server has no requests, and its record says how many
// it had before the first was sent.
func TestLoadWaitsForTheQueue(t *testing.T) {
	for _, c := range []struct {
		name   string
		queue  []int // at each look; the last one stays
		limit  string
		before float64
		note   string
	}{
		{"empty at the third look", []int{2, 1, 0}, "1h", 0, ""},
		{"never", []int{2, 1}, "300ms", 1, "cool-down ended after 300ms (cooldown_limit) though the servers still had requests, running or waiting: server 1"},
	} {
		w := newWorld(t)
		srv := newServer(t)
		srv.metrics = func(n int) string {
			return fmt.Sprintf("vllm:num_requests_running %d\nvllm:num_requests_waiting 0\n", c.queue[min(n, len(c.queue)-1)])
		}
		sent := 0 // looks at the metrics before the first request
		srv.complete = func(_ http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 0 {
				srv.mu.Lock()
				sent = srv.reads
				srv.mu.Unlock()
			}
			return false
		}
		p := w.point(srv, oneMode)
		p.node.Input = changedInput(t, p.node.Input, "cooldown_limit", c.limit)
		if err := p.work(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent < len(c.queue) {
			t.Errorf("%s: it sent its first request after %d looks", c.name, sent)
		}
		table := p.samples(t)
		if got, told := table.Meta.Facts["queue_before"]; got != c.before || !told || table.Meta.Extra[notesKey] != c.note {
			t.Errorf("%s: queue_before %v, %v; notes %q", c.name, got, told, table.Meta.Extra[notesKey])
		}
		std, err := standardOf(nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if c.before > 0 {
			want = "queue_before == 0, it was 1"
		}
		if v := std.judge(table.Meta.Facts, nil); v.Reason != want {
			t.Errorf("%s: verdict %q, want %q", c.name, v.Reason, want)
		}
	}
	// A server that tells nothing is left alone for a while, and that is all.
	w := newWorld(t)
	p := w.point(newServer(t), oneMode)
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, told := p.samples(t).Meta.Facts["queue_before"]; told {
		t.Errorf("nobody told that it had %v requests", v)
	}
}

// changedInput is an input with another value of one name.
func changedInput(t *testing.T, in pipeline.Input, name, value string) pipeline.Input {
	t.Helper()
	var m map[string]any
	if err := in.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if _, ok := m[name]; !ok || strings.Contains(value, `"`) {
		t.Fatalf("the input has no %s", name)
	}
	m[name] = value
	out, err := pipeline.NewInput(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
