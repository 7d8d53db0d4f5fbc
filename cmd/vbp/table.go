package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"vbp/stages/analyze"
	"vbp/stages/plot"
)

// printAnalysis writes a table for each series: what was sent at each rate,
// what became of it, and what the deployment can carry.
func printAnalysis(w io.Writer, a *analyze.Analysis) error {
	for _, s := range a.Series {
		if err := printSeries(w, a, s); err != nil {
			return err
		}
	}
	if line := a.WindowLine(); line != "" {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	for _, warning := range a.Warnings {
		if _, err := fmt.Fprintf(w, "note: %s\n", warning); err != nil {
			return err
		}
	}
	return nil
}

func printSeries(w io.Writer, a *analyze.Analysis, s analyze.Series) error {
	rate := "req/s"
	if a.PerGPU {
		rate = "req/s/GPU"
	}
	name := s.Name
	if config := plot.ConfigLine(s); config != "" {
		name += " (" + config + ")"
	}
	fmt.Fprintln(w, name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\trequests\tfailed\tattainment %%\t95 %% interval\tTTFT p50\tp99 ms\tTPOT p50\tp99 ms\t  verdict\n", rate)
	for _, r := range s.Rates {
		verdict := "valid"
		if !r.Valid {
			verdict = "not valid: " + r.Reason
		}
		if r.SentQPS != nil {
			verdict += fmt.Sprintf(", %s sent per second", figures(*r.SentQPS))
		}
		if r.Repeats > 1 {
			verdict += fmt.Sprintf(" (%d repeats)", r.Repeats)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%.1f .. %.1f\t%s\t%s\t%s\t%s\t  %s\n",
			number(r.QPS), r.Sent, r.Failed, 100*r.Both, 100*r.CI95.Both[0], 100*r.CI95.Both[1],
			millis(r.Latency.TTFT.P50), millis(r.Latency.TTFT.P99), millis(r.Latency.TPOT.P50), millis(r.Latency.TPOT.P99), verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "capacity at %s %% of %s: %s\n\n", number(100*a.SLO.Target), objectives(a.SLO), capacityText(s, rate))
	return err
}

// capacityText says the capacity, and the crossings if they tell more.
func capacityText(s analyze.Series, unit string) string {
	c := s.Capacity.Both
	text := "none: attainment never reaches the target"
	switch {
	case len(s.Rates) == 0:
		return "not known: no point could be measured"
	case !slices.ContainsFunc(s.Rates, func(r analyze.Rate) bool { return r.SentQPS == nil }):
		return "not known: no rate was sent as it was asked for (see the notes)"
	case c.Bound == analyze.Exact && c.Value != nil:
		text = figures(*c.Value) + " " + unit
	case c.Bound == analyze.AtLeast && c.Value != nil:
		text = "at least " + figures(*c.Value) + " " + unit + ", the last rate that was measured"
		i := slices.IndexFunc(s.Rates, func(r analyze.Rate) bool { return r.QPS > *c.Value })
		if i >= 0 {
			text = fmt.Sprintf("at least %s %s; between there and %s nothing could be measured", figures(*c.Value), unit, number(s.Rates[i].QPS))
		}
	}
	if slices.ContainsFunc(s.Rates, func(r analyze.Rate) bool { return !r.Valid }) {
		text += ", as far as points that are not valid can tell"
	}
	if marks := s.Crossings.Rate.Both; len(marks) > 1 {
		var all []string
		for _, m := range marks {
			all = append(all, figures(m))
		}
		text += " (the curve crosses the target at " + strings.Join(all, ", ") + ")"
	}
	return text
}

func objectives(s analyze.SLO) string {
	var parts []string
	if s.TTFT > 0 {
		parts = append(parts, "TTFT <= "+number(s.TTFT)+" ms")
	}
	if s.TPOT > 0 {
		parts = append(parts, "TPOT <= "+number(s.TPOT)+" ms")
	}
	return strings.Join(parts, " and ")
}

// millis prints seconds as milliseconds.
func millis(s *float64) string {
	if s == nil {
		return "-"
	}
	return strconv.FormatFloat(*s*1000, 'f', 1, 64)
}

// figures prints three significant digits: more than the samples behind an
// interpolated rate can tell.
func figures(x float64) string {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 3, 64), 64)
	if err != nil {
		return number(x)
	}
	return number(r)
}

func number(x float64) string { return strconv.FormatFloat(round(x, 6), 'f', -1, 64) }

// round keeps digits after the point, so that 3.2000000000000002 prints as
// 3.2.
func round(x float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	if err != nil {
		return x
	}
	return r
}
