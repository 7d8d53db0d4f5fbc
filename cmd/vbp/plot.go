package main

import (
	"errors"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newPlot() *cobra.Command {
	var q questionFlags
	var dir string
	cmd := &cobra.Command{
		Use:   "plot --result-dir DIR",
		Short: "Draw SLO attainment of one results folder, with any SLOs",
		Long: `Plot reads a run of vbp, a folder of vLLM bench files (--save-result
--save-detailed, or the scripts' form) or a folder of DistServe's .exp files,
scores the stored requests, prints a table and draws attainment against
request rate and SLO scale. No load is repeated.`,
		Example: `  vbp plot --result-dir results/quickstart/20260101_120000 --tpot-slo 15
  vbp plot --result-dir bench/ --ttft-slo 180 --tpot-slo 36 --scale-rate 2 --json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("--result-dir says which results to plot")}
			}
			question, err := q.check(cmd)
			if err != nil {
				return err
			}
			r, err := stages.OpenToAsk(dir, "")
			if err != nil {
				return bad(err)
			}
			return q.answer(cmd, question, []*stages.Results{r}, plotsOf(dir))
		},
	}
	cmd.Flags().StringVar(&dir, "result-dir", "", "`folder` of results")
	q.add(cmd, "plots in the results folder")
	return cmd
}
