package loop

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"vbp/stages/load"
)

// tally is what a loop counts.
type tally struct {
	reads, resent int64
	streams       int // most in flight
	conns         int // most open
	cut           int // streams that ended with the run
	dropped       int // requests that still waited for a slot at the end of the point
	cpu           time.Duration
	lag           *hdrhistogram.Histogram // ns that bytes had waited for a read
	unstamped     bool                    // the kernel tells no receive times
	starved       int64                   // files or ports were used up
}

// newTally counts read lags up to a minute, to two digits, in ns.
func newTally() tally { return tally{lag: hdrhistogram.New(1, int64(time.Minute), 2)} }

// late counts a read lag, in ns.
func (t *tally) late(lag int64) { t.lag.RecordValue(min(lag, int64(time.Minute))) }

func (t *tally) add(o *tally) {
	t.reads += o.reads
	t.resent += o.resent
	t.streams += o.streams
	t.conns += o.conns
	t.cut += o.cut
	t.dropped += o.dropped
	t.lag.Merge(o.lag)
	t.unstamped = t.unstamped || o.unstamped
	t.starved += o.starved
}

func (t *tally) lags() load.Lags {
	if t.lag.TotalCount() == 0 {
		return load.Lags{}
	}
	return load.Lags{Count: t.lag.TotalCount(), P50: t.lag.ValueAtQuantile(50), P99: t.lag.ValueAtQuantile(99), Max: t.lag.Max()}
}

func (t *tally) notes() (out []string) {
	if t.unstamped {
		out = append(out, "the kernel tells no receive times (SO_TIMESTAMPNS): instants are those at which this process read")
	}
	if t.starved > 0 {
		out = append(out, fmt.Sprintf("this machine ran out of local ports or open files at %d connections: %d requests failed for want of one, and not for the server", t.conns, t.starved))
	}
	return out
}
