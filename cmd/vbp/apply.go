package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vbp/pipeline"
	"vbp/stages"
)

func newApply() *cobra.Command {
	var f specFlags
	var asJSON, quiet, keepGoing bool
	var o stages.ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply SPEC",
		Short: "Do what a spec declares, reusing every result that is still true",
		Long: `Apply deploys, warms up, loads, collects, analyzes and plots, as the spec
declares. What was measured or computed before from the same inputs is reused;
vbp plan says beforehand what would run, and why.

Results are in a new folder results/NAME/YYYYMMDD_HHMMSS: samples, analysis,
figures, logs and the resolved spec. If nothing is to do, the earlier folder is
named again. An apply that was interrupted, killed or out of budget is resumed
by the next.

A point that breaks a rule of valid, or that failed, is tried again
(stages.load.retries); a deployment that died is started and warmed up again
(stages.deploy.restarts). A point that failed for good does not stop the others,
and a deployment that cannot be started is not tried again in later blocks;
--keep-going tries that too, --keep-going=false stops at the first failure.`,
		Example: `  vbp apply examples/quickstart.yaml
  vbp apply examples/quickstart.yaml --set slo.tpot=15ms
  vbp apply examples/quickstart.yaml --budget 3h --wait
  vbp apply examples/quickstart.yaml --rerun "mode=nixl qps=35"
  NUM_PREFILL_INSTANCES=2 vbp apply spec.yaml`,
		Args: exactly(1, "one spec file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			// net/http writes there of servers that send more than was asked
			// for; the console is apply's own.
			log.SetOutput(io.Discard)
			switch {
			case !cmd.Flags().Changed("keep-going"):
			case keepGoing:
				o.KeepGoing = stages.KeepGoingAlways
			default:
				o.KeepGoing = stages.KeepGoingNever
			}
			return runApply(cmd, &f, args[0], asJSON, quiet, o)
		},
	}
	f.add(cmd)
	addChoices(cmd, &o.PlanChoices)
	cmd.Flags().BoolVar(&o.Wait, "wait", false, "wait while another process applies the same spec, instead of an error")
	cmd.Flags().Var((*budget)(&o.Budget), "budget", "begin no point when this `time` is up, such as 3h; the exit code is 5 then, and the same command goes on")
	cmd.Flags().BoolVar(&keepGoing, "keep-going", true, "also start deployments again that could not be started; =false: stop at the first failure")
	cmd.Flags().Lookup("keep-going").DefValue = "as above" // neither of the two
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the analysis as JSON on stdout instead of tables")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// budget is a flag's time that something is given.
type budget time.Duration

// Set reads 3h, 90m, 1d12h.
func (b *budget) Set(text string) error {
	if (*age)(b).Set(text) != nil {
		return errors.New("want a time of more than 0 with its unit: 3h, 90m, 1d12h")
	}
	return nil
}

func (b *budget) String() string {
	if *b == 0 {
		return "" // no limit
	}
	return time.Duration(*b).String()
}

// Type is what help calls it.
func (b *budget) Type() string { return "time" }

func runApply(cmd *cobra.Command, f *specFlags, file string, asJSON, quiet bool, o stages.ApplyOptions) error {
	ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	exp, err := f.load(file, stderr)
	if err != nil {
		return err
	}
	site, err := f.site()
	if err != nil {
		return err
	}
	p := newProgress(stderr, quiet)
	o.Command = "vbp " + strings.Join(os.Args[1:], " ")
	o.Emit, o.OnPlan, o.Notice = p.event, p.plan, p.notice
	a, err := stages.Apply(ctx, exp, site, o)
	p.end()
	if err != nil {
		var plan *stages.BadPlan
		var locked *stages.Locked
		if errors.As(err, &plan) || errors.As(err, &locked) {
			return bad(err)
		}
		return err
	}
	return reportApply(a, asJSON, stdout, stderr)
}

// reportApply tells what came out, and ends with the exit code of it.
func reportApply(a *stages.Applied, asJSON bool, stdout, stderr io.Writer) error {
	for _, w := range failures(a.Report) {
		fmt.Fprintf(stderr, "vbp: %s\n", w)
	}
	if a.Report != nil && a.Report.Interrupted {
		fmt.Fprintln(stderr, "vbp: interrupted; finished points are kept, and the same command goes on from there")
		return exitError{code: exitInterrupted}
	}
	if err := printApplied(stdout, a, asJSON); err != nil {
		return err
	}
	t := a.Tally()
	if t.Invalid > 0 {
		fmt.Fprintf(stderr, "vbp: %d of %d points are not valid (see the table); they are shown, and the same command measures them again\n", t.Invalid, t.Usable+t.Lost)
	}
	switch {
	case t.Left > 0 && a.Report.OutOfBudget:
		return exitError{exitPartial, fmt.Errorf("the budget is spent: %s; the same command goes on from there", lostText(t))}
	case t.Usable == 0 && t.Lost > 0:
		text := "no point has a usable result"
		if logs := filepath.Join(a.RunDir, "logs"); isDir(logs) {
			text += "; the logs of servers that were started are in " + logs
		}
		return exitError{exitNothing, errors.New(text)}
	case t.Lost+t.LostSteps+t.Left > 0:
		return exitError{exitPartial, fmt.Errorf("partial: %s; the same command tries again", lostText(t))}
	}
	return nil
}

// printApplied prints the analysis and where the results are. An analysis that
// was not reached is none: what failed before it is told already.
func printApplied(w io.Writer, a *stages.Applied, asJSON bool) error {
	analysis, err := stages.ReadAnalysis(a.RunDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case asJSON:
		return analysis.WriteJSON(w)
	default:
		if err := printAnalysis(w, analysis); err != nil {
			return err
		}
	}
	if !asJSON {
		printWhere(w, a)
	}
	return nil
}

// lostText says what has no usable result.
func lostText(t stages.Tally) string {
	var parts []string
	all := t.Usable + t.Lost + t.Left
	if t.Left > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d points are left to be made", t.Left, all))
	}
	if t.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d points have no usable result", t.Lost, all))
	}
	switch {
	case t.LostSteps == 1:
		parts = append(parts, "one step failed")
	case t.LostSteps > 1:
		parts = append(parts, fmt.Sprintf("%d steps failed", t.LostSteps))
	}
	return strings.Join(parts, ", ")
}

// failures lists what went wrong, each cause once.
func failures(r *pipeline.Report) []string {
	if r == nil {
		return nil
	}
	var out []string
	skipped := 0
	for _, res := range r.Results {
		switch {
		case res.State == pipeline.StateFailed:
			out = append(out, fmt.Sprintf("%s failed: %v", res.Node.ID, res.Err))
		case res.State == pipeline.StateSkipped && !res.OutOfBudget():
			skipped++
		}
	}
	if skipped > 0 {
		out = append(out, fmt.Sprintf("%d more could not be done for want of these", skipped))
	}
	return out
}

func printWhere(w io.Writer, a *stages.Applied) {
	if !a.New {
		fmt.Fprintln(w, "Nothing to do: every result is reused.")
		if a.Plan.Unchecked() {
			fmt.Fprintln(w, uncheckedText)
		}
	}
	for _, f := range stages.Figures(a) {
		fmt.Fprintf(w, "figure   %s\n", f)
	}
	fmt.Fprintf(w, "results  %s\n", a.RunDir)
}
