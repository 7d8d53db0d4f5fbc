package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vbp/specs"
	"vbp/stages"
	"vbp/stages/analyze"
	"vbp/stages/runs"
)

// questionFlags are the flags by which plot and compare ask of results.
type questionFlags struct {
	ttft, tpot, target float64
	scales             []string
	scaleRate          float64
	perGPU, separate   bool
	only               string
	window             string
	title              string
	out                string
	formats            []string
	asJSON             bool
}

func (q *questionFlags) add(cmd *cobra.Command, out string) {
	f := cmd.Flags()
	f.Float64Var(&q.ttft, "ttft-slo", math.NaN(), "TTFT objective in `ms` (default: the run's own, else 125)")
	f.Float64Var(&q.tpot, "tpot-slo", math.NaN(), "TPOT objective in `ms` (default: the run's own, else 200)")
	f.Float64Var(&q.target, "atta-target", math.NaN(), "target attainment in `percent` (default: the run's own, else 90)")
	f.StringSliceVar(&q.scales, "scales", nil, "SLO `scales` to score, such as 0.4,0.6,1 (default: the run's own)")
	f.Float64Var(&q.scaleRate, "scale-rate", math.NaN(), "request `rate` that the scale panel re-scores (default: the median common one)")
	f.BoolVar(&q.perGPU, "per-gpu", false, "request rate per GPU on the x axis")
	f.BoolVar(&q.separate, "separate-rates", false, "show each series' own rates, not only those that all share")
	f.StringVar(&q.only, "only", "both", "which `objectives` a comparison shows: both, ttft or tpot")
	f.StringVar(&q.window, "window", "", "`FROM..TO` of each point's schedule whose requests count, such as 30s..90%, or all (default: the run's own)")
	f.StringVar(&q.title, "title", "", "`text` above the figure")
	f.StringVar(&q.out, "out", "", "`folder` for the figures (default: "+out+")")
	f.StringSliceVar(&q.formats, "formats", runs.Formats, "`formats` of the figures")
	f.BoolVar(&q.asJSON, "json", false, "print the analysis as JSON on stdout; figures are then only drawn with --out")
	for _, name := range []string{"ttft-slo", "tpot-slo", "atta-target", "scale-rate"} {
		f.Lookup(name).DefValue = "0" // which help does not show
	}
}

// check turns the flags into a question.
func (q *questionFlags) check(cmd *cobra.Command) (stages.Question, error) {
	out := stages.Question{
		TTFT: q.ttft / 1000, TPOT: q.tpot / 1000, Target: q.target / 100,
		ScaleRate: q.scaleRate, PerGPU: q.perGPU,
	}
	for name, v := range map[string]float64{"ttft-slo": q.ttft, "tpot-slo": q.tpot, "atta-target": q.target, "scale-rate": q.scaleRate} {
		if cmd.Flags().Changed(name) && (!(v > 0) || math.IsInf(v, 0)) {
			return out, usageError{fmt.Errorf("--%s must be a number above 0, not %v", name, v)}
		}
	}
	if q.target > 100 || q.target < 1 {
		return out, usageError{fmt.Errorf("--atta-target is in percent, from 1 to 100, not %v", q.target)}
	}
	for _, text := range q.scales {
		s, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(s > 0) || math.IsInf(s, 0) {
			return out, usageError{fmt.Errorf("--scales must be numbers above 0, not %q", text)}
		}
		out.Scales = append(out.Scales, s)
	}
	if !slices.Contains([]string{"both", "ttft", "tpot"}, q.only) {
		return out, usageError{fmt.Errorf("--only is both, ttft or tpot, not %q", q.only)}
	}
	if q.window != "" {
		w, err := analyze.ParseWindow(q.window)
		if err != nil {
			return out, usageError{fmt.Errorf("--window: %w", err)}
		}
		out.Window = &w
	}
	for _, f := range q.formats {
		if !slices.Contains(runs.Formats, f) {
			return out, usageError{fmt.Errorf("--formats knows %s, not %q", strings.Join(runs.Formats, ", "), f)}
		}
	}
	return out, nil
}

// answer analyzes the results, prints, and draws into --out, or else into the
// folder that fallback names.
func (q *questionFlags) answer(cmd *cobra.Command, question stages.Question, results []*stages.Results, fallback string) error {
	a, err := stages.Ask(results, question)
	if err != nil {
		return bad(err)
	}
	w := cmd.OutOrStdout()
	if q.asJSON {
		err = a.WriteJSON(w)
	} else {
		err = printAnalysis(w, a)
	}
	if err != nil {
		return err
	}
	if q.asJSON && q.out == "" {
		return nil
	}
	if q.out == "" {
		q.out = fallback
	}
	return q.draw(w, a)
}

func (q *questionFlags) draw(w io.Writer, a *analyze.Analysis) error {
	f := specs.Figure{Title: q.title, Only: q.only, PerGPU: q.perGPU, Xs: "shared"}
	if q.separate {
		f.Xs = "separate"
	}
	files, err := stages.Draw(a, q.out, f, q.formats)
	if err != nil {
		return bad(fmt.Errorf("drawing: %w", err))
	}
	if !q.asJSON {
		for _, file := range files {
			fmt.Fprintf(w, "figure   %s\n", file)
		}
	}
	return nil
}

// stamped is a folder that no earlier figures are in.
func stamped(dir, name string) string {
	return filepath.Join(dir, name+time.Now().Format("_20060102_150405"))
}

// plotsOf is where figures of a results folder go by default: beside it, but
// never over the figures that a run of vbp drew itself.
func plotsOf(dir string) string {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "plots")); err == nil {
		return stamped(dir, "plots")
	}
	return filepath.Join(dir, "plots")
}
