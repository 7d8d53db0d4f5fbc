package main

import (
	"os"

	"github.com/spf13/cobra"

	"vbp/stages/deploy/local"
)

// newGuard is the command that vbp starts servers under. It is of no use to
// people.
func newGuard() *cobra.Command {
	return &cobra.Command{
		Use:                "guard",
		Short:              "Run a server that ends with the vbp that wants it",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := local.RunGuardian(args, os.Stdin, cmd.OutOrStdout()); code != 0 {
				return exitError{code: code}
			}
			return nil
		},
	}
}
