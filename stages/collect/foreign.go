package collect

import (
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// nanoseconds turns seconds from the start of a point into an instant. A time
// that no point lasts is absent, rather than an overflow.
func nanoseconds(s float64) int64 {
	if math.IsNaN(s) || math.Abs(s) > 9e9 {
		return sample.Absent
	}
	return int64(math.Round(s * 1e9))
}

// microseconds turns a gap in seconds into the stored unit; one of more than
// half an hour is stored as the longest there is.
func microseconds(s float64) int32 {
	switch us := math.Round(s * 1e6); {
	case us >= math.MaxInt32:
		return math.MaxInt32
	case us <= 0 || math.IsNaN(us):
		return 0
	default:
		return int32(us)
	}
}

var (
	qpsInName   = regexp.MustCompile(`(?:^|[^0-9.])([0-9]+(?:\.[0-9]+)?|inf)qps`)
	rateInName  = regexp.MustCompile(`rate[-_=]?([0-9]+(?:\.[0-9]+)?|inf)`)
	lastInName  = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)?`)
	timestamp   = regexp.MustCompile(`^[0-9]{8}_[0-9]{6}(_[0-9]+)?$`)
	timestamped = regexp.MustCompile(`_[0-9]{8}_[0-9]{6}(_[0-9]+)?$`)
)

// namedRate finds the rate that a vLLM file's name tells: 2.0 in
// vllm-2.0qps-Qwen3-0.6B-20260409-111645.json and 2.5 in rate_2.5.json. It is
// +Inf for infqps, NaN if the name tells none.
func namedRate(file string) float64 {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	for _, pattern := range []*regexp.Regexp{qpsInName, rateInName} {
		if m := pattern.FindStringSubmatch(name); m != nil {
			if v, err := strconv.ParseFloat(m[1], 64); err == nil {
				return v
			}
		}
	}
	return math.NaN()
}

// lastNumber finds the rate of a DistServe file, the last number of its name:
// 1.5 in distserve-120-1.5.exp. NaN if there is none.
func lastNumber(file string) float64 {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	all := lastInName.FindAllString(name, -1)
	if len(all) == 0 {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(all[len(all)-1], 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// runName is what a results folder is called: its name without the time of
// the run, so that mode_20260409_111645 is mode, and NAME/20260409_111645 is
// NAME.
func runName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	name := filepath.Base(dir)
	if timestamp.MatchString(name) {
		return filepath.Base(filepath.Dir(dir))
	}
	if short := timestamped.ReplaceAllString(name, ""); short != "" {
		return short
	}
	return name
}
