package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vbp/specs"
	"vbp/stages"
	"vbp/stages/deploy/attach"
	"vbp/stages/deploy/local"
)

// specFlags are the flags of every command that reads a spec.
type specFlags struct {
	set     []string
	results string
}

func (f *specFlags) add(cmd *cobra.Command) {
	f.addSet(cmd)
	addResults(cmd, &f.results)
}

func (f *specFlags) addSet(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "override a value of the spec, `path=value`; may be repeated")
}

func addResults(cmd *cobra.Command, results *string) {
	cmd.Flags().StringVar(results, "results", "results", "`folder` of all runs and of the store of artefacts")
}

// addCheck adds the flag of plan and apply that does not take yesterday's
// environment for today's.
func addCheck(cmd *cobra.Command, check *bool) {
	cmd.Flags().BoolVar(check, "check-environment", false, "deploy even what is all reused, and measure again what another environment measured")
}

// load reads and checks the spec; warnings go to stderr.
func (f *specFlags) load(file string, stderr io.Writer) (*specs.Experiment, error) {
	exp, err := specs.Load(file, specs.Options{Set: f.set})
	if err != nil {
		return nil, bad(err)
	}
	for _, w := range exp.Warnings {
		fmt.Fprintf(stderr, "vbp: warning: %s\n", w)
	}
	return exp, nil
}

// site describes this machine.
func (f *specFlags) site() (*stages.Site, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the vbp program itself: %w", err)
	}
	return stages.NewSite(self, f.results, local.New(self), attach.New())
}
