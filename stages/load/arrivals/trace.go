package arrivals

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// rateTolerance is the share by which a trace's own rate may differ from the
// point's. Whoever writes it with three digits is within it, and figures that
// put the point at that rate are not wrong by more than their lines are wide.
const rateTolerance = 0.01

func (p Process) checkTimes() error {
	if len(p.Times) == 0 {
		return errors.New("the trace has no times; arrivals: trace needs a dataset that is a trace")
	}
	last := time.Duration(0)
	for i, t := range p.Times {
		if t < last {
			return fmt.Errorf("time %d of the trace, %v, is before %v; times must begin at 0 or later and never decrease", i, t, last)
		}
		last = t
	}
	return nil
}

// replay is the schedule of a trace: its first requests, as many as the point
// may have, at their own times or at times in proportion to them.
func (p Process) replay() ([]time.Duration, error) {
	n := len(p.Times)
	if p.Requests > 0 {
		n = min(n, p.Requests)
	}
	if p.Duration > 0 {
		if p.Rescale {
			// n requests at the rate span (n-1)/rate.
			n = min(n, whole(p.Rate*p.Duration.Seconds())+1)
		} else {
			for n > 0 && p.Times[n-1] > p.Duration {
				n--
			}
		}
	}
	times := p.Times[:n]
	at := make([]time.Duration, n)
	if n < 2 { // there is no gap, and so no rate
		if !p.Rescale {
			copy(at, times)
		}
		return at, nil
	}
	own := TraceRate(times)
	if math.IsInf(own, 1) {
		return nil, fmt.Errorf("the first %d requests of the trace are due at one instant, so that it has no rate; ask for more requests, or for another kind of arrivals", n)
	}
	if !p.Rescale {
		if !(math.Abs(own-p.Rate) <= rateTolerance*p.Rate) {
			return nil, fmt.Errorf("the trace's own rate is %s requests per second over its first %d requests, and the point's is %v; write qps: %s, or rescale: true",
				shortRate(own), n, p.Rate, shortRate(own))
		}
		copy(at, times)
		return at, nil
	}
	first, factor := times[0], own/p.Rate
	for i, t := range times {
		s, err := p.instant((t-first).Seconds()*factor, i)
		if err != nil {
			return nil, err
		}
		at[i] = s
	}
	return at, nil
}

// TraceRate is the rate of recorded times in requests per second: their gaps,
// of which there is one less than requests, over their span. +Inf if all are
// at one instant; NaN for fewer than two.
func TraceRate(times []time.Duration) float64 {
	n := len(times)
	if n < 2 {
		return math.NaN()
	}
	return float64(n-1) / (times[n-1] - times[0]).Seconds()
}

// shortRate is a rate with more digits than rateTolerance needs, as a spec
// says it.
func shortRate(rate float64) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 4, 64), 64)
	if err != nil {
		short = rate
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}
