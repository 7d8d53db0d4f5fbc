package stages

import (
	"context"
	"slices"
	"time"

	"vbp/pipeline"
	"vbp/stages/collect"
	"vbp/stages/deploy"
)

// metricsReader reads /metrics of every instance before and after a point is
// loaded, and meanwhile if an interval is given.
type metricsReader struct {
	scraper *collect.Scraper
	keep    bool // what was read is stored
	proves  bool // the verdict needs it
	roles   map[string]deploy.Role
	stop    context.CancelFunc
	done    chan struct{}
}

// startMetrics has read once when it returns. end must be called.
func startMetrics(ctx context.Context, rt *pipeline.Runtime, e deploy.Endpoint, connector, interval string) (*metricsReader, error) {
	every, err := time.ParseDuration(interval)
	if err != nil {
		return nil, err
	}
	var instances []collect.Instance
	roles := make(map[string]deploy.Role)
	for _, in := range e.Instances {
		if in.Role == deploy.Cache {
			continue
		}
		roles[in.Name] = in.Role
		instances = append(instances, collect.Instance{Name: in.Name, Role: string(in.Role), URL: in.URL, Headers: e.Headers})
	}
	m := &metricsReader{scraper: collect.NewScraper(instances, every, rt.Now()), keep: every > 0, proves: connector != "", roles: roles, done: make(chan struct{})}
	m.scraper.Begin(ctx)
	ctx, m.stop = context.WithCancel(ctx)
	go func() {
		defer close(m.done)
		m.scraper.Run(ctx)
	}()
	return m, nil
}

// end reads once more and stops; it says what could not be read.
func (m *metricsReader) end() (notes []string) {
	m.stop()
	<-m.done
	if m.keep || m.proves {
		return m.scraper.Warnings()
	}
	return nil // nobody asked for them
}

// write stores what was read, its times counted from start as those of the
// samples.
func (m *metricsReader) write(path string, start int64) error {
	if !m.keep {
		return nil
	}
	m.scraper.Rebase(start)
	return m.scraper.Write(path)
}

// facts adds what the servers tell of how they did their part: whether KV went
// where the mode says it goes, what caches and batches did, and how late a
// simulated engine was, whose results say nothing if this machine was too busy
// to simulate at full pace. A fact is there if a server has the counter.
func (m *metricsReader) facts(f map[string]float64) {
	taker := func(r deploy.Role) bool { return r != deploy.Prefill && r != deploy.Proxy } // of KV
	giver := func(r deploy.Role) bool { return r != deploy.Decode && r != deploy.Proxy }
	if m.whole() {
		// A counter's name as vLLM exposes it, and as its documents have it.
		for name, c := range map[string]struct {
			of       func(deploy.Role) bool
			counters []string
		}{
			"nixl_bytes":   {taker, []string{"vllm:nixl_bytes_transferred_sum"}},
			"nixl_failed":  {taker, []string{"vllm:nixl_num_failed_transfers_total", "vllm:nixl_num_failed_transfers"}},
			"nixl_expired": {giver, []string{"vllm:nixl_num_kv_expired_reqs_total", "vllm:nixl_num_kv_expired_reqs"}},
		} {
			if n, told := m.grown(c.of, c.counters...); told {
				f[name] = n
			}
		}
		if _, told := f["nixl_bytes"]; told {
			f["nixl_silent"] = m.silent(taker, "vllm:nixl_bytes_transferred_sum")
		}
	}
	if n, told := m.grown(anyRole, "vllm:num_preemptions_total"); told {
		f["preemptions"] = n
	}
	if transfers, _ := m.grown(anyRole, "vllm:nixl_xfer_time_seconds_count"); transfers > 0 {
		took, _ := m.grown(anyRole, "vllm:nixl_xfer_time_seconds_sum")
		f["nixl_transfer_mean_ms"] = 1000 * took / transfers
	}
	if queries, _ := m.grown(anyRole, "vllm:prefix_cache_queries_total"); queries > 0 {
		hits, _ := m.grown(anyRole, "vllm:prefix_cache_hits_total")
		f["prefix_cache_hit_share"] = hits / queries
	}
	// What a prefill instance finds outside is no proof of a handover.
	if hits, told := m.grown(taker, "vllm:external_prefix_cache_hits_total"); told {
		f["external_hit_tokens"] = hits
		if queries, _ := m.grown(taker, "vllm:external_prefix_cache_queries_total"); queries > 0 {
			f["external_hit_share"] = hits / queries
		}
	}
	sums, steps := m.scraper.Delta(lateness+"_sum"), m.scraper.Delta(lateness+"_count")
	for instance, n := range steps {
		if n > 0 {
			f["engine_late_mean_ms"] = max(f["engine_late_mean_ms"], 1000*sums[instance]/n)
		}
	}
}

// whole tells whether every instance but the proxy was read before and after
// the point: else what the others tell proves nothing.
func (m *metricsReader) whole() bool {
	return !slices.ContainsFunc(m.scraper.Unread(), func(name string) bool { return m.roles[name] != deploy.Proxy })
}

// silent is how many instances of some roles a counter did not grow on, or
// that do not have it.
func (m *metricsReader) silent(of func(deploy.Role) bool, counter string) float64 {
	grown, n := m.scraper.Delta(counter), 0.0
	for instance, role := range m.roles {
		if of(role) && grown[instance] == 0 {
			n++
		}
	}
	return n
}

func anyRole(deploy.Role) bool { return true }

// grown is by how much a counter grew on the instances of some roles together;
// it may have several names. told is whether any of them has it.
func (m *metricsReader) grown(of func(deploy.Role) bool, names ...string) (sum float64, told bool) {
	for _, name := range names {
		for instance, n := range m.scraper.Delta(name) {
			if of(m.roles[instance]) {
				sum, told = sum+n, true
			}
		}
	}
	return sum, told
}

// lateness is the simulated engine's histogram of its own lateness, seconds.
const lateness = "vbp:step_lateness_seconds"
