package arrivals

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// gapsOf returns the gaps of a schedule in units of the mean gap, in order of
// arrival.
func gapsOf(t *testing.T, kind string, burstiness float64, n int, rate float64, seed int64) []float64 {
	t.Helper()
	at, err := Schedule(kind, burstiness, n, rate, seed, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := make([]float64, n)
	last := time.Duration(0)
	for i, a := range at {
		if a < last {
			t.Fatalf("request %d is due before its predecessor", i)
		}
		g[i] = (a - last).Seconds() * rate
		last = a
	}
	return g
}

// The Kolmogorov-Smirnov distance of n samples from their own distribution
// exceeds 1.63/sqrt(n) once in a hundred seeds; the seeds here are fixed. The
// distributions are gonum's, which shares nothing with the sampler.
func TestGapsFollowTheirDistribution(t *testing.T) {
	const n = 4000
	for _, rate := range []float64{0.5, 10, 500} {
		for _, c := range []struct {
			kind  string
			shape float64
			cdf   func(float64) float64
		}{
			{Poisson, 1, distuv.Exponential{Rate: 1}.CDF},
			{Gamma, 1, distuv.Exponential{Rate: 1}.CDF},
			{Gamma, 0.3, distuv.Gamma{Alpha: 0.3, Beta: 0.3}.CDF},
			{Gamma, 2.5, distuv.Gamma{Alpha: 2.5, Beta: 2.5}.CDF},
			{Gamma, 40, distuv.Gamma{Alpha: 40, Beta: 40}.CDF},
		} {
			t.Run(fmt.Sprintf("%s%v_at_%v", c.kind, c.shape, rate), func(t *testing.T) {
				g := gapsOf(t, c.kind, c.shape, n, rate, 7)
				mean, square := 0.0, 0.0
				for _, x := range g {
					mean += x / n
					square += x * x / n
				}
				// Mean 1 and variance 1/shape; four standard errors each.
				sd := 1 / math.Sqrt(c.shape)
				if math.Abs(mean-1) > 4*sd/math.Sqrt(n) {
					t.Errorf("mean gap is %v, want 1", mean)
				}
				variance := square - mean*mean
				// The fourth central moment of gamma(k, 1/k) is 3(k+2)/k^3.
				se := math.Sqrt((3*(c.shape+2)/math.Pow(c.shape, 3) - math.Pow(sd, 4)) / n)
				if math.Abs(variance-sd*sd) > 4*se {
					t.Errorf("variance is %v, want %v", variance, sd*sd)
				}
				slices.Sort(g)
				distance := 0.0
				for i, x := range g {
					f := c.cdf(x)
					distance = max(distance, f-float64(i)/n, float64(i+1)/n-f)
				}
				if limit := 1.63 / math.Sqrt(n); distance > limit {
					t.Errorf("Kolmogorov-Smirnov distance %v exceeds %v", distance, limit)
				}
			})
		}
	}
}

func TestConstantIsConstant(t *testing.T) {
	at, err := Schedule(Constant, 0, 5, 4, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond, time.Second, 1250 * time.Millisecond}
	if !slices.Equal(at, want) {
		t.Errorf("got %v, want %v", at, want)
	}
}

func TestSamePatternAtEveryRate(t *testing.T) {
	one, err := Schedule(Poisson, 1, 200, 1, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	eight, err := Schedule(Poisson, 1, 200, 8, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range one {
		if d := one[i] - 8*eight[i]; d.Abs() > 8 {
			t.Fatalf("request %d: %v at rate 1, %v at rate 8", i, one[i], eight[i])
		}
	}
	other, err := Schedule(Poisson, 1, 200, 1, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(one, other) {
		t.Error("two repeats have the same pattern")
	}
}

// Stored points are reused by seed, so a seed must mean the same arrivals for
// ever. If this fails, the draws changed: raise the version in package seed.
func TestASeedMeansTheSameForEver(t *testing.T) {
	for _, c := range []struct {
		kind  string
		shape float64
		want  []time.Duration
	}{
		{Poisson, 1, []time.Duration{352885303, 2706113543, 2943638152}},
		{Gamma, 0.5, []time.Duration{875398427, 1049779177, 1953059046}},
	} {
		at, err := Schedule(c.kind, c.shape, 3, 1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range at {
			// Transcendental functions may differ in the last bits between
			// architectures.
			if (at[i] - c.want[i]).Abs() > time.Microsecond {
				t.Errorf("%s: got %v, want %v", c.kind, at, c.want)
				break
			}
		}
	}
}

func TestScheduleRefuses(t *testing.T) {
	for _, c := range []struct {
		kind       string
		burstiness float64
		n          int
		rate       float64
		want       string
	}{
		{"uniform", 1, 1, 1, `unknown kind "uniform"`},
		{Poisson, 1, 1, 0, "rate is 0"},
		{Poisson, 1, 1, math.NaN(), "rate is NaN"},
		{Poisson, 1, 1, math.Inf(1), "rate is +Inf"},
		{Poisson, 1, -1, 1, "-1 requests"},
		{Gamma, 0, 1, 1, "burstiness of gamma is 0"},
		{Gamma, math.NaN(), 1, 1, "burstiness of gamma is NaN"},
		{Constant, 1, 2, 1e-12, "292 years"},
	} {
		if _, err := Schedule(c.kind, c.burstiness, c.n, c.rate, 0, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got error %v", c, err)
		}
	}
}
