package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newList() *cobra.Command {
	var results string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the runs in the results folder, newest first",
		Long: `List shows every run of vbp, and every folder in the layout
DATASET/MODE_YYYYMMDD_HHMMSS with result files of vLLM's bench: time, name,
number of result files and figures, and the configuration.`,
		Example: "  vbp list\n  vbp list --results /data/results --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			runs, err := stages.List(results)
			if err != nil {
				return bad(err)
			}
			w := cmd.OutOrStdout()
			if asJSON {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(append([]stages.Listed{}, runs...))
			}
			if len(runs) == 0 {
				fmt.Fprintf(w, "no runs in %s\n", results)
			}
			for _, r := range runs {
				state := ""
				if r.State != "" && r.State != stages.RunComplete {
					state = "  (" + r.State + ")"
				}
				fmt.Fprintf(w, "%s  %s  %d results, %d plots%s\n", r.Time.Format("2006-01-02 15:04:05"), r.Name, r.Results, r.Plots, state)
				for _, c := range r.Config {
					fmt.Fprintf(w, "    %s\n", c)
				}
			}
			return nil
		},
	}
	addResults(cmd, &results)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
