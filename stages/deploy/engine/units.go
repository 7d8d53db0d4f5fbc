package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Coefficient is a duration in seconds that may be much smaller than a
// nanosecond, or absent. As a flag it is a number and a unit: 7.4ms, 25us,
// 0.66ns, 300ps.
type Coefficient struct {
	Seconds float64
	Given   bool
}

// or is the coefficient, or another value if it was not given.
func (c Coefficient) or(other float64) float64 {
	if c.Given {
		return c.Seconds
	}
	return other
}

// String is the form that Set reads; "" if it was not given.
func (c *Coefficient) String() string {
	if !c.Given {
		return ""
	}
	return formatSeconds(c.Seconds)
}

// Type names the value in help texts.
func (c *Coefficient) Type() string { return "duration" }

// Set reads a number of at least 0 with a unit of time.
func (c *Coefficient) Set(text string) error {
	v, err := withUnit(text, durationUnits)
	if err != nil {
		return fmt.Errorf("%w; write a number with a unit of s, ms, us, ns or ps, such as 25us", err)
	}
	c.Seconds, c.Given = v, true
	return nil
}

type unit struct {
	suffix string
	factor float64
}

// The longer suffixes stand first, for "s" also ends "ms".
var (
	durationUnits = []unit{{"ms", 1e-3}, {"us", 1e-6}, {"µs", 1e-6}, {"ns", 1e-9}, {"ps", 1e-12}, {"s", 1}}
	byteUnits     = []unit{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"kB", 1e3},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"B", 1},
	}
)

// withUnit reads a finite number of at least 0 with one of the units. Only 0
// needs none.
func withUnit(text string, units []unit) (float64, error) {
	number, factor := strings.TrimSpace(text), 0.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Errorf("%q is not a number with a unit", text)
	case v < 0:
		return 0, fmt.Errorf("%q is below 0", text)
	case factor == 0 && v != 0:
		return 0, fmt.Errorf("%q has no unit", text)
	}
	return v * factor, nil
}

// formatSeconds writes a small duration with the unit that suits it.
func formatSeconds(s float64) string {
	for _, u := range []unit{{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}} {
		if s >= u.factor {
			return strconv.FormatFloat(s/u.factor, 'g', 4, 64) + u.suffix
		}
	}
	if s == 0 {
		return "0s"
	}
	return strconv.FormatFloat(s/1e-12, 'g', 4, 64) + "ps"
}

// Bandwidth is a number of bytes a second. As a flag it is a number with a
// unit, 40GB or 40GB/s, or a plain number of bytes.
type Bandwidth float64

// String is the form that Set reads.
func (b *Bandwidth) String() string {
	return strconv.FormatFloat(float64(*b)/1e9, 'g', -1, 64) + "GB/s"
}

// Type names the value in help texts.
func (b *Bandwidth) Type() string { return "bytes/s" }

// Set reads a number above 0.
func (b *Bandwidth) Set(text string) error {
	rest := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	v, err := strconv.ParseFloat(rest, 64)
	if err != nil {
		v, err = withUnit(rest, byteUnits)
	}
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return fmt.Errorf("%q is not a bandwidth; write bytes per second above 0, such as 40GB or 40e9", text)
	}
	*b = Bandwidth(v)
	return nil
}
