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

// addChoices adds the flags of plan and apply that want something else than
// what the store says.
func addChoices(cmd *cobra.Command, o *stages.PlanChoices) {
	fl := cmd.Flags()
	fl.BoolVar(&o.CheckEnvironment, "check-environment", false, "deploy even what is all reused, and measure again what another environment measured")
	fl.StringArrayVar(&o.Only, "only", nil, "run this `stage` alone (and the servers that it needs), such as load or plot; may be repeated")
	fl.StringArrayVar(&o.Rerun, "rerun", nil, "run a `stage`, or points by their axes (\"mode=nixl qps=4\"), though there is a result; may be repeated")
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
