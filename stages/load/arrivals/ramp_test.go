package arrivals

import (
	"fmt"
	"math"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// rateAt is the rate of a ramp t seconds after its start, if it rises over w
// seconds: by its definition, and by nothing that the package calculates.
func rateAt(r Ramp, rate, w, t float64) float64 {
	switch {
	case t >= w:
		return rate
	case r.Shape == Exponential:
		return rate * r.From * math.Pow(1/r.From, t/w)
	}
	return rate * (r.From + (1-r.From)*t/w)
}

// meanUntil returns the mean number of requests until each of ascending times
// (s), by adding up the rate in small steps (Simpson's rule).
func meanUntil(r Ramp, rate, w float64, times []float64) []float64 {
	out := make([]float64, len(times))
	sum, from := 0.0, 0.0
	step := func(to float64) {
		const pieces = 4
		h := (to - from) / pieces
		for i := range pieces {
			a := from + float64(i)*h
			sum += h / 6 * (rateAt(r, rate, w, a) + 4*rateAt(r, rate, w, a+h/2) + rateAt(r, rate, w, a+h))
		}
		from = to
	}
	for i, t := range times {
		if from < w && w < t {
			step(w) // where the rate has a kink
		}
		step(t)
		out[i] = sum
	}
	return out
}

func inSeconds(at []time.Duration) []float64 {
	out := make([]float64, len(at))
	for i, a := range at {
		out[i] = a.Seconds()
	}
	return out
}

var ramps = []Ramp{{Linear, 0, 0}, {Linear, 0.1, 0}, {Linear, 0.8, 0}, {Exponential, 0.01, 0}, {Exponential, 0.5, 0}}

// Through the time change, a ramp is a Poisson process of rate 1: the mean
// numbers of requests between neighbours are independent unit exponentials.
func TestRampIsPoissonThroughTheTimeChange(t *testing.T) {
	const n = 3000
	for i, rate := range rates {
		for _, r := range ramps {
			for _, part := range []float64{1, 0.4} { // of the point that it rises over
				t.Run(fmt.Sprintf("%s_from_%v_over_%v_at_%v", r.Shape, r.From, part, rate), func(t *testing.T) {
					// Until n requests on average: rate x w x mean share = n.
					share := (1 + r.From) / 2
					if r.Shape == Exponential {
						share = (1 - r.From) / math.Log(1/r.From)
					}
					w := n / rate / share
					if part < 1 {
						w *= part
						r.Over = time.Duration(w * 1e9)
					}
					at := schedule(t, Process{Kind: Ramping, Ramp: r, Rate: rate, Requests: n}, int64(20+i), 0)
					until := meanUntil(r, rate, w, inSeconds(at))
					gaps, last := make([]float64, n), 0.0
					for j, u := range until {
						gaps[j] = u - last
						last = u
					}
					follows(t, gaps, distuv.Exponential{Rate: 1}.CDF, 1, 1, 9)
				})
			}
		}
	}
}

// Given their number, the requests of a ramp that a duration ends are due like
// samples of the distribution whose density is the rate.
func TestRampWithADuration(t *testing.T) {
	for i, rate := range rates {
		for _, r := range ramps {
			d := time.Duration(3000 / rate * float64(time.Second))
			p := Process{Kind: Ramping, Ramp: r, Rate: rate, Duration: d}
			at := inSeconds(schedule(t, p, int64(40+i), 1))
			until := meanUntil(r, rate, d.Seconds(), append(at, d.Seconds()))
			whole := until[len(at)]
			cdf := make(map[float64]float64, len(at))
			for j, a := range at {
				cdf[a] = until[j] / whole
			}
			if got, limit := distance(at, func(x float64) float64 { return cdf[x] }), critical(len(at), alpha); got > limit {
				t.Errorf("%s: Kolmogorov-Smirnov distance %v of %d, over %v", fields(p), got, len(at), limit)
			}
			if math.Abs(float64(len(at))-whole) > 4*math.Sqrt(whole) {
				t.Errorf("%s: %d requests, %v are due on average", fields(p), len(at), whole)
			}
			if n, span := p.Expect(); math.Abs(n-whole) > 1e-6*whole || span != d {
				t.Errorf("%s: %v requests in %v are expected, want %v in %v", fields(p), n, span, whole, d)
			}
		}
	}
}

// A process of constant rate fails what ramps pass.
func TestARampIsToldFromNone(t *testing.T) {
	const n = 3000
	at := inSeconds(schedule(t, Process{Kind: Poisson, Rate: 10, Requests: n}, 1, 0))
	until := meanUntil(Ramp{Linear, 0.8, 0}, 10, n/10/0.9, at)
	gaps, last := make([]float64, n), 0.0
	for j, u := range until {
		gaps[j] = u - last
		last = u
	}
	if d, limit := distance(gaps, distuv.Exponential{Rate: 1}.CDF), critical(n, alpha); d < limit {
		t.Errorf("distance %v, limit %v", d, limit)
	}
}

// The inverse undoes the integral everywhere, and the rate ends where the
// point's is.
func TestRampInverse(t *testing.T) {
	for _, r := range append(ramps, Ramp{Linear, 1, 0}, Ramp{Exponential, 1, 0}, Ramp{Exponential, 1e-9, 0}) {
		p := Process{Kind: Ramping, Ramp: r, Rate: 5, Duration: 100 * time.Second}
		m := p.ramp()
		for _, s := range []float64{0, 1e-9, 0.5, 1, 50, 99.9, 100, 100.1, 1e4} {
			if got := m.inverse(m.integral(s)); math.Abs(got-s) > 1e-6*max(s, 1e-3) && m.integral(s) > 1e-15 {
				t.Errorf("%v: %v s became %v", r, s, got)
			}
		}
		if got := m.integral(101) - m.integral(100); math.Abs(got-5) > 1e-9 {
			t.Errorf("%v: %v requests in a second after it, want 5", r, got)
		}
		if s := m.inverse(0); s != 0 {
			t.Errorf("%v: the first instant is %v", r, s)
		}
	}
}
