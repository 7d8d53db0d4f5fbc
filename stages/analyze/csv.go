package analyze

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// WriteCSV writes every share of a in long form, one line for each series,
// point and reading:
//
//	series, one column for each label, gpus, kind, x, reading, share, low,
//	high, sent, failed, repeats, valid, reason, left_out
//
// kind is rate (x in requests per second, per GPU if the analysis is) or scale
// (x is the SLO scale; counts and validity are those of the rate that
// was re-scored; no interval is given). left_out are requests that were sent
// and lie outside the window; sent and all else are of those in it. Absent is
// empty.
func (a *Analysis) WriteCSV(w io.Writer) error {
	names := map[string]bool{}
	for _, s := range a.Series {
		for k := range s.Labels {
			names[k] = true
		}
	}
	labels := slices.Sorted(maps.Keys(names))
	out := csv.NewWriter(w)
	header := append([]string{"series"}, labels...)
	// Write keeps its first error, which Flush and Error report below.
	out.Write(append(header, "gpus", "kind", "x", "reading", "share", "low", "high", "sent", "failed", "repeats", "valid", "reason", "left_out"))

	for _, s := range a.Series {
		start := []string{s.Name}
		for _, k := range labels {
			start = append(start, s.Labels[k])
		}
		gpus := ""
		if s.GPUs > 0 {
			gpus = strconv.Itoa(s.GPUs)
		}
		start = append(start, gpus)
		line := func(cells ...string) { out.Write(append(slices.Clone(start), cells...)) }
		for _, r := range s.Rates {
			for _, v := range readings(r.Shares, &r.CI95) {
				line("rate", number(r.QPS), v.name, number(v.share), number(v.ci[0]), number(v.ci[1]),
					strconv.Itoa(r.Sent), strconv.Itoa(r.Failed), strconv.Itoa(r.Repeats), strconv.FormatBool(r.Valid), r.Reason, strconv.Itoa(r.LeftOut))
			}
		}
		for _, p := range s.Scales.Points {
			r := s.scaled()
			for _, v := range readings(p.Shares, nil) {
				line("scale", number(p.Scale), v.name, number(v.share), "", "",
					strconv.Itoa(r.Sent), strconv.Itoa(r.Failed), strconv.Itoa(r.Repeats), strconv.FormatBool(r.Valid), r.Reason, strconv.Itoa(r.LeftOut))
			}
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("analyze: writing CSV: %w", err)
	}
	return nil
}

// scaled is the rate that the scale curve re-scores.
func (s *Series) scaled() Rate {
	for _, r := range s.Rates {
		if s.Scales.QPS != nil && r.QPS == *s.Scales.QPS {
			return r
		}
	}
	return Rate{}
}

type cell struct {
	name  string
	share float64
	ci    [2]float64
}

func readings(s Shares, ci *Intervals) []cell {
	if ci == nil {
		ci = &Intervals{}
	}
	return []cell{{"both", s.Both, ci.Both}, {"ttft", s.TTFT, ci.TTFT}, {"tpot", s.TPOT, ci.TPOT}}
}
