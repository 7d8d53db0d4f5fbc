package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newCompare() *cobra.Command {
	var q questionFlags
	var runs []string
	var simple, nixl, lmcache string
	cmd := &cobra.Command{
		Use:   "compare --run LABEL=DIR ...",
		Short: "Draw several results folders against each other, with any SLOs",
		Long: `Compare reads results folders of any kind that plot reads, scores them with
the same SLOs, prints a table for each and draws them together. --simple-dir,
--nixl-dir and --lmcache-dir are --run with that label.`,
		Example: `  vbp compare --simple-dir results/a --nixl-dir results/b --ttft-slo 125 --tpot-slo 200 --atta-target 90
  vbp compare --run old=results/a --run new=results/b --only tpot --out figures`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []string
			for _, r := range []struct{ label, dir string }{{"simple", simple}, {"nixl", nixl}, {"lmcache", lmcache}} {
				if r.dir != "" {
					all = append(all, r.label+"="+r.dir)
				}
			}
			question, err := q.check(cmd)
			if err != nil {
				return err
			}
			results, err := openAll(append(all, runs...))
			if err != nil {
				return err
			}
			return q.answer(cmd, question, results, stamped("plots", "comparison"))
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&runs, "run", nil, "`LABEL=DIR`: results and the name of their series; may be repeated")
	f.StringVar(&simple, "simple-dir", "", "`folder` of results of one instance")
	f.StringVar(&nixl, "nixl-dir", "", "`folder` of results of prefill and decode instances")
	f.StringVar(&lmcache, "lmcache-dir", "", "`folder` of results with LMCache")
	q.add(cmd, "plots/comparison_YYYYMMDD_HHMMSS")
	return cmd
}

// openAll opens every LABEL=DIR; what is wrong with each is told at once.
func openAll(runs []string) ([]*stages.Results, error) {
	var results []*stages.Results
	var errs []error
	seen := make(map[string]bool)
	for _, run := range runs {
		label, dir, ok := strings.Cut(run, "=")
		switch {
		case !ok || label == "" || dir == "":
			return nil, usageError{fmt.Errorf("--run wants LABEL=DIR, not %q", run)}
		case seen[label]:
			return nil, usageError{fmt.Errorf("two runs are called %q; give each a name of its own", label)}
		}
		seen[label] = true
		r, err := stages.OpenToAsk(dir, label)
		errs = append(errs, err)
		results = append(results, r)
	}
	if len(results) < 2 {
		return nil, usageError{errors.New("compare wants at least two folders: --simple-dir A --nixl-dir B, or --run LABEL=DIR twice")}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, bad(err)
	}
	return results, nil
}
