package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vbp/stages"
)

func newShow() *cobra.Command {
	var asJSON bool
	var results string
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Tell everything about one run: points, verdicts, servers, figures",
		Long: `Show reads a run's folder: how each point came to be (measured, reused,
failed), how many attempts stand behind it and which rules rejected ones broke,
its verdict and the facts behind it, the servers that were started, and started
again, the points that are left, and the table of the analysis. vbp why tells
more about one point.`,
		Example: "  vbp show results/quickstart/20260101_120000\n  vbp show quickstart/20260101_120000",
		Args:    exactly(1, "one run: its folder, or its name as list prints it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := stages.Show(runFolder(args[0], results))
			if err != nil {
				return bad(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return printShown(cmd.OutOrStdout(), s)
		},
	}
	addResults(cmd, &results)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// runFolder is the folder of a run that is named by its folder, or as list
// prints it.
func runFolder(name, results string) string {
	if _, err := os.Stat(name); err != nil {
		if inResults := filepath.Join(results, name); isDir(inResults) {
			return inResults
		}
	}
	return name
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func printShown(w io.Writer, s *stages.Shown) error {
	fmt.Fprintf(w, "%s  %s\n", s.Name, s.State)
	fmt.Fprintf(w, "begun    %s, took %s\n", s.Begun.Local().Format("2006-01-02 15:04:05"), time.Duration(s.Seconds*float64(time.Second)).Round(time.Second))
	fmt.Fprintf(w, "command  %s\n", s.Command)
	for _, v := range s.Services {
		if v.Again != "" {
			fmt.Fprintf(w, "server   %s: %s\n", strings.TrimPrefix(v.Node, "deploy "), againText(v))
			continue
		}
		var env []string
		for _, k := range slices.Sorted(maps.Keys(v.Environment)) {
			env = append(env, k+"="+v.Environment[k])
		}
		fmt.Fprintf(w, "server   %s: %s\n", v.Node, strings.Join(env, ", "))
	}
	for _, m := range methods(s.Points) {
		fmt.Fprintf(w, "method   %s\n", m)
	}
	for _, f := range s.Failures {
		fmt.Fprintf(w, "failure  %s\n", f)
	}
	for _, l := range s.Left {
		fmt.Fprintf(w, "left     %s: %s\n", nodesText("point"+map[bool]string{true: "s"}[len(l.Points) > 1], l.Points), firstOf(l.Why))
	}
	for _, f := range s.Figures {
		fmt.Fprintf(w, "figure   %s\n", f)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "point\tverdict\tsent\tfailed\tachieved req/s\tlag p99 ms\tschedule kept\tlocal prefills\tcaches reset\thow\n")
	for _, p := range s.Points {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Node, p.Verdict,
			fact(p, "sent"), fact(p, "failed"), fact(p, "achieved_qps"), fact(p, "send_lag_p99_ms"), fact(p, "schedule_kept"),
			fact(p, "fallbacks"), yesNo(p, "cache_reset"), p.How)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range s.Points {
		if text := handover(p.Facts); text != "" {
			fmt.Fprintf(w, "handover %s: %s\n", p.Node, text)
		}
	}
	for _, p := range s.Points {
		for _, n := range p.Notes {
			fmt.Fprintf(w, "note     %s: %s\n", p.Node, n)
		}
	}
	if s.Analysis == nil {
		return nil
	}
	fmt.Fprintln(w)
	return printAnalysis(w, s.Analysis)
}

// methods are the ways in which points were measured, each once; with the
// points where there are several.
func methods(points []stages.ShownPoint) []string {
	var texts []string
	by := make(map[string][]string)
	for _, p := range points {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(p.Method)) {
			parts = append(parts, strings.ReplaceAll(k, "_", " ")+": "+p.Method[k])
		}
		if len(parts) == 0 {
			continue
		}
		text := strings.Join(parts, "; ")
		if by[text] == nil {
			texts = append(texts, text)
		}
		by[text] = append(by[text], p.Node)
	}
	for i, text := range texts {
		if len(texts) > 1 {
			texts[i] = nodesText("point"+map[bool]string{true: "s"}[len(by[text]) > 1], by[text]) + ": " + text
		}
	}
	return texts
}

// againText says that a server was started again, and why.
func againText(v stages.ShownService) string {
	text := "started " + v.Again // "again (1 of 2)"
	if v.Why != "" {
		text += ": " + v.Why
	}
	return text
}

// handover says what of the prompts' KV went from prefill to decode instances;
// "" of a point where nothing tells.
func handover(facts map[string]float64) string {
	var parts []string
	say := func(name, form string, scale float64) {
		if v, told := facts[name]; told {
			parts = append(parts, fmt.Sprintf(form, v*scale))
		}
	}
	if facts["nixl_bytes"]+facts["nixl_failed"]+facts["external_hit_tokens"]+facts["fallbacks"] == 0 {
		return ""
	}
	say("external_hit_share", "%.1f %% of the prompt tokens", 100)
	say("nixl_bytes", "%.1f MB by NIXL", 1e-6)
	say("nixl_transfer_mean_ms", "%.1f ms a transfer", 1)
	say("nixl_failed", "%.0f failed", 1)
	say("nixl_expired", "%.0f expired", 1)
	say("fallbacks", "%.0f prefilled by decode", 1)
	return strings.Join(parts, ", ")
}

func fact(p stages.ShownPoint, name string) string {
	v, ok := p.Facts[name]
	if !ok {
		return "-"
	}
	return number(round(v, 3))
}

func yesNo(p stages.ShownPoint, name string) string {
	switch v, ok := p.Facts[name]; {
	case !ok:
		return "-"
	case v > 0:
		return "yes"
	}
	return "no"
}
