package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"vbp/stages"
	"vbp/stages/runs"
)

func newList() *cobra.Command {
	var results string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [DIR...]",
		Short: "List the runs in folders of results, newest first",
		Long: `List shows every run of vbp, applied or imported, and every folder in the
layout DATASET/MODE_YYYYMMDD_HHMMSS with result files of vLLM's bench: time,
name, number of result files and figures, and the configuration. DIR is a
folder of results, or of one dataset or name in it (default: --results).`,
		Example: "  vbp list\n  vbp list results /data/old-results\n  vbp list --results /data/results --json",
		RunE: func(cmd *cobra.Command, dirs []string) error {
			switch {
			case len(dirs) == 0:
				dirs = []string{results}
			case cmd.Flags().Changed("results"):
				return usageError{errors.New("folders are named either as arguments or by --results, not both")}
			}
			found, err := stages.List(dirs...)
			if err != nil {
				return bad(err)
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return printJSON(w, append([]stages.Listed{}, found...))
			}
			if len(found) == 0 {
				fmt.Fprintf(w, "no runs in %s\n", strings.Join(dirs, ", "))
			}
			printListed(w, found)
			return nil
		},
	}
	addResults(cmd, &results)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// widest is the longest name that the names of other runs are padded to.
const widest = 48

// printListed prints a line for each run and, below it, one for each
// configuration.
func printListed(w io.Writer, found []stages.Listed) {
	width := 0
	for _, r := range found {
		if n := utf8.RuneCountInString(r.Name); n <= widest {
			width = max(width, n)
		}
	}
	for _, r := range found {
		state := ""
		if r.State != "" && r.State != runs.Complete {
			state = "  (" + r.State + ")"
		}
		fmt.Fprintf(w, "%s  %-*s  %d results, %d plots%s\n", r.Time.Format("2006-01-02 15:04:05"), width, r.Name, r.Results, r.Plots, state)
		for _, c := range r.Config {
			fmt.Fprintf(w, "    %s\n", c)
		}
	}
}
