package stages

import (
	"context"
	"time"

	"vbp/pipeline"
	"vbp/stages/collect"
	"vbp/stages/deploy"
)

// metricsReader reads /metrics of every instance while a point is loaded. A
// nil one reads nothing.
type metricsReader struct {
	scraper *collect.Scraper
	stop    context.CancelFunc
	done    chan struct{}
}

// startMetrics begins to read, if the interval is not zero. end must be
// called.
func startMetrics(ctx context.Context, rt *pipeline.Runtime, e deploy.Endpoint, interval string) *metricsReader {
	every, err := time.ParseDuration(interval)
	if err != nil || every <= 0 {
		return nil
	}
	var instances []collect.Instance
	for _, in := range e.Instances {
		instances = append(instances, collect.Instance{Name: in.Name, Role: string(in.Role), URL: in.URL, Headers: e.Headers})
	}
	ctx, stop := context.WithCancel(ctx)
	m := &metricsReader{scraper: collect.NewScraper(instances, every, rt.Now()), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.scraper.Run(ctx)
	}()
	return m
}

// end reads once more and stops; it says what could not be read.
func (m *metricsReader) end() (notes []string) {
	if m == nil {
		return nil
	}
	m.stop()
	<-m.done
	return m.scraper.Warnings()
}

// write stores what was read, its times counted from start as those of the
// samples.
func (m *metricsReader) write(path string, start int64) error {
	if m == nil {
		return nil
	}
	m.scraper.Rebase(start)
	return m.scraper.Write(path)
}

// facts adds what the servers tell of how well they did their part.
//
// engine_late_mean_ms: how late a simulated engine handed out the tokens of a
// step, on average, for the worst instance: of a machine too busy to simulate
// at full pace the results say nothing about the engine that is simulated.
func (m *metricsReader) facts(f map[string]float64) {
	if m == nil {
		return
	}
	sums, steps := m.scraper.Delta(lateness+"_sum"), m.scraper.Delta(lateness+"_count")
	for instance, n := range steps {
		if n > 0 {
			f["engine_late_mean_ms"] = max(f["engine_late_mean_ms"], 1000*sums[instance]/n)
		}
	}
}

// lateness is the simulated engine's histogram of its own lateness, seconds.
const lateness = "vbp:step_lateness_seconds"
