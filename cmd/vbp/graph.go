package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vbp/stages"
)

// graphFormats are the languages that graph writes.
var graphFormats = []string{"mermaid", "dot"}

func newGraph() *cobra.Command {
	var f specFlags
	var format, out string
	var points bool
	cmd := &cobra.Command{
		Use:   "graph SPEC",
		Short: "Write the graph of a spec's work as Mermaid or DOT",
		Long: `Graph writes what apply would work through, as a flowchart for Mermaid (GitHub
and GitLab draw it inside a fence) or for Graphviz. An arrow goes from a node
to what needs it. Outlines tell kinds apart: servers are hexagons, warm-ups are
round, measurements are slanted, computed results are boxes. The points of one
deployment are one box; --points shows each.`,
		Example: "  vbp graph examples/quickstart.yaml\n  vbp graph examples/quickstart.yaml --points --format dot | dot -Tsvg > graph.svg",
		Args:    exactly(1, "one spec file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch ext := filepath.Ext(out); {
			case !cmd.Flags().Changed("format") && (ext == ".dot" || ext == ".gv"):
				format = "dot"
			case !slices.Contains(graphFormats, format):
				return usageError{fmt.Errorf("--format knows %s, not %q", strings.Join(graphFormats, ", "), format)}
			}
			exp, err := f.load(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			site, err := f.site()
			if err != nil {
				return err
			}
			site.Elsewhere = true
			g, err := stages.BuildToDraw(exp, site)
			if err != nil {
				return bad(err)
			}
			d, err := stages.NewDiagram(exp, g, points)
			if err != nil {
				return bad(err)
			}
			text := d.DOT()
			if format == "mermaid" {
				text = d.Mermaid()
				if n := len(d.Arrows); n > stages.MaxMermaidArrows {
					fmt.Fprintf(cmd.ErrOrStderr(), "vbp: warning: the graph has %d arrows, and Mermaid draws at most %d unless its maxEdges is raised; --format dot has no limit\n", n, stages.MaxMermaidArrows)
				}
			}
			return writeMade(cmd.OutOrStdout(), out, text, stages.DiagramMark)
		},
	}
	f.addSet(cmd)
	cmd.Flags().StringVar(&format, "format", "mermaid", "`language` of the graph: "+strings.Join(graphFormats, " or "))
	cmd.Flags().BoolVar(&points, "points", false, "a box for each load point, not one for all of a deployment")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write instead of stdout; .dot and .gv say --format dot")
	return cmd
}
