// Command vbp measures what a deployment of a large language model can carry:
// from one YAML spec it deploys, warms up, loads, collects, analyzes and
// plots.
//
// This package is flags, signals, exit codes and progress; one file a command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The first signal cancels the context: servers are stopped and what was
	// measured is kept. A second one ends vbp at once; the guardians then end
	// the servers.
	ctx, stop := signal.NotifyContext(context.Background(), signals()...)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// signals are those that end vbp in good order: not the ones that it was
// started to ignore, as by nohup.
func signals() []os.Signal {
	var out []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			out = append(out, s)
		}
	}
	return out
}

// run is the whole command: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	code, quiet := exitCode(ctx, err)
	if !quiet {
		fmt.Fprintf(stderr, "vbp: %v\n", err)
		if code == exitUsage && isUsage(err) {
			fmt.Fprintf(stderr, "Try: %s --help\n", cmd.CommandPath())
		}
	}
	return code
}

// knownCommand refuses words that no command answered to.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf(" (did you mean %q?)", near[0])
	}
	return usageError{errors.New(text)}
}

// notANumber is how Go says that a flag's value is no number.
var notANumber = regexp.MustCompile(`strconv\.ParseFloat: parsing ".*": invalid syntax`)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "vbp",
		Short: "Measure what an LLM serving deployment can carry",
		Long: `vbp measures what a deployment of a large language model can carry.

One YAML spec declares modes (one instance, or prefill and decode instances),
request rates, SLOs and SLO scales. vbp apply deploys, warms up, loads,
collects, analyzes and plots, reuses every result that is still true, and
draws SLO attainment against request rate and SLO scale.

Exit codes: 0 done; 1 nothing usable came out; 2 bad spec, input or plan;
3 there is something to do (plan --detailed-exitcode); 5 partial, or the budget
is spent; 130 interrupted.`,
		Example:       "  vbp apply examples/quickstart.yaml\n  vbp compare --simple-dir results/a --nixl-dir results/b --ttft-slo 125 --tpot-slo 200",
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{errors.New(notANumber.ReplaceAllString(err.Error(), "want a number alone (milliseconds, %, requests per second: --help says which)"))}
	})
	root.AddCommand(
		newApply(), newPlan(), newValidate(), newGraph(), newList(), newShow(), newPlot(), newCompare(),
		newWhy(), newImport(), newExport(), newPrune(), newCache(), newInit(), newSchema(), newDoctor(), newEngine(), newProxy(), newGuard(), newVersion(),
	)
	return root
}
