package arrivals

import (
	"math"
	"testing"
	"time"
)

// What is expected is what many schedules are on average.
func TestExpect(t *testing.T) {
	const repeats = 300
	for _, p := range []Process{
		{Kind: Poisson, Rate: 4, Requests: 80},
		{Kind: Poisson, Rate: 4, Duration: 20 * time.Second},
		{Kind: Poisson, Rate: 4, Duration: 20 * time.Second, Requests: 1000},
		{Kind: Poisson, Rate: 4, Duration: time.Hour, Requests: 80},
		{Kind: Poisson, Rate: 4, Duration: 20 * time.Second, Rescale: true},
		{Kind: Gamma, Burstiness: 2, Rate: 4, Requests: 80, Rescale: true},
		{Kind: Constant, Rate: 4, Requests: 80},
		{Kind: Ramping, Ramp: Ramp{Linear, 0, 0}, Rate: 4, Requests: 80},
		{Kind: Ramping, Ramp: Ramp{Exponential, 0.1, 5 * time.Second}, Rate: 4, Requests: 80},
		{Kind: Ramping, Ramp: Ramp{Linear, 0.5, 5 * time.Second}, Rate: 4, Duration: 20 * time.Second},
		{Kind: Ramping, Ramp: Ramp{Linear, 0.5, 0}, Rate: 4, Duration: 20 * time.Second, Requests: 1e6},
	} {
		n, span := p.Expect()
		count, last := 0.0, 0.0
		for r := range repeats {
			at := schedule(t, p, 9, r)
			count += float64(len(at)) / repeats
			last += at[len(at)-1].Seconds() / repeats
		}
		// Within 3 %, some four standard errors; and the last request before a
		// duration is over comes a mean gap before its end.
		if math.Abs(count-n) > 0.03*n || math.Abs(last-span.Seconds()) > 0.03*span.Seconds()+0.25 {
			t.Errorf("%s: %v requests in %v are expected; there are %v in %v s", fields(p), n, span, count, last)
		}
	}
}

func TestString(t *testing.T) {
	for want, p := range map[string]Process{
		"poisson, as drawn: not rescaled to the rate":                                                    {Kind: Poisson},
		"poisson, rescaled so that the last of N requests is due at N/rate":                              {Kind: Poisson, Rescale: true},
		"gamma of burstiness 0.5, as drawn: not rescaled to the rate":                                    {Kind: Gamma, Burstiness: 0.5},
		"ramp, a Poisson process whose rate rises (linear) from 0.1 of the point's over 1m0s":            {Kind: Ramping, Ramp: Ramp{Linear, 0.1, time.Minute}},
		"ramp, a Poisson process whose rate rises (linear) from 0.1 of the point's over the whole point": {Kind: Ramping, Ramp: Ramp{Linear, 0.1, 0}},
		"trace, at its own times":             {Kind: Trace},
		"trace, its times scaled to the rate": {Kind: Trace, Rescale: true},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
