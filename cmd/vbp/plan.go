package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vbp/pipeline"
	"vbp/stages"
)

func newPlan() *cobra.Command {
	var f specFlags
	var asJSON, detailed bool
	var o stages.PlanChoices
	cmd := &cobra.Command{
		Use:   "plan SPEC",
		Short: "Say what apply would run or reuse, and why; nothing is started or written",
		Long: `Plan prints every node of the spec's graph with what apply would do:

  run      it has no result yet, or the reason says what changed
  reuse    its result is still true
  pending  decided when what it waits for has been made
  leave    a deployment or warm-up that nothing needs
  skip     left out by --only

When a deployment starts for some points, the others of it are reused unless
the environment that is then observed (engine version, model) differs. A server
that already runs (endpoint) is asked at once. At the end stand the estimated
time in both orders of measuring (sweep.order), and the command lines and
environment of every server that would be started.

With --detailed-exitcode the exit code is 0 if there is nothing to do and 3 if
there is something.`,
		Example: "  vbp plan examples/quickstart.yaml\n  vbp plan examples/quickstart.yaml --set slo.tpot=15ms\n  vbp plan examples/quickstart.yaml --detailed-exitcode",
		Args:    exactly(1, "one spec file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			exp, err := f.load(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			site, err := f.site()
			if err != nil {
				return err
			}
			p, err := stages.PlanOf(cmd.Context(), exp, site, o)
			if err != nil {
				return bad(err)
			}
			starts, err := stages.Starts(cmd.Context(), p, exp, site)
			if err != nil {
				return bad(err)
			}
			estimate, err := stages.EstimateOf(p, exp, site)
			if err != nil {
				return err
			}
			if asJSON {
				err = planJSON(cmd.OutOrStdout(), p, estimate, starts)
			} else {
				err = printPlan(cmd.OutOrStdout(), p, estimate, starts)
			}
			if err == nil && detailed && (p.Todo() > 0 || o.CheckEnvironment) {
				return exitError{code: exitTodo}
			}
			return err
		},
	}
	f.add(cmd)
	addChoices(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 3 if there is something to do")
	return cmd
}

const uncheckedText = "Measurements are reused without a look at the servers' present environment; --check-environment deploys to look"

func printPlan(w io.Writer, p *pipeline.Plan, e stages.Estimate, starts []stages.Start) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range p.Decisions {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.Action, d.Node.ID, d.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	text := planSummary(p)
	if e.Points > 0 {
		text += "\n" + estimateText(e)
	}
	if p.Unchecked() {
		text += "\n" + uncheckedText
	}
	_, err := fmt.Fprintf(w, "%s\n%s", text, startsText(starts))
	return err
}

// estimateText says how long a plan takes, in both orders.
func estimateText(e stages.Estimate) string {
	blocks, written := "in random blocks", "as written"
	if e.Order == "as_written" {
		written += " (this spec's order)"
	} else {
		blocks += " (this spec's order)"
	}
	text := fmt.Sprintf("Estimated time: %s %s, %s %s; %d of %d points by when they were measured before, the others by their schedule",
		rough(e.Blocks), blocks, rough(e.AsWritten), written, e.Known, e.Points)
	if e.Guessed > 0 {
		text += fmt.Sprintf("; %d of %d starts are a guess", e.Guessed, e.Starts)
	}
	return text
}

// rough prints a duration to two figures or so.
func rough(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	return strings.TrimSuffix(d.String(), "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(d.String(), "m0s")]
}

// startsText is every command line of the servers that would be started, to be
// pasted into a shell.
func startsText(starts []stages.Start) string {
	var b, trouble strings.Builder
	again := make(map[string]int)
	for _, s := range starts {
		if s.Again {
			again[s.Deployment]++
		}
	}
	for _, s := range starts {
		if s.Again {
			continue
		}
		if s.Endpoint != "" {
			if s.Trouble != "" {
				fmt.Fprintf(&trouble, "\n%s would fail now: %s\n", s.Node, s.Trouble)
			}
			continue
		}
		fmt.Fprintf(&b, "\n# %s", s.Node)
		if n := again[s.Deployment]; n > 0 {
			fmt.Fprintf(&b, ", and again in %d more block%s", n, map[bool]string{true: "s"}[n > 1])
		}
		fmt.Fprintln(&b)
		for _, p := range s.Processes {
			fmt.Fprintln(&b, p.Shell())
		}
	}
	text := trouble.String()
	if b.Len() > 0 {
		text += "\nServers that would be started (a port that was picked and is taken by then is replaced):\n" + b.String()
	}
	return text
}

// planSummary counts a plan's decisions in one line.
func planSummary(p *pipeline.Plan) string {
	n := make(map[pipeline.Action]int)
	for _, d := range p.Decisions {
		n[d.Action]++
	}
	text := fmt.Sprintf("%d to run, %d pending, %d reused, %d not needed",
		n[pipeline.Run], n[pipeline.Pending], n[pipeline.Reuse], n[pipeline.Leave])
	if left := n[pipeline.Skip]; left > 0 {
		text += fmt.Sprintf(", %d left out", left)
	}
	return text
}

func planJSON(w io.Writer, p *pipeline.Plan, e stages.Estimate, starts []stages.Start) error {
	type process struct {
		Name  string   `json:"name"`
		Role  string   `json:"role"`
		Env   []string `json:"env"`
		Argv  []string `json:"argv"`
		Port  int      `json:"port"`
		GPUs  []string `json:"gpus"`
		Shell string   `json:"shell"`
	}
	processes := make(map[string][]process)
	for _, s := range starts {
		for _, p := range s.Processes {
			processes[s.Node] = append(processes[s.Node], process{
				p.Name, string(p.Role), append([]string{}, p.Env...), p.Argv, p.Port, append([]string{}, p.GPUs...), p.Shell(),
			})
		}
	}
	type row struct {
		Node        string          `json:"node"`
		Stage       string          `json:"stage"`
		Kind        string          `json:"kind"`
		Action      pipeline.Action `json:"action"`
		Conditional bool            `json:"conditional"`
		Why         string          `json:"why"`
		Key         string          `json:"key,omitempty"`
		Needs       []string        `json:"needs"`
		Processes   []process       `json:"processes,omitempty"`
	}
	rows := make([]row, 0, len(p.Decisions))
	for _, d := range p.Decisions {
		rows = append(rows, row{
			Node: d.Node.ID, Stage: d.Node.Stage, Kind: d.Node.Kind.String(), Action: d.Action,
			Conditional: d.Conditional, Why: d.Why, Key: string(d.Key), Needs: append([]string{}, d.Node.Needs...),
			Processes: processes[d.Node.ID],
		})
	}
	return printJSON(w, struct {
		Nodes    []row `json:"nodes"`
		Todo     int   `json:"todo"` // nodes with a result that are to run or wait for one
		Estimate any   `json:"estimate"`
	}{rows, p.Todo(), struct {
		Order     string  `json:"order"`
		Blocks    float64 `json:"blocks_s"`
		AsWritten float64 `json:"as_written_s"`
	}{e.Order, e.Blocks.Seconds(), e.AsWritten.Seconds()}})
}
