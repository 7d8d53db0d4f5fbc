package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newExport() *cobra.Command {
	var format, out, results string
	cmd := &cobra.Command{
		Use:   "export RUN --format vllm|arrow|csv",
		Short: "Write the requests of a run as vLLM's result files, Arrow or CSV",
		Long: `Export writes what was measured for other tools. RUN is whatever plot reads: a
run of vbp, a folder of vLLM bench files, a folder of DistServe's .exp files.

  vllm   DIR/DATASET/MODE_YYYYMMDD_HHMMSS/vllm-RATEqps-MODEL-DATE-TIME.json, the
         scripts' layout, with all that vllm bench serve --save-result
         --save-detailed writes, tpots, and the scripts' metadata. Texts of
         answers are not kept by vbp and are empty. What vLLM has no name for is
         in a member "vbp" of the same file, from which vbp import and vbp plot
         read back exactly what was exported.
  arrow  one Arrow IPC file (Feather version 2) of all requests; the axes are
         columns. vbp import and vbp plot read it back exactly, too.
  csv    one CSV file of all requests; absent is empty, gaps_us is a JSON list.

Each series has a folder in vllm's layout, and each repeat a file. Nothing that
is there already is replaced.`,
		Example: `  vbp export results/quickstart/20260101_120000 --format vllm --out exported
  vbp export quickstart/20260101_120000 --format arrow`,
		Args: exactly(1, "one run: its folder, or its name as list prints it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case format == "":
				return usageError{fmt.Errorf("--format says what to write: %s", strings.Join(stages.ExportFormats, ", "))}
			case !slices.Contains(stages.ExportFormats, format):
				return usageError{fmt.Errorf("--format knows %s, not %q", strings.Join(stages.ExportFormats, ", "), format)}
			case out == "":
				return usageError{errors.New("--out names a folder")}
			}
			r, err := stages.OpenResults(runFolder(args[0], results), "")
			if err != nil {
				return bad(err)
			}
			e, err := stages.Export(cmd.Context(), r, format, out)
			if err != nil {
				return badUnlessStopped(cmd, err)
			}
			for _, w := range slices.Concat(r.Warnings, e.Warnings) {
				fmt.Fprintf(cmd.ErrOrStderr(), "vbp: warning: %s\n", w)
			}
			for _, path := range e.Paths {
				fmt.Fprintf(cmd.OutOrStdout(), "exported %s\n", path)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "`form` to write: "+strings.Join(stages.ExportFormats, ", "))
	f.StringVar(&out, "out", "exports", "`folder` to write into")
	addResults(cmd, &results)
	return cmd
}

// badUnlessStopped marks an error of what was asked for; an interrupt and a
// full disk are none.
func badUnlessStopped(cmd *cobra.Command, err error) error {
	switch {
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case errors.Is(err, syscall.ENOSPC):
		return err
	}
	return bad(err)
}
