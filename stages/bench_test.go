package stages

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/specs"
	"vbp/stages/deploy/attach"
	"vbp/stages/deploy/local"
	"vbp/stages/runs"
)

// benchSpec is a sweep of n points: two modes of 50 rates, the rest repeats.
func benchSpec(n int) []byte {
	rates := make([]string, 50)
	for i := range rates {
		rates[i] = fmt.Sprint(i + 1)
	}
	return fmt.Appendf(nil, `
name: bench
model: Qwen/Qwen3-8B
modes:
  simple: {engine: simulated, args: {preset: h100/qwen3-8b, max-model-len: 4096}}
  nixl: {engine: simulated, args: {preset: h100/qwen3-8b}, disaggregated: {connector: nixl}}
sweep: {qps: [%s], repeat: %d}
`, strings.Join(rates, ", "), n/100)
}

// benchSite is a site with an empty store, in memory where the machine has a
// folder in memory.
func benchSite(b *testing.B) *Site {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vbp-bench-")
	if err != nil {
		dir = b.TempDir()
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &Site{
		Results: filepath.Join(dir, "results"), Self: filepath.Join(dir, "vbp"), Host: "host", Code: "code",
		Now: time.Now, Local: local.New("vbp"), Attach: attach.New(),
	}
}

// benchRecord is what a point of the simulated engine keeps, near enough.
func benchRecord(b *testing.B) json.RawMessage {
	b.Helper()
	r := pipeline.Record{Facts: make(map[string]float64), Environment: map[string]string{
		"engine": "simulated", "engine_version": "vbp-sim/1 (0.27.0)", "model": "Qwen/Qwen3-8B", "max_model_len": "4096", "arguments": "preset h100/qwen3-8b",
	}}
	for i, name := range []string{
		"planned", "sent", "ok", "schedule_kept", "healthy_after", "achieved_qps", "send_lag_p50_ms", "send_lag_p99_ms", "send_lag_max_ms",
		"client_cpu_share", "events_per_read", "tokens_per_event", "cache_reset", "order", "external_hit_share",
	} {
		r.Facts[name] = 1 + float64(i)/1000*float64(i/5)
	}
	for _, name := range []string{"failed", "http_error", "stream_error", "truncated", "timeout", "connect_error", "fallbacks", "resent", "stopped_early", "restarts", "queue_before", "nixl_failed", "nixl_expired", "nixl_silent"} {
		r.Facts[name] = 0
	}
	r.Facts["planned"], r.Facts["sent"], r.Facts["nixl_bytes"] = 300, 300, 8011644928
	data, err := json.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// fill publishes a result for every node of the plan that has one.
func fill(b *testing.B, exp *specs.Experiment, site *Site) {
	b.Helper()
	store, err := cache.Open(filepath.Join(site.Results, runs.StoreDir))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	record := benchRecord(b)
	for range 8 { // what waits for something is decided when that is there
		p, err := PlanOf(b.Context(), exp, site, PlanChoices{})
		if err != nil {
			b.Fatal(err)
		}
		if p.Todo() == 0 {
			return
		}
		for _, d := range p.Decisions {
			if d.Action != pipeline.Run || d.Key == "" {
				continue
			}
			draft, err := store.Draft()
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(draft.Dir, "out"), []byte(d.Node.ID), 0o644); err != nil {
				b.Fatal(err)
			}
			m := cache.Manifest{Key: d.Key, Slot: exp.Name + ": " + d.Node.ID, Input: d.Node.Input.JSON(), Created: site.Now(), Seconds: 1}
			if d.Node.Kind == pipeline.Measurement {
				m.Attempt, m.Note = cache.NewAttempt(site.Now()), record
			}
			if _, err := draft.Publish(m); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Fatal("something is still to do")
}

// From the bytes of a spec to a plan, of n points: all in the store (warm), or
// none (cold). peak-MB is the most memory that the heap took.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, warm := range []bool{false, true} {
			b.Run(fmt.Sprintf("warm=%v/%d", warm, n), func(b *testing.B) {
				site, text := benchSite(b), benchSpec(n)
				todo := n + 6 // collect, analyze, three figures
				if warm {
					exp, err := specs.Parse("bench.yaml", text, specs.Options{})
					if err != nil {
						b.Fatal(err)
					}
					fill(b, exp, site)
					todo = 0
				}
				runtime.GC()
				peak := watchHeap(b)
				for b.Loop() {
					exp, err := specs.Parse("bench.yaml", text, specs.Options{})
					if err != nil {
						b.Fatal(err)
					}
					p, err := PlanOf(b.Context(), exp, site, PlanChoices{})
					if err != nil {
						b.Fatal(err)
					}
					if got := p.Todo(); (got == 0) != (todo == 0) {
						b.Fatalf("%d to do", got)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/point")
				b.ReportMetric(peak(), "peak-MB")
			})
		}
	}
}

// watchHeap samples what the program has from the system until it is asked.
func watchHeap(b *testing.B) (peak func() float64) {
	b.Helper()
	stop, done := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, float64(m.HeapInuse+m.StackInuse)/(1<<20))
			select {
			case <-stop:
				done <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 {
		close(stop)
		return <-done
	}
}
