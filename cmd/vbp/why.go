package main

import (
	"errors"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newWhy() *cobra.Command {
	var f specFlags
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why RUN [AXIS=VALUE... | RESULT | FILE]",
		Short: "Say what is behind a figure's point, or what a file's change would reach",
		Long: `Why tells what is behind the results of a run. Without more words it lists
every point with the attempt that it shows; with the axes of points ("mode=nixl
qps=4") it tells all about each: why it was measured or reused, its verdict with
rules and facts, the environment, every other attempt at it and why that is not
shown, the runs that show each, the parts of its key by name, its files with
their checksums, the starts of its servers, and what was made of it. Other
results are named as vbp plan prints them ("analyze"), or by a file of theirs
("vllm_comparison_plots.pdf").

With --affected-by FILE it says what would be measured or made again if that file
changed, in the specs that are named, else in the newest run of each name:
datasets, inputs of your own steps, programs that deployments run, vbp itself.
A copy of such a file elsewhere is found by its content.`,
		Example: `  vbp why quickstart/20260101_120000
  vbp why quickstart/20260101_120000 mode=nixl qps=35
  vbp why quickstart/20260101_120000 vllm_comparison_plots.pdf
  vbp why --affected-by data/prompts.json
  vbp why --affected-by data/prompts.json spec.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case cmd.Flags().Changed("affected-by"):
				return whyAffected(cmd, &f, file, args, asJSON)
			case len(f.set) > 0:
				return usageError{errors.New("--set is for specs, which only --affected-by takes; a run was made of the spec in its folder")}
			case len(args) == 0:
				return usageError{errors.New("expected a run (its folder, or its name as list prints it), or --affected-by FILE")}
			}
			return whyRun(cmd, f.results, args, asJSON)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "affected-by", "", "say what a change of this `file` would reach, in the SPECs that are named as arguments")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}

func whyRun(cmd *cobra.Command, results string, args []string, asJSON bool) error {
	brief := len(args) == 1 && !asJSON
	e, err := stages.Explain(runFolder(args[0], results), args[1:], stages.ExplainOptions{Results: results, Brief: brief})
	if err != nil {
		return bad(err)
	}
	switch w := cmd.OutOrStdout(); {
	case asJSON:
		return printJSON(w, e)
	case brief:
		return printBrief(w, e)
	default:
		return printBehind(w, e)
	}
}

func whyAffected(cmd *cobra.Command, f *specFlags, file string, args []string, asJSON bool) error {
	changed, err := stages.NewChanged(file)
	if err != nil {
		return bad(err)
	}
	site, err := f.site()
	if err != nil {
		return err
	}
	var all []*stages.Affected
	for _, spec := range args {
		exp, err := f.load(spec, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		a, err := stages.AffectedIn(changed, exp, site)
		if err != nil {
			return bad(err)
		}
		all = append(all, a)
	}
	if len(args) == 0 {
		if len(f.set) > 0 {
			return usageError{errors.New("--set is for specs, and none is named")}
		}
		if all, err = stages.AffectedRuns(changed, site); err != nil {
			return bad(err)
		}
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), all)
	}
	return printAffected(cmd.OutOrStdout(), file, all)
}
