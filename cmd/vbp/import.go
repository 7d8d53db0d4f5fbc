package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vbp/stages"
	"vbp/stages/runs"
)

func newImport() *cobra.Command {
	q := questionFlags{only: "both", formats: runs.Formats}
	var o stages.ImportOptions
	var spec specFlags
	cmd := &cobra.Command{
		Use:   "import [MODE=]FOLDER...",
		Short: "Make a run of results that other tools measured",
		Long: `Import reads folders of vLLM bench files (--save-result --save-detailed, or the
scripts' form), folders of DistServe's .exp files, and what vbp export wrote as
vllm or arrow, and makes one run of vbp of all: samples as Parquet, analysis,
figures and a journal that says where it is from. list, show, plot, compare,
export and DuckDB then treat it like any run.

The same files imported again in the same way are not stored twice: import says
where they are. MODE=FOLDER gives a folder's points a mode; --mode gives all the
same, and makes points of one rate in several folders repeats.`,
		Example: `  vbp import old/results/sharegpt/simple_20260101_120000 old/results/sharegpt/nixl_20260101_130000
  vbp import vllm=bench/vllm distserve=bench/distserve --name llama --ttft-slo 180 --tpot-slo 36`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("import wants at least one FOLDER of results")}
			}
			var err error
			if o.Question, err = q.check(cmd); err != nil {
				return err
			}
			site, err := spec.site()
			if err != nil {
				return err
			}
			o.Folders, o.Formats, o.Command = args, q.formats, "vbp "+strings.Join(os.Args[1:], " ")
			m, err := stages.Import(cmd.Context(), site, o)
			if err != nil {
				return badUnlessStopped(cmd, err)
			}
			return printImported(cmd, m)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "`name` of the run (default: after the folders)")
	f.StringVar(&o.Mode, "mode", "", "`mode` of the points (default: as the files say, else after the folder)")
	addResults(cmd, &spec.results)
	question := &cobra.Command{}
	q.add(question, "")
	for _, name := range []string{"ttft-slo", "tpot-slo", "atta-target", "scales", "scale-rate", "formats"} {
		f.AddFlag(question.Flags().Lookup(name))
	}
	return cmd
}

func printImported(cmd *cobra.Command, m *stages.Imported) error {
	w := cmd.OutOrStdout()
	for _, warning := range m.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "vbp: warning: %s\n", warning)
	}
	if m.New {
		fmt.Fprintf(w, "Imported %d points: %s\n", m.Points, m.RunDir)
	} else {
		fmt.Fprintf(w, "Nothing to do: these results are imported already: %s\n", m.RunDir)
	}
	s, err := stages.Show(m.RunDir)
	if err != nil {
		return err
	}
	if s.Analysis != nil {
		if err := printAnalysis(w, s.Analysis); err != nil {
			return err
		}
	}
	for _, figure := range s.Figures {
		fmt.Fprintf(w, "figure   %s\n", figure)
	}
	return nil
}
