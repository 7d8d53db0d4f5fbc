package specs

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// dayForm is a Go duration that may also count days; component is one part.
var (
	dayForm   = regexp.MustCompile(`^[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+$`)
	component = regexp.MustCompile(`([\d.]+)(\pL+)`)
)

var errDuration = errors.New("not a duration")

// parseDuration reads what time.ParseDuration reads, and days: 7d, 1.5d,
// 1d12h. A day is 24 hours.
func parseDuration(s string) (time.Duration, error) {
	if !strings.Contains(s, "d") {
		return time.ParseDuration(s)
	}
	if !dayForm.MatchString(s) {
		return 0, errDuration
	}
	var sum time.Duration
	for _, part := range component.FindAllStringSubmatch(s, -1) {
		number, unit, times := part[1], part[2], time.Duration(1)
		if unit == "d" {
			unit, times = "h", 24
		}
		v, err := time.ParseDuration(number + unit)
		if err != nil || v > math.MaxInt64/times || sum > math.MaxInt64-v*times {
			return 0, errDuration
		}
		sum += v * times
	}
	if strings.HasPrefix(s, "-") {
		sum = -sum
	}
	return sum, nil
}

// durationText is d as time.ParseDuration reads it, without the parts that are
// 0: 168h, not 168h0m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// duration reads a duration: 125ms, 2s, 1m30s, 7d. least is 0 or 1: whether
// none at all is allowed.
func (r *reader) duration(n *node, where string, least time.Duration) time.Duration {
	return r.durationOf(n, where, least, "ms", "s")
}

// durationOf is duration for a setting that is usually said in one of two
// units: they are the hint for a number without any.
func (r *reader) durationOf(n *node, where string, least time.Duration, short, long string) time.Duration {
	s, ok := r.single(n, where, "a duration such as 125ms")
	if !ok {
		return 0
	}
	v, err := parseDuration(s)
	switch {
	case s == "":
		r.errorf(n.pos, "", "%s is empty", where)
	case err != nil && decimal.MatchString(s):
		r.errorf(n.pos, fmt.Sprintf("write %s%s or %s%s", s, short, s, long), "%s has no unit: %s", where, s)
	case err != nil:
		r.errorf(n.pos, "a duration is 125ms, 2s, 1m30s, 7d", "%s is not a duration: %q", where, s)
	case v < 0:
		r.errorf(n.pos, "", "%s must not be negative: %s", where, s)
	case v < least:
		r.errorf(n.pos, "", "%s must be more than 0", where)
	}
	if err == nil && strings.Contains(s, "d") {
		r.days = append(r.days, n)
	}
	return v
}

// writeDays gives the durations that count days the text that Go reads: the
// resolved spec is also for programs that know no days. Values of axes keep
// theirs, since points are named by them.
func (r *reader) writeDays() {
	for _, n := range r.days {
		if v, err := parseDuration(n.text); err == nil {
			n.text = durationText(v)
		}
	}
	r.days = nil
}
