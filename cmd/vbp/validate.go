package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newValidate() *cobra.Command {
	var f specFlags
	var show bool
	cmd := &cobra.Command{
		Use:   "validate SPEC",
		Short: "Check a spec and say how much work it declares",
		Long: `Validate reads the spec with the environment and --set applied, and tells
every mistake with file:line:col. It also builds the plan's graph, so datasets
that cannot be read and engines that cannot be deployed are found too. GPUs and
programs that this machine lacks are not: vbp plan tells of them.`,
		Example: "  vbp validate examples/quickstart.yaml\n  vbp validate spec.yaml --resolved",
		Args:    exactly(1, "one spec file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			exp, err := f.load(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if show {
				_, err := cmd.OutOrStdout().Write(exp.Resolved)
				return err
			}
			site, err := f.site()
			if err != nil {
				return err
			}
			site.Elsewhere = true
			g, err := stages.Build(exp, site)
			if err != nil {
				return bad(err)
			}
			points, err := exp.Points()
			if err != nil {
				return bad(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: modes %s; %d load points; %d steps in all\n",
				args[0], strings.Join(exp.Sweep.Modes, ", "), len(points), len(g.Nodes))
			return err
		},
	}
	f.addSet(cmd)
	cmd.Flags().BoolVar(&show, "resolved", false, "print the spec as it is understood, environment and --set applied")
	return cmd
}
