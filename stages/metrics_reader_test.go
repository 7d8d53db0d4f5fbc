package stages

import (
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"vbp/stages/deploy"
)

// TestLoadMetrics holds that metrics of every instance are stored beside the
// samples, and what is told of an engine's own lateness.
func TestLoadMetrics(t *testing.T) {
	w := newWorld(t)
	srv, slow, mute := newServer(t), newServer(t), newServer(t)
	// Totals until the first request came and afterwards: what was before the
	// point does not count. 3 steps late by 6 ms in all; 4 late by 20 ms.
	var loaded atomic.Bool
	totals := func(before, after [2]float64) func(int) string {
		return func(int) string {
			v := before
			if loaded.Load() {
				v = after
			}
			return fmt.Sprintf("# TYPE vbp:step_lateness_seconds histogram\nvbp:step_lateness_seconds_bucket{le=\"+Inf\"} %v\n"+
				"vbp:step_lateness_seconds_sum %v\nvbp:step_lateness_seconds_count %v\n", v[1], v[0], v[1])
		}
	}
	srv.metrics = totals([2]float64{5, 100}, [2]float64{5.006, 103})
	slow.metrics = totals([2]float64{0, 0}, [2]float64{0.020, 4})
	more := []*server{slow, mute}
	for range 6 {
		quick := newServer(t)
		quick.metrics = totals([2]float64{0, 0}, [2]float64{0.001, 1})
		more = append(more, quick)
	}
	for i, s := range more {
		srv.endpoint.Instances = append(srv.endpoint.Instances, deploy.Instance{
			Name: fmt.Sprint("more-", i), Role: deploy.Decode, URL: s.endpoint.URL,
		})
	}
	srv.complete = func(http.ResponseWriter, *http.Request, int) bool {
		loaded.Store(true)
		return false
	}
	all := append(more, srv)
	w.site.Local = fixed{srv}
	spec := changed(t, oneMode, "server_metrics: 0s", "server_metrics: 5ms")
	a := w.apply(spec)
	rec := recordOf(t, a, "load mode=simple qps=1000 repeat=0")
	if got := rec.Facts["engine_late_mean_ms"]; math.Abs(got-5) > 1e-9 {
		t.Errorf("the worst instance is late by %v ms, not 5", got)
	}
	if len(rec.Notes) != 1 || !regexp.MustCompile(`^server metrics of more-1: (\d+) of \d+ scrapes failed`).MatchString(rec.Notes[0]) {
		t.Errorf("notes %q", rec.Notes)
	}
	if n := len(filesBelow(t, filepath.Join(a.RunDir, "server_metrics"))); n != 1 {
		t.Errorf("%d files of metrics", n)
	}
	for _, s := range all {
		if s.unkeyed > 0 {
			t.Errorf("%d readings came without the endpoint's headers", s.unkeyed)
		}
	}
}

// What NIXL moved is counted where it is fetched, on every instance: one that
// fetched nothing, or could not be read, cannot hide behind the others.
func TestHandoverIsProvenOfEveryInstance(t *testing.T) {
	var loaded atomic.Bool // since the first request of a point
	nixl := func(bytes, expired int) func(int) string {
		return func(int) string {
			n := 0
			if loaded.Load() {
				n = 1
			}
			return fmt.Sprintf("# TYPE vllm:nixl_bytes_transferred summary\nvllm:nixl_bytes_transferred_sum %d\nvllm:nixl_bytes_transferred_count %d\n"+
				"# TYPE vllm:nixl_num_failed_transfers_total counter\nvllm:nixl_num_failed_transfers_total 0\n"+
				"# TYPE vllm:nixl_num_kv_expired_reqs_total counter\nvllm:nixl_num_kv_expired_reqs_total %d\n", n*bytes, n, n*expired)
		}
	}
	for _, c := range []struct {
		name                  string
		prefill, first, other func(int) string
		reason                string // "": usable
	}{
		{"all fetch", nixl(0, 0), nixl(4096, 0), nixl(4096, 0), ""},
		{"one fetches nothing", nixl(0, 0), nixl(4096, 0), nixl(0, 0), "nixl_silent == 0, it was 1"},
		{"one has no such counter", nixl(0, 0), nixl(4096, 0), func(int) string { return "process_cpu_seconds_total 1\n" }, "nixl_silent == 0, it was 1"},
		{"one cannot be read", nixl(0, 0), nixl(4096, 0), nil, "the fact nixl_bytes is missing"},
		{"prefill cannot be read", nil, nixl(4096, 0), nixl(4096, 0), "the fact nixl_bytes is missing"},
		{"KV expired where it was held", nixl(0, 2), nixl(4096, 0), nixl(4096, 0), "nixl_expired == 0, it was 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			front := newServer(t)
			front.deployment.Connector = "nixl"
			loaded.Store(false)
			front.complete = func(http.ResponseWriter, *http.Request, int) bool {
				loaded.Store(true)
				return false
			}
			for i, m := range []func(int) string{c.prefill, c.first, c.other} {
				s := newServer(t)
				s.metrics = m
				role := deploy.Decode
				if i == 0 {
					role = deploy.Prefill
				}
				front.endpoint.Instances = append(front.endpoint.Instances, deploy.Instance{Name: fmt.Sprint(role, i), Role: role, URL: s.endpoint.URL})
			}
			front.endpoint.Instances = front.endpoint.Instances[1:] // its own place is the proxy's
			w.site.Local = fixed{front}
			a := w.apply(changed(t, oneMode, "{engine: simulated}", "{engine: simulated, disaggregated: {connector: nixl, decode: {instances: 2}}}"), "stages.load.retries=0")
			for _, r := range a.Report.Results {
				if r.Node.Stage == "load" && (r.Verdict.Usable != (c.reason == "") || !strings.Contains(r.Verdict.Reason, c.reason)) {
					t.Errorf("usable %v: %q; want %q", r.Verdict.Usable, r.Verdict.Reason, c.reason)
				}
			}
		})
	}
}
