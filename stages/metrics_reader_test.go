package stages

import (
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"

	"vbp/stages/deploy"
)

// TestLoadMetrics holds that metrics of every instance are stored beside the
// samples, and what is told of an engine's own lateness.
func TestLoadMetrics(t *testing.T) {
	w := newWorld(t)
	srv, slow, mute := newServer(t), newServer(t), newServer(t)
	// Totals at the first reading and at every later one: what was before the
	// point does not count. 3 steps late by 6 ms in all; 4 late by 20 ms.
	totals := func(before, after [2]float64) func(int) string {
		return func(n int) string {
			v := after
			if n == 0 {
				v = before
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
	// The load goes on until everybody was read a second time: then the first
	// reading is over.
	all := append(more, srv)
	srv.complete = func(http.ResponseWriter, *http.Request, int) bool {
		for _, s := range all {
			<-s.again
		}
		return false
	}
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
