package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"vbp/stages/upkeep"
)

// pruneFlags are how a prune goes about it.
type pruneFlags struct {
	rules               upkeep.Rules
	results             string
	dryRun, yes, asJSON bool
}

func newPrune() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune [NAME...]",
		Short: "Remove old runs, and the stored results that only they refer to",
		Long: `Prune removes runs of the experiments NAME (default: of all) by rules, of which
at least one is given; a run goes if any of them says so:

  --older-than 30d   nothing has happened in it for that long
  --keep 5           it is not among the newest 5 of its experiment
  --max-size 20GB    the results folder takes more room than that: the oldest
                     runs of all experiments go until it does not

A run goes with the stored results that no other run refers to. What stays:

  - the newest run of each experiment and its newest complete one (--all lets
    them go too);
  - imported runs, which nobody can measure again (--imported);
  - runs of an experiment that is being applied, and stored results that a
    running apply uses;
  - folders that vbp did not make, and runs whose folder you renamed: rename a
    run to keep it;
  - attempts that broke a rule of valid, as long as another attempt of the same
    point stays: figures count them;
  - figures outside of the results folder (stages.plot.dir). Those that lose the
    samples that they show are named.

Prune also removes what was left by processes that were killed: half-made
results and imports, run folders that hold nothing, runs that a prune was
deleting. A stored result that no run refers to is of an apply that was killed
before it could note it, and the next apply of that spec would reuse it: it is
removed once it is a day old and older than every run that stays. This is left
out if NAMEs are given.

Sizes are what files take on the disk, as du counts: MB are 1000 kB, MiB are
1024 KiB. A file with several names (a run's and the store's) counts once and is
freed with the last of them. What a prune that was killed has begun, the next
one finishes. The exit code is 5 if the results still take more than --max-size.`,
		Example: `  vbp prune --older-than 30d --dry-run
  vbp prune quickstart --keep 5 --yes
  vbp prune --older-than 90d --max-size 20GB`,
		RunE: func(cmd *cobra.Command, names []string) error {
			f.rules.Names = names
			if err := f.check(cmd); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	fl := cmd.Flags()
	fl.Var((*age)(&f.rules.OlderThan), "older-than", "remove runs in which nothing has happened for this `time`, such as 30d or 12h")
	fl.IntVar(&f.rules.Keep, "keep", 0, "remove all but the newest `N` runs of each experiment")
	fl.Var((*size)(&f.rules.MaxSize), "max-size", "remove the oldest runs until the results take this `size` at most, such as 20GB")
	fl.BoolVar(&f.rules.All, "all", false, "remove even the newest run of an experiment if a rule says so")
	fl.BoolVar(&f.rules.Imported, "imported", false, "remove imported runs too")
	fl.BoolVar(&f.dryRun, "dry-run", false, "say what would be removed, and change nothing")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&f.asJSON, "json", false, "print as JSON")
	addResults(cmd, &f.results)
	for _, name := range []string{"older-than", "max-size"} {
		fl.Lookup(name).DefValue = "" // which help does not show
	}
	return cmd
}

// check refuses rules that are none, and questions that nobody can answer.
func (f *pruneFlags) check(cmd *cobra.Command) error {
	fl := cmd.Flags()
	switch {
	case !fl.Changed("older-than") && !fl.Changed("keep") && !fl.Changed("max-size"):
		return usageError{errors.New("prune wants a rule: --older-than 30d, --keep 5 or --max-size 20GB; --dry-run shows what it would remove")}
	case fl.Changed("keep") && f.rules.Keep < 1:
		return usageError{fmt.Errorf("--keep must be 1 or more, not %d; to remove every run, say --older-than 1s --all", f.rules.Keep)}
	case !f.dryRun && !f.yes && !isTerminal(cmd.InOrStdin()):
		return usageError{errors.New("there is no terminal to ask on: look with --dry-run, then say --yes")}
	}
	return nil
}

func (f *pruneFlags) run(cmd *cobra.Command) error {
	ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	p, err := upkeep.PlanPrune(ctx, f.results, f.rules, time.Now())
	if err != nil {
		return badUnlessStopped(cmd, err)
	}
	if !f.asJSON {
		printPruning(stdout, p)
	}
	switch {
	case f.dryRun || p.Empty():
	case !f.yes:
		if f.asJSON {
			printPruning(stderr, p) // what the question is about
		}
		yes, err := ask(ctx, cmd.InOrStdin(), stderr, "Remove this? [y/N] ")
		if err != nil {
			return err
		}
		if !yes {
			fmt.Fprintln(stderr, "Nothing was removed.")
			return exitError{code: exitNothing}
		}
		fallthrough
	default:
		p, err = upkeep.Prune(ctx, p, time.Now, func(r upkeep.PrunedRun) {
			if !f.asJSON {
				fmt.Fprintf(stdout, "removed %s\n", r.Name)
			}
		})
		if err != nil {
			if p != nil {
				printPruned(stderr, p) // what was done before
			}
			return err
		}
		if !f.asJSON {
			printPruned(stdout, p)
		}
	}
	if f.asJSON {
		if err := printJSON(stdout, p); err != nil {
			return err
		}
	}
	if left := p.Left(); left > 0 {
		return exitError{exitPartial, fmt.Errorf("the results %s %s more than --max-size: %s", map[bool]string{true: "still take", false: "would still take"}[p.Done], bytesText(left), whatIsLeft(p))}
	}
	return nil
}

// whatIsLeft says what to do about results that stay too large.
func whatIsLeft(p *upkeep.Pruning) string {
	if len(p.Stay) == 0 {
		return "no run is left that could go; folders that vbp did not make count too"
	}
	return fmt.Sprintf("%d runs stay for the reasons given (--all and --imported let more go), and folders that vbp did not make count too", len(p.Stay))
}

// printPruning says what would go, what stays, and what that frees.
func printPruning(w io.Writer, p *upkeep.Pruning) {
	for _, r := range p.Runs {
		fmt.Fprintf(w, "run      %s  %s, last record %s, frees %s: %s\n", r.Name, r.State, r.Ended.Local().Format("2006-01-02 15:04"), bytesText(r.Bytes), r.Why)
		for _, figure := range r.Figures {
			fmt.Fprintf(w, "         its figure %s goes with it\n", figure)
		}
		for _, figure := range r.Losing {
			fmt.Fprintf(w, "         %s stays and loses its data\n", figure)
		}
	}
	for _, d := range p.Debris {
		fmt.Fprintf(w, "left     %s  frees %s: %s\n", d.Path, bytesText(d.Bytes), d.What)
	}
	if p.Orphans > 0 {
		fmt.Fprintf(w, "left     %s that no run refers to\n", counted(p.Orphans, "stored result"))
	}
	for _, s := range p.Stay {
		fmt.Fprintf(w, "stays    %s  %s\n", s.Name, s.Why)
	}
	if p.Empty() {
		fmt.Fprintln(w, "Nothing to remove.")
		return
	}
	fmt.Fprintf(w, "%s and %s would go, which frees %s%s.\n", counted(len(p.Runs), "run"), counted(p.Stored, "stored result"), bytesText(p.Bytes), ofUsed(p))
}

// printPruned says what went.
func printPruned(w io.Writer, p *upkeep.Pruning) {
	fmt.Fprintf(w, "%s and %s are removed, which freed %s%s.\n", counted(len(p.Runs), "run"), counted(p.Stored, "stored result"), bytesText(p.Bytes), ofUsed(p))
	if p.Held > 0 {
		verb, them := "stay", "them"
		if p.Held == 1 {
			verb, them = "stays", "it"
		}
		fmt.Fprintf(w, "%s %s, for a running apply uses %s.\n", counted(p.Held, "stored result"), verb, them)
	}
}

func ofUsed(p *upkeep.Pruning) string {
	if p.Used == 0 {
		return ""
	}
	return " of " + bytesText(p.Used)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask puts a question to the terminal that in is, and waits for the answer or
// the end of ctx. Everything but yes is no.
func ask(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprint(out, question)
	if f, ok := in.(*os.File); ok {
		for ready := false; !ready; {
			const pause = 100 // milliseconds between two looks whether ctx has ended
			fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, pause)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return false, fmt.Errorf("cannot read the answer: %w; --yes does not ask", err)
			}
			if err := ctx.Err(); err != nil {
				fmt.Fprintln(out)
				return false, err
			}
			ready = n > 0
		}
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("cannot read the answer: %w; --yes does not ask", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
