package arrivals

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSamePatternAtEveryRate(t *testing.T) {
	for _, p := range []Process{
		{Kind: Poisson, Requests: 200},
		{Kind: Gamma, Burstiness: 0.5, Requests: 200, Rescale: true},
		{Kind: Ramping, Ramp: Ramp{Linear, 0.2, 0}, Requests: 200},
		{Kind: Ramping, Ramp: Ramp{Exponential, 0.2, 0}, Requests: 200},
		{Kind: Trace, Times: []time.Duration{0, 1e9, 1e9, 7e9, 1e10}, Rescale: true},
	} {
		p.Rate = 1
		one := schedule(t, p, 3, 2)
		other := schedule(t, p, 3, 1)
		p.Rate = 8
		eight := schedule(t, p, 3, 2)
		for i := range one {
			if d := one[i] - 8*eight[i]; d.Abs() > 8 {
				t.Fatalf("%s: request %d: %v at rate 1, %v at rate 8", fields(p), i, one[i], eight[i])
			}
		}
		if slices.Equal(one, other) != (p.Kind == Trace) {
			t.Errorf("%s: another repeat has the same pattern: %v", fields(p), p.Kind != Trace)
		}
	}
}

// Stored points are reused by seed, so a seed must mean the same arrivals for
// ever. If this fails, the draws changed: raise the version in package seed.
func TestASeedMeansTheSameForEver(t *testing.T) {
	poisson := []time.Duration{352885303, 2706113543, 2943638152}
	for _, c := range []struct {
		p    Process
		want []time.Duration
	}{
		{Process{Kind: Poisson}, poisson},
		{Process{Kind: Gamma, Burstiness: 1}, poisson},
		{Process{Kind: Ramping, Ramp: Ramp{Exponential, 1, 0}}, poisson}, // one that rises by nothing
		{Process{Kind: Gamma, Burstiness: 0.5}, []time.Duration{875398427, 1049779177, 1953059046}},
		// x 3/2.943638152
		{Process{Kind: Poisson, Rescale: true}, []time.Duration{359642066, 2757927708, 3000000000}},
	} {
		c.p.Rate, c.p.Requests = 1, 3
		at := schedule(t, c.p, 0, 0)
		for i := range at {
			// Transcendental functions may differ in the last bits between
			// architectures.
			if (at[i] - c.want[i]).Abs() > time.Microsecond {
				t.Errorf("%s: got %v, want %v", fields(c.p), at, c.want)
				break
			}
		}
	}
}

// Whatever comes first ends a point, and the end changes nothing before it.
func TestWhatEndsAPoint(t *testing.T) {
	for _, p := range []Process{
		{Kind: Poisson},
		{Kind: Constant},
		{Kind: Gamma, Burstiness: 0.4},
		{Kind: Ramping, Ramp: Ramp{Linear, 0, 20 * time.Second}},
		{Kind: Ramping, Ramp: Ramp{Exponential, 0.1, 20 * time.Second}},
	} {
		p.Rate, p.Requests = 20, 1000
		all := schedule(t, p, 5, 0)
		p.Duration = 25 * time.Second
		cut := schedule(t, p, 5, 0)
		k := 0
		for k < len(all) && all[k] <= p.Duration {
			k++
		}
		if k == 0 || k == len(all) || !slices.Equal(cut, all[:k]) {
			t.Errorf("%s: %d requests within %v, want the first %d", fields(p), len(cut), p.Duration, k)
		}
		p.Requests = 0
		if got := schedule(t, p, 5, 0); !slices.Equal(got, cut) {
			t.Errorf("%s: without a number of requests %d, want %d", fields(p), len(got), len(cut))
		}
		p.Requests = 7
		if got := schedule(t, p, 5, 0); !slices.Equal(got, all[:7]) {
			t.Errorf("%s: %v, want the first 7 of %v", fields(p), got, all[:8])
		}
	}
	// Evenly spaced ones fit exactly, also where rate x duration is no float.
	for _, c := range []struct {
		rate     float64
		duration time.Duration
		want     int
	}{{10, 10 * time.Second, 100}, {0.1, 30 * time.Second, 3}, {0.7, 10 * time.Second, 7}, {3, 1 * time.Second, 3}, {500, time.Minute, 30000}} {
		p := Process{Kind: Constant, Rate: c.rate, Duration: c.duration}
		if got := len(schedule(t, p, 1, 0)); got != c.want {
			t.Errorf("%v/s for %v: %d requests, want %d", c.rate, c.duration, got, c.want)
		}
		if n, _ := p.Expect(); n != float64(c.want) {
			t.Errorf("%v/s for %v: %v requests expected, want %d", c.rate, c.duration, n, c.want)
		}
	}
}

// The number of requests within a duration is Poisson: mean and variance are
// rate x duration, over repeats.
func TestADurationDoesNotBiasTheRate(t *testing.T) {
	const repeats = 600
	for i, rate := range rates {
		p := Process{Kind: Poisson, Rate: rate, Duration: time.Duration(60 / rate * float64(time.Second))}
		counts := make([]float64, repeats)
		for r := range counts {
			counts[r] = float64(len(schedule(t, p, int64(100+i), r)))
		}
		mean, variance := moments(counts)
		if math.Abs(mean-60) > 4*math.Sqrt(60.0/repeats) {
			t.Errorf("at %v/s: %v requests on average, want 60", rate, mean)
		}
		// The fourth central moment of Poisson(m) is m + 3 m^2.
		if math.Abs(variance-60) > 4*math.Sqrt((60+2*60*60)/repeats) {
			t.Errorf("at %v/s: variance %v, want 60", rate, variance)
		}
	}
}

// vLLM's client: delays are multiplied by (N/rate)/last. The last arrival is
// then known in advance, which it is in no Poisson process: there, n gaps last
// n with variance n.
func TestRescale(t *testing.T) {
	const n, repeats = 100, 400
	for i, rate := range rates {
		for _, p := range []Process{{Kind: Poisson}, {Kind: Gamma, Burstiness: 0.3}, {Kind: Constant}} {
			p.Rate, p.Requests = rate, n
			own := schedule(t, p, int64(i), 0)
			p.Rescale = true
			at := schedule(t, p, int64(i), 0)
			factor := n / rate / own[n-1].Seconds()
			for j := range at {
				if want := own[j].Seconds() * factor; math.Abs(at[j].Seconds()-want) > 3e-9 {
					t.Fatalf("%s: request %d at %v, want %v s", fields(p), j, at[j], want)
				}
			}
			if last := time.Duration(math.Round(n / rate * 1e9)); at[n-1] != last {
				t.Errorf("%s: the last request is due at %v, want %v", fields(p), at[n-1], last)
			}
		}
		for _, rescale := range []bool{false, true} {
			last := make([]float64, repeats)
			for r := range last {
				at := schedule(t, Process{Kind: Poisson, Rate: rate, Requests: n, Rescale: rescale}, int64(i), r)
				last[r] = at[n-1].Seconds() * rate
			}
			// A sum of n unit exponentials is gamma(n): mean n, variance n,
			// fourth central moment 3n^2 + 6n.
			mean, variance := moments(last)
			se := math.Sqrt((2*n*n + 6*n) / float64(repeats))
			if poisson := math.Abs(variance-n) < 4*se && math.Abs(mean-n) < 4*math.Sqrt(n/float64(repeats)); poisson == rescale {
				t.Errorf("at %v/s, rescaled %v: the last request is due after %v mean gaps with variance %v", rate, rescale, mean, variance)
			}
		}
	}
	// A duration says how many requests are due at the rate.
	at := schedule(t, Process{Kind: Poisson, Rate: 3, Duration: 10100 * time.Millisecond, Rescale: true}, 1, 0)
	if len(at) != 30 || at[29] != 10*time.Second {
		t.Errorf("%d requests, the last at %v; want 30 in 10 s", len(at), at[len(at)-1])
	}
}

func TestScheduleRefuses(t *testing.T) {
	second := []time.Duration{0, time.Second}
	for _, c := range []struct {
		p    Process
		want string
	}{
		{Process{Kind: "uniform", Rate: 1, Requests: 1}, `unknown kind "uniform"`},
		{Process{Kind: Poisson, Requests: 1}, "rate is 0"},
		{Process{Kind: Poisson, Rate: math.NaN(), Requests: 1}, "rate is NaN"},
		{Process{Kind: Poisson, Rate: math.Inf(1), Requests: 1}, "rate is +Inf"},
		{Process{Kind: Poisson, Rate: 1, Requests: -1}, "-1 requests"},
		{Process{Kind: Poisson, Rate: 1, Requests: 2e9}, "more than the 1000000000"},
		{Process{Kind: Poisson, Rate: 1, Duration: -1}, "duration is -1ns"},
		{Process{Kind: Poisson, Rate: 1}, "nothing ends the point"},
		{Process{Kind: Poisson, Rate: 1e9, Duration: time.Hour}, "ask for a shorter duration"},
		{Process{Kind: Constant, Rate: 1, Duration: time.Millisecond}, "no request is due within 1ms"},
		{Process{Kind: Poisson, Rate: 1, Duration: time.Millisecond, Rescale: true}, "no request is due within 1ms"},
		{Process{Kind: Gamma, Rate: 1, Requests: 1}, "burstiness of gamma is 0"},
		{Process{Kind: Gamma, Rate: 1, Requests: 1, Burstiness: math.NaN()}, "burstiness of gamma is NaN"},
		{Process{Kind: Gamma, Rate: 1, Requests: 3, Burstiness: 1e-300, Rescale: true}, "nothing can be rescaled"},
		{Process{Kind: Constant, Rate: 1e-12, Requests: 2}, "292 years"},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Linear, 0, 0}, Rescale: true}, "a ramp is not rescaled"},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Shape: "steep"}}, `unknown shape "steep"`},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Linear, 1.5, 0}}, "begins with 1.5"},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Linear, math.NaN(), 0}}, "begins with NaN"},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Exponential, 0, 0}}, "cannot begin with a rate of 0"},
		{Process{Kind: Ramping, Rate: 1, Requests: 1, Ramp: Ramp{Linear, 0, -1}}, "rises over -1ns"},
		{Process{Kind: Ramping, Rate: 1, Ramp: Ramp{Linear, 0, 1}}, "nothing ends the point"},
		{Process{Kind: Trace, Rate: 1}, "the trace has no times"},
		{Process{Kind: Trace, Rate: 1, Times: []time.Duration{0, 2, 1}}, "time 2 of the trace, 1ns, is before 2ns"},
		{Process{Kind: Trace, Rate: 1, Times: []time.Duration{-1}}, "time 0 of the trace"},
		{Process{Kind: Trace, Rate: 1, Times: []time.Duration{0, 0, 0}}, "at one instant"},
		{Process{Kind: Trace, Rate: 1.02, Times: second}, "write qps: 1, or rescale: true"},
		{Process{Kind: Trace, Rate: 1e-12, Times: second, Rescale: true}, "292 years"},
	} {
		at, err := Schedule(c.p, 0, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) || at != nil {
			t.Errorf("%s: got %v, error %v; want %s", fields(c.p), at, err, c.want)
		}
		if n, span := c.p.Expect(); n != 0 && !strings.Contains(c.want, "292") && !strings.Contains(c.want, "rescaled") {
			t.Errorf("%s: %v requests in %v expected of what cannot be", fields(c.p), n, span)
		}
	}
}

// A million requests of each kind take no longer than one would wait for.
func BenchmarkSchedule(b *testing.B) {
	times := make([]time.Duration, 1_000_000)
	for i := range times {
		times[i] = time.Duration(i) * time.Millisecond
	}
	for _, p := range []Process{
		{Kind: Poisson},
		{Kind: Gamma, Burstiness: 0.3},
		{Kind: Poisson, Rescale: true},
		{Kind: Ramping, Ramp: Ramp{Exponential, 0.1, 0}},
		{Kind: Trace, Times: times, Rescale: true},
	} {
		p.Rate, p.Requests = 1000, 1_000_000
		b.Run(fmt.Sprintf("%s_%v", p.Kind, p.Rescale), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Schedule(p, 1, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
