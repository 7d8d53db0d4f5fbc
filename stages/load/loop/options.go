package loop

import (
	"net/netip"
	"runtime"

	"vbp/stages/load"
)

// Protocol names how this transport measures, with a version that is raised
// when a change moves the numbers. It enters the keys of measured points.
const Protocol = "epoll 1"

// Options says how an event loop works.
type Options struct {
	Loops   int          // so many, each on a thread of its own; 0: as many as the plan needs. A plan with a limit has one, which keeps it
	Sources []netip.Addr // source addresses, used in turn; none: the system's choice
}

// eventsPerLoop is how many events a second a loop is trusted with: half of
// what one does when each comes in a segment of its own.
const eventsPerLoop = 100_000

// loops is how many loops a plan gets.
func (o Options) loops(plan *load.Plan) int {
	n := len(plan.At)
	switch {
	case n == 0 || plan.Limit > 0: // loops do not know what others have in flight
		return 1
	case o.Loops > 0:
		return min(o.Loops, n)
	}
	// Another core for another loop only where one would be busy, and the
	// server's may be on this machine too.
	span := plan.At[n-1] - plan.At[0]
	if span <= 0 {
		return 1
	}
	tokens, looked := 0, min(n, 256)
	for i := range looked {
		tokens += plan.MaxTokens(i * (n / looked))
	}
	events := float64(tokens) / float64(looked) * float64(n) / span.Seconds()
	return max(1, min(int(events/eventsPerLoop)+1, runtime.GOMAXPROCS(0)/2))
}
