package render

import (
	"fmt"
	"math"
	"strconv"
)

// tick is a value with its label; a minor tick has none.
type tick struct {
	V     float64
	Label string
}

// ticks gives at most about n labelled ticks in lo..hi: multiples of 1, 2 or
// 5 times a power of ten; on a logarithmic axis 1-2-5 of each decade, or
// whole decades where there are many.
func ticks(lo, hi float64, log bool, n int, format string) []tick {
	n = max(n, 2)
	if log {
		if t := logTicks(lo, hi, n, format); len(t) >= 2 {
			return t
		}
		// Less than a 1-2-5 step: linear ticks are the round ones here.
	}
	return linearTicks(lo, hi, n, format)
}

func linearTicks(lo, hi float64, n int, format string) []tick {
	m, e := roundStep((hi - lo) / float64(n))
	step := float64(m) * math.Pow10(e)
	if step <= 0 || !finite(step) {
		return nil
	}
	var out []tick
	first := math.Ceil(lo/step - 1e-9)
	for i := 0; i <= 2*n+2; i++ { // bounded: far from 0, first+1 may equal first
		k := first + float64(i)
		v := k * step
		if e < 0 {
			v = k * float64(m) / math.Pow10(-e) // 3/10, not 3*0.1
		}
		if v > hi+1e-9*step {
			break
		}
		out = append(out, tick{v, tickLabel(v, -e, format)})
	}
	return out
}

// roundStep is the least m*10^e not below raw with m of 1, 2, 5.
func roundStep(raw float64) (m, e int) {
	e = int(math.Floor(math.Log10(raw)))
	for _, m := range []int{1, 2, 5} {
		if float64(m)*math.Pow10(e) >= raw*(1-1e-9) {
			return m, e
		}
	}
	return 1, e + 1
}

func logTicks(lo, hi float64, n int, format string) []tick {
	d0, d1 := int(math.Floor(math.Log10(lo))), int(math.Ceil(math.Log10(hi)))
	for _, ms := range [][]float64{{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 5}, {1, 3}} {
		if t := decades(lo, hi, d0, d1, 1, ms, format); len(t) <= n {
			return t
		}
	}
	for by := 1; ; by++ {
		if t := decades(lo, hi, d0, d1, by, []float64{1}, format); len(t) <= n || by > 600 {
			return t
		}
	}
}

func decades(lo, hi float64, d0, d1, by int, ms []float64, format string) []tick {
	var out []tick
	for d := d0; d <= d1; d++ {
		if d%by != 0 {
			continue
		}
		for _, m := range ms {
			v := m * math.Pow10(d)
			if d < 0 {
				v = m / math.Pow10(-d)
			}
			if v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
				out = append(out, tick{v, tickLabel(v, -d, format)})
			}
		}
	}
	return out
}

// minorLog gives the unlabelled ticks of a logarithmic axis.
func minorLog(lo, hi float64) []tick {
	d0, d1 := int(math.Floor(math.Log10(lo))), int(math.Ceil(math.Log10(hi)))
	if d1-d0 > 6 {
		return nil
	}
	t := decades(lo, hi, d0, d1, 1, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, "")
	for i := range t {
		t[i].Label = ""
	}
	return t
}

// tickLabel writes v with as many decimals as the step has; beyond
// a million and below 0.00001 it writes an exponent.
func tickLabel(v float64, decimals int, format string) string {
	if format != "" {
		return fmt.Sprintf(format, v)
	}
	if v == 0 {
		return "0"
	}
	if a := math.Abs(v); a >= 1e6 || decimals > 5 {
		digits := int(math.Floor(math.Log10(a))) + decimals + 1
		return strconv.FormatFloat(v, 'g', min(max(digits, 1), 15), 64)
	}
	return strconv.FormatFloat(v, 'f', max(decimals, 0), 64)
}
