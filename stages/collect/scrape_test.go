package collect

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// exposition is what an engine answers at its nth scrape, from 1.
func exposition(n int64) string {
	return fmt.Sprintf(`# HELP vllm:num_preemptions_total Preemptions.
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m \"x\""} %d
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} NaN
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{le="0.3"} 1
vllm:request_queue_time_seconds_bucket{le="+Inf"} %d
vllm:request_queue_time_seconds_sum %g
vllm:request_queue_time_seconds_count %d
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 5
# TYPE vbp_kv_transfers_total counter
vbp_kv_transfers_total 7
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
`, 10*n, n+1, 0.5*float64(n), n+1)
}

// engine serves exposition and tells of every scrape.
func engine(t *testing.T) (url string, scraped <-chan int64) {
	t.Helper()
	var n atomic.Int64
	seen := make(chan int64, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		i := n.Add(1)
		seen <- i // before the answer, so that whoever has it can also count it
		fmt.Fprint(w, exposition(i))
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

func TestScraperRecordsFromStartToEnd(t *testing.T) {
	url, scraped := engine(t)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{not metrics") }))
	t.Cleanup(broken.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	start := time.Now()
	s := NewScraper([]Instance{
		{Name: "prefill-0", Role: "prefill", URL: url},
		{Name: "decode-0", Role: "decode", URL: broken.URL},
		{Name: "decode-1", Role: "decode", URL: gone.URL},
	}, time.Millisecond, start)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Begin(ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	for range 3 {
		<-scraped
	}
	cancel()
	<-done

	last := int64(3)
	for len(scraped) > 0 {
		last = <-scraped
	}
	// The answer to a scrape that the end cut short is not recorded, so the
	// last recorded is the last served: the one after the end.
	preempted := s.Delta("vllm:num_preemptions_total")
	if len(preempted) != 1 || preempted["prefill-0"] != float64(10*(last-1)) {
		t.Errorf("preemptions %v, want %d", preempted, 10*(last-1))
	}
	if d := s.Delta("vllm:request_queue_time_seconds_sum"); d["prefill-0"] != 0.5*float64(last-1) {
		t.Errorf("queue time %v, want %v", d, 0.5*float64(last-1))
	}
	if d := s.Delta("vllm:num_requests_running"); len(d) != 0 {
		t.Errorf("a gauge has no growth: %v", d)
	}
	warnings := strings.Join(s.Warnings(), "\n")
	contains(t, warnings, "metrics of decode-0", "not metrics", "metrics of decode-1", "refused")
	if strings.Contains(warnings, "prefill-0") {
		t.Errorf("a healthy instance is warned about: %s", warnings)
	}

	path := filepath.Join(t.TempDir(), MetricsFile)
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	var got [][]any
	python(t, "duckdb", `
import duckdb, json, sys
print(json.dumps(duckdb.sql(f"""
  select distinct instance, role, metric, labels->>'model_name', labels->>'le' from '{sys.argv[1]}' where t_ns >= 0
  order by metric, 5 nulls first""").fetchall()))
`, &got, path)
	want := `[[prefill-0 prefill process_cpu_seconds_total <nil> <nil>] [prefill-0 prefill vbp_kv_transfers_total <nil> <nil>] ` +
		`[prefill-0 prefill vllm:num_preemptions_total m "x" <nil>] [prefill-0 prefill vllm:num_requests_running <nil> <nil>] ` +
		`[prefill-0 prefill vllm:request_queue_time_seconds_bucket <nil> +Inf] [prefill-0 prefill vllm:request_queue_time_seconds_bucket <nil> 0.3] ` +
		`[prefill-0 prefill vllm:request_queue_time_seconds_count <nil> <nil>] [prefill-0 prefill vllm:request_queue_time_seconds_sum <nil> <nil>]]`
	if fmt.Sprint(got) != want {
		t.Errorf("DuckDB finds\n%v, want\n%s", got, want)
	}
}

// A point that ends at once is still read at both ends; and what was not read
// at both is not known, which is not 0.
func TestScraperOfAFinishedPoint(t *testing.T) {
	url, _ := engine(t)
	s := NewScraper([]Instance{{Name: "server", Role: "server", URL: url + "/"}}, time.Hour, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Begin(t.Context())
	s.Run(ctx)
	if d := s.Delta("vbp_kv_transfers_total"); len(d) != 1 || len(s.Warnings()) != 0 {
		t.Errorf("got %v, warnings %q", d, s.Warnings())
	}
	s = NewScraper([]Instance{{Name: "server", Role: "server", URL: url}}, 0, time.Now())
	s.Begin(ctx) // which is over: nothing is read
	s.Run(ctx)
	if d := s.Delta("vbp_kv_transfers_total"); len(d) != 0 {
		t.Errorf("read at the end only: %v", d)
	}
}

func TestMetricsThatNobodyAnsweredAreAnEmptyFile(t *testing.T) {
	s := NewScraper(nil, time.Second, time.Now())
	if err := s.Write(filepath.Join(t.TempDir(), "a", MetricsFile)); err != nil {
		t.Error(err)
	}
}
