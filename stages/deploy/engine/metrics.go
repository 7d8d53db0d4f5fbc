package engine

// metrics are the histograms and counters that the scheduler's Stats do not
// hold. They are guarded by the driver's mutex.
type metrics struct {
	queueTime, prefillTime, decodeTime, ttft, itl, e2e *histogram // s

	iterationTokens *histogram
	lateness        *histogram // s, from a step's end until its tokens are handed out
	transferTime    *histogram // s
	transferBytes   *histogram

	success             map[string]int64 // by finish reason
	failedTransfers     int64
	failedNotifications int64
	lateReleases        int64 // of KV that was not held any more
}

// Bucket bounds as vLLM has them, for the same queries to work on both.
var (
	phaseBounds     = []float64{.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
	ttftBounds      = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
	itlBounds       = []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	iterationBounds = []float64{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}
	transferBounds  = []float64{.005, .01, .025, .05, .075, .1, .2, .3, .5, .75, 1, 5}
	byteBounds      = []float64{1 << 11, 1 << 13, 1 << 15, 1 << 17, 1 << 19, 1 << 21, 1 << 23, 1 << 25, 1 << 27, 1 << 29, 1 << 31, 1 << 33}
	latenessBounds  = []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1}
)

func newMetrics() *metrics {
	return &metrics{
		queueTime: newHistogram(phaseBounds), prefillTime: newHistogram(phaseBounds), decodeTime: newHistogram(phaseBounds),
		e2e: newHistogram(phaseBounds), ttft: newHistogram(ttftBounds), itl: newHistogram(itlBounds),
		iterationTokens: newHistogram(iterationBounds), lateness: newHistogram(latenessBounds),
		transferTime: newHistogram(transferBounds), transferBytes: newHistogram(byteBounds),
		success: map[string]int64{"stop": 0, "length": 0, "abort": 0},
	}
}

// token records one token of a request.
func (m *metrics) token(c *call, e Event) {
	r := e.Request
	if r.Generated == 1 {
		m.ttft.observe((e.At - r.Arrival).Seconds())
		m.queueTime.observe((r.Scheduled - r.Arrival).Seconds())
		m.prefillTime.observe((e.At - r.Scheduled).Seconds())
	} else {
		m.itl.observe((e.At - c.previous).Seconds())
	}
	c.previous = e.At
	if e.Done {
		m.decodeTime.observe((e.At - r.First).Seconds())
		m.e2e.observe((e.At - r.Arrival).Seconds())
		m.finished(c.reason)
	}
}

func (m *metrics) finished(reason string) { m.success[reason]++ }

// histogram is a Prometheus histogram. Its bounds are shared.
type histogram struct {
	bounds []float64
	counts []int64 // per bucket, not cumulative; the last one is above all bounds
	sum    float64
}

func newHistogram(bounds []float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]int64, len(bounds)+1)}
}

func (h *histogram) observe(v float64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += v
}
