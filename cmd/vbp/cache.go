package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vbp/stages/upkeep"
)

func newCache() *cobra.Command {
	var results string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Tell of the store of results, or check it (cache verify)",
		Long: `Cache tells where the results are kept that applies reuse, how many there are
and what they take on the disk. Their files are in folders of runs too, as
further names of the same files, which take their room once.

vbp cache verify reads all of them; vbp prune removes old ones.`,
		Example: "  vbp cache\n  vbp cache verify\n  vbp cache --results /data/results --json",
		Args:    knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := upkeep.UseOfStore(cmd.Context(), results)
			if err != nil {
				return badUnlessStopped(cmd, err)
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return printJSON(w, u)
			}
			fmt.Fprintf(w, "store    %s\n", u.Store)
			fmt.Fprintf(w, "holds    %s, %s\n", counted(u.Results, "result"), bytesText(u.Bytes))
			fmt.Fprintf(w, "shared   %s of it with the folders of %s\n", bytesText(u.Shared), counted(u.Runs, "run"))
			if u.Unused > 0 {
				fmt.Fprintf(w, "unused   %s of it, %s that no run refers to; vbp prune removes them once they are old\n", bytesText(u.Idle), counted(u.Unused, "result"))
			}
			tellUnread(w, u.Unread)
			return nil
		},
	}
	addResults(cmd, &results)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.SuggestionsMinimumDistance = 2 // as of vbp itself
	cmd.AddCommand(newCacheVerify())
	return cmd
}

func newCacheVerify() *cobra.Command {
	var results string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read every stored result and compare its checksums",
		Long: `Verify reads every stored result, and names each that is not what was written,
the runs that show it, and what to do. Nothing is changed. The exit code is 0 if
all is well, else 1.

Apply makes damaged results again by itself where it reads them; verify also
finds those that nothing has read.`,
		Example: "  vbp cache verify\n  vbp cache verify --results /data/results --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			meter := &meter{w: cmd.ErrOrStderr(), shows: isTerminal(cmd.ErrOrStderr())}
			c, err := upkeep.VerifyStore(cmd.Context(), results, meter.count)
			meter.end()
			if err != nil {
				return badUnlessStopped(cmd, err)
			}
			if asJSON {
				err = printJSON(w, c)
			} else {
				printCheck(w, c)
			}
			if err == nil && len(c.Damaged) > 0 {
				return exitError{code: exitNothing}
			}
			return err
		},
	}
	addResults(cmd, &results)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// printCheck names what is damaged, and what to do about it.
func printCheck(w io.Writer, c *upkeep.StoreCheck) {
	hidden := 0
	for _, d := range c.Damaged {
		what, state := d.Slot, "damaged"
		if d.Unreadable {
			state = "hidden "
			hidden++
		}
		if what == "" {
			what = strings.Join(d.Nodes, ", ")
		}
		if d.Key == "" {
			what = "not a result"
		}
		if what == "" {
			what = "a result that no run refers to"
		}
		fmt.Fprintf(w, "%s  %s: %s\n", state, what, d.What)
		fmt.Fprintf(w, "         %s\n", d.Path)
		for _, run := range d.Runs {
			fmt.Fprintf(w, "         shown by %s\n", run)
		}
	}
	tellUnread(w, c.Unread)
	fmt.Fprintf(w, "%s, %s: ", counted(c.Results, "result"), bytesText(c.Bytes))
	if len(c.Damaged) == 0 {
		fmt.Fprintln(w, "every one is what was written.")
		return
	}
	if n := len(c.Damaged) - hidden; n > 0 {
		fmt.Fprintf(w, "%d damaged. Delete the folders named above (rm -r); the next vbp apply of the spec makes them again. Runs that show them hold the same files.\n", n)
	}
	if hidden > 0 {
		fmt.Fprintf(w, "%d hidden: these could not be read and may be whole; mend the disk or the permissions.\n", hidden)
	}
}

func tellUnread(w io.Writer, runs []string) {
	for _, run := range runs {
		fmt.Fprintf(w, "note     the journal of %s cannot be read to its end: what it refers to is not known\n", run)
	}
}

// meter shows on a terminal how far something is.
type meter struct {
	w     io.Writer
	shows bool
	last  time.Time
	drawn bool
}

func (m *meter) count(done, all int) {
	const pause = 100 * time.Millisecond // what eyes can follow
	if now := time.Now(); m.shows && now.Sub(m.last) >= pause {
		m.last, m.drawn = now, true
		fmt.Fprintf(m.w, "\rread %d of %d results", done, all)
	}
}

// end removes what was shown.
func (m *meter) end() {
	if m.drawn {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}
