package arrivals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// rates are those at which every kind is held to its distribution.
var rates = []float64{0.5, 1, 10, 100, 500}

// fields is a process with all that it says, for messages of tests.
func fields(p Process) string {
	type plain Process
	p.Times = p.Times[:min(len(p.Times), 12)]
	return fmt.Sprintf("%+v", plain(p))
}

// schedule is Schedule of something that can be, in order of arrival.
func schedule(t *testing.T, p Process, seed int64, repeat int) []time.Duration {
	t.Helper()
	at, err := Schedule(p, seed, repeat)
	if err != nil {
		t.Fatalf("%s: %v", fields(p), err)
	}
	if !slices.IsSorted(at) || len(at) == 0 || at[0] < 0 {
		t.Fatalf("%s: requests are not due one after the other: %v", fields(p), at[:min(len(at), 20)])
	}
	return at
}

// gapsOf returns the gaps of a schedule, the first from 0, in units of the
// mean gap.
func gapsOf(at []time.Duration, rate float64) []float64 {
	g := make([]float64, len(at))
	last := time.Duration(0)
	for i, a := range at {
		g[i] = (a - last).Seconds() * rate
		last = a
	}
	return g
}

// distance is the Kolmogorov-Smirnov distance of samples from a distribution:
// the largest difference between it and their own.
func distance(samples []float64, cdf func(float64) float64) float64 {
	x := slices.Sorted(slices.Values(samples))
	n, d := float64(len(x)), 0.0
	for i, v := range x {
		f := cdf(v)
		d = max(d, f-float64(i)/n, float64(i+1)/n-f)
	}
	return d
}

// critical is the distance that n samples of the distribution exceed with
// probability alpha. The asymptotic one is sqrt(-ln(alpha/2)/2n), from the
// first term of Kolmogorov's series; M. A. Stephens, "EDF statistics for
// goodness of fit and some comparisons", Journal of the American Statistical
// Association 69 (1974) 730-737, gives the sqrt(n) to use for finite n.
func critical(n int, alpha float64) float64 {
	root := math.Sqrt(float64(n))
	return math.Sqrt(-math.Log(alpha/2)/2) / (root + 0.12 + 0.11/root)
}

// alpha is small since some fifty tests are made, of which none may fail by
// chance; TestTheTestHasTeeth shows that it is not too small.
const alpha = 0.001

// follows holds samples to a distribution: Kolmogorov-Smirnov, and mean and
// variance within four standard errors. fourth is the fourth central moment.
func follows(t *testing.T, samples []float64, cdf func(float64) float64, mean, variance, fourth float64) {
	t.Helper()
	n := float64(len(samples))
	if d, limit := distance(samples, cdf), critical(len(samples), alpha); d > limit {
		t.Errorf("Kolmogorov-Smirnov distance is %v, over %v", d, limit)
	}
	m, v := moments(samples)
	if math.Abs(m-mean) > 4*math.Sqrt(variance/n) {
		t.Errorf("mean is %v, want %v", m, mean)
	}
	if math.Abs(v-variance) > 4*math.Sqrt((fourth-variance*variance)/n) {
		t.Errorf("variance is %v, want %v", v, variance)
	}
}

// moments are the mean and the variance of samples.
func moments(samples []float64) (mean, variance float64) {
	n := float64(len(samples))
	for _, x := range samples {
		mean += x / n
	}
	for _, x := range samples {
		variance += (x - mean) * (x - mean) / (n - 1)
	}
	return mean, variance
}

// The distributions are gonum's, which shares nothing with the sampler.
func TestGapsFollowTheirDistribution(t *testing.T) {
	const n = 4000
	for i, rate := range rates {
		for _, c := range []struct {
			kind  string
			shape float64
		}{{Poisson, 1}, {Gamma, 1}, {Gamma, 0.3}, {Gamma, 2.5}, {Gamma, 40}} {
			t.Run(fmt.Sprintf("%s%v_at_%v", c.kind, c.shape, rate), func(t *testing.T) {
				at := schedule(t, Process{Kind: c.kind, Burstiness: c.shape, Rate: rate, Requests: n}, int64(7+i), 0)
				k := c.shape
				// vLLM's client: numpy's gamma(shape=k, scale=1/(rate k)), so
				// of mean 1/rate and variance 1/(k rate^2).
				follows(t, gapsOf(at, rate), distuv.Gamma{Alpha: k, Beta: k}.CDF, 1, 1/k, 3*(k+2)/(k*k*k))
			})
		}
	}
}

func TestConstantIsConstant(t *testing.T) {
	at := schedule(t, Process{Kind: Constant, Rate: 4, Requests: 5}, 1, 0)
	want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond, time.Second, 1250 * time.Millisecond}
	if !slices.Equal(at, want) {
		t.Errorf("got %v, want %v", at, want)
	}
	for _, rate := range rates {
		for i, g := range gapsOf(schedule(t, Process{Kind: Constant, Rate: rate, Requests: 4000}, 1, 0), rate) {
			if math.Abs(g-1) > 2e-9*rate { // two roundings to nanoseconds
				t.Fatalf("gap %d at %v/s is %v of the mean", i, rate, g)
			}
		}
	}
}

// Gaps that are wrong fail the tests that ours pass, at the same size. One tool
// sends exponential gaps that it calls constant, and rescales gaps so that a
// quarter of them are exactly 1 s at 1 request/s; it is imitated here.
func TestTheTestHasTeeth(t *testing.T) {
	const n = 4000
	exponential := distuv.Exponential{Rate: 1}.CDF
	drawn := gapsOf(schedule(t, Process{Kind: Poisson, Rate: 1, Requests: n}, 7, 0), 1)
	one := func(x float64) float64 {
		if x < 1 {
			return 0
		}
		return 1
	}
	rescaled := slices.Clone(drawn)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rescaled {
		if r.IntN(4) == 0 {
			rescaled[i] = 1
		}
	}
	stretched := slices.Clone(drawn)
	for i := range stretched {
		stretched[i] *= 1.15
	}
	for _, c := range []struct {
		name    string
		samples []float64
		cdf     func(float64) float64
		wrong   bool
	}{
		{"poisson", drawn, exponential, false},
		{"exponential gaps called constant", drawn, one, true},
		{"a quarter of the gaps exactly 1 s", rescaled, exponential, true},
		{"gaps 15 % too long", stretched, exponential, true},
		{"gamma of burstiness 1.2 called poisson", gapsOf(schedule(t, Process{Kind: Gamma, Burstiness: 1.2, Rate: 1, Requests: n}, 7, 0), 1), exponential, true},
	} {
		d, limit := distance(c.samples, c.cdf), critical(n, alpha)
		if d > limit != c.wrong {
			t.Errorf("%s: distance %v, limit %v", c.name, d, limit)
		}
	}
}
