package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"vbp/stages/deploy/engine"
	"vbp/stages/load"
	"vbp/stages/load/loop"
)

// version is what is released; the CHANGELOG says what is in it.
const version = "0.1.0"

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of vbp and of what its measurements depend on",
		Example: "  vbp version --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{
				"vbp": version, "revision": revision(), "engine": engine.Identity, "client": client(), "go": runtime.Version(),
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "vbp %s (%s), engine %s, client %s, %s\n",
				v["vbp"], v["revision"], v["engine"], v["client"], v["go"])
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// client is how this machine measures a server that speaks plain http.
func client() string {
	t, err := loop.For("http://localhost", loop.Auto, loop.Options{})
	if err != nil {
		return load.Protocol
	}
	return t.Protocol()
}

// revision is the commit that the program was built from, if it was told.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown revision"
	}
	rev, modified := "unknown revision", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	return rev + modified
}
