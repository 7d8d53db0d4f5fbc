package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"vbp/stages/load"
	"vbp/stages/load/doctor"
	"vbp/stages/load/loop"
	"vbp/stages/load/metronome"
)

func newDoctor() *cobra.Command {
	var quick, asJSON bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can vouch for as a client",
		Long: `Doctor runs the client of vbp against a server of known timing on this machine,
at rates that rise until what the client measures is further from what the
server knows than --within allows: its TTFT, its TPOT, and when it sends. It
prints up to what rate and how many streams this machine's measurements can be
trusted, what limits them, and the commands that raise the limits.

It takes 20 s (--quick: 5 s) and should run when nothing else does. A vbp apply
on the same machine can then be trusted as far, as long as its server does not
compete for the same cores. The error is 99th percentile; the median may be a
tenth of it, the error of TPOT a fiftieth.

Exit code 1: not even the lowest rate can be vouched for.`,
		Example: "  vbp doctor\n  vbp doctor --quick --json\n  vbp doctor --within 1ms",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if within <= 0 {
				return usageError{fmt.Errorf("--within %v: want a duration above 0, such as 5ms", within)}
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o := doctor.Options{
				Clients: examined(),
				Server: func() *exec.Cmd {
					c := exec.CommandContext(cmd.Context(), self, "doctor", "metronome")
					c.Stderr = cmd.ErrOrStderr()
					return c
				},
				Within: within,
				Quick:  quick,
			}
			if !asJSON {
				o.Progress = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
			}
			r, err := doctor.Examine(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				err = printDoctor(cmd.OutOrStdout(), r)
			}
			if err == nil && !r.Fit() {
				err = errors.New("this machine cannot vouch for even the lowest rate; what was found says why")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "take 5 s: fewer rates, shorter looks, no look at many streams")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().DurationVar(&within, "within", 5*time.Millisecond, "how wrong the client may be (99th percentile of TTFT and of lateness)")
	cmd.AddCommand(newMetronome())
	return cmd
}

// newMetronome is the server that doctor examines with, as a process of its
// own. It is of no use to people.
func newMetronome() *cobra.Command {
	return &cobra.Command{
		Use:    "metronome",
		Short:  "Serve with known timing for vbp doctor",
		Hidden: true,
		Args:   none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return metronome.RunChild(os.Stdin, cmd.OutOrStdout())
		},
	}
}

// examined are the transports that this system has, the best one first.
func examined() []doctor.Client {
	all := []doctor.Client{{Name: "net/http", Transport: load.NewHTTP()}}
	if t, err := loop.New(loop.Options{}); err == nil {
		all = append([]doctor.Client{{Name: "epoll", Transport: t}}, all...)
	}
	return all
}

func printDoctor(w io.Writer, r *doctor.Report) error {
	m := &r.Machine
	fmt.Fprintf(w, "%s %s, %s, %s\n", m.OS, m.Kernel, m.Arch, counted(m.Cores, "core"))
	for _, c := range r.Clients {
		fmt.Fprintf(w, "\nclient %s (errors in us)\n", c.Client)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\trequests/s\tstreams\tevents/s\tTTFT p50\tp99\tTPOT p99\tlateness p50\tp99\t  verdict\n")
		for _, rung := range c.Rungs {
			x := rung.Reading
			verdict := "right"
			switch {
			case rung.Limit != "":
				verdict = "not known: " + rung.Limit
			case rung.Beyond != "":
				verdict = "too far off: " + rung.Beyond
			}
			if rung.Kind == doctor.BySpeed {
				fmt.Fprintf(t, "\tall at once\t%d\t%.0f\t-\t-\t-\t-\t-\t  \n", x.Streams, x.Events)
				continue
			}
			fmt.Fprintf(t, "\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t  %s\n", number(x.Rate), x.Streams, x.Events,
				x.TTFT.P50, x.TTFT.P99, x.TPOT.P99, x.Lateness.P50, x.Lateness.P99, verdict)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\n", vouch(c))
	}
	fmt.Fprintf(w, "\nlimits\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	if m.Quota > 0 {
		row("processors", "%s of %d by the control group", number(m.Quota), m.Cores)
	}
	if m.Files > 0 {
		row("open files", "%d (hard limit %d)", m.Files, m.FilesHard)
	}
	if p := m.Ports(); p > 0 {
		row("ports", "%d to %d: %d connections to a server from one address", m.PortFirst, m.PortLast, p)
	}
	if m.Clock != "" {
		row("clock", "%s", m.Clock)
	}
	row("timer", "rings %.0f us late (p50), %.0f us (p99)", m.Timer.P50, m.Timer.P99)
	row("receive times", "%s", map[bool]string{true: "from the kernel", false: "when read: the kernel does not tell"}[m.Stamps])
	row("others", "%.0f %% busy, %.0f %% stolen", 100*m.Busy, 100*m.Stolen)
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		fmt.Fprintf(w, "\nfound\n")
	}
	for _, f := range r.Findings {
		mark := "-"
		if f.Grave {
			mark = "!"
		}
		fmt.Fprintf(w, "  %s %s\n", mark, f.What)
		if f.Do != "" {
			fmt.Fprintf(w, "      %s\n", f.Do)
		}
	}
	return nil
}

// vouch says in a sentence what a client can be trusted with.
func vouch(c doctor.Vouched) string {
	var parts []string
	switch c.Bound {
	case doctor.None:
		if c.Error != "" {
			return "could not be examined: " + c.Error
		}
		for _, rung := range c.Rungs {
			if rung.Limit != "" {
				return "vouches for nothing: " + rung.Limit + ", the lowest there is"
			}
		}
		return "vouches for nothing: even the lowest rate was too far off"
	case doctor.AtLeast:
		parts = append(parts, fmt.Sprintf("vouches for at least %s requests/s of %d tokens, the highest rate that could be tried", number(c.Rate), c.Tokens))
	default:
		parts = append(parts, fmt.Sprintf("vouches for %s requests/s of %d tokens", number(c.Rate), c.Tokens))
	}
	if c.Streams > 0 {
		parts = append(parts, fmt.Sprintf("%d streams at a time", c.Streams))
	}
	if c.EventsPerCore > 0 {
		parts = append(parts, fmt.Sprintf("reads %.2f million events/s with a core", c.EventsPerCore/1e6))
	}
	if c.Error != "" {
		parts = append(parts, "then it failed: "+c.Error)
	}
	return strings.Join(parts, "; ")
}
