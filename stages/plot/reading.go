package plot

import "vbp/stages/analyze"

// reading is one way to read the objectives: both, TTFT only, TPOT only.
type reading struct {
	name     string // in a legend
	axis     string // label of the y axis
	share    func(analyze.Shares) float64
	interval func(analyze.Intervals) [2]float64
	capacity func(analyze.Capacities) analyze.Capacity
}

var (
	both = reading{
		"TTFT and TPOT", "SLO attainment (%)",
		func(s analyze.Shares) float64 { return s.Both },
		func(i analyze.Intervals) [2]float64 { return i.Both },
		func(c analyze.Capacities) analyze.Capacity { return c.Both },
	}
	ttft = reading{
		"TTFT only", "TTFT SLO attainment (%)",
		func(s analyze.Shares) float64 { return s.TTFT },
		func(i analyze.Intervals) [2]float64 { return i.TTFT },
		func(c analyze.Capacities) analyze.Capacity { return c.TTFT },
	}
	tpot = reading{
		"TPOT only", "TPOT SLO attainment (%)",
		func(s analyze.Shares) float64 { return s.TPOT },
		func(i analyze.Intervals) [2]float64 { return i.TPOT },
		func(c analyze.Capacities) analyze.Capacity { return c.TPOT },
	}
)

func readingOf(only string) reading {
	switch only {
	case "ttft":
		return ttft
	case "tpot":
		return tpot
	}
	return both
}
