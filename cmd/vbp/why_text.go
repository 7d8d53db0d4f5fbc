package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"vbp/pipeline"
	"vbp/stages"
)

const clock = "2006-01-02 15:04:05"

// shortKey is how many digits of a key or digest tell it from others.
const shortKey = 12

func short(digest string) string { return digest[:min(shortKey, len(digest))] }

// printBrief prints a line for each point.
func printBrief(w io.Writer, e *stages.Explained) error {
	printExplained(w, e)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "point\tverdict\tmeasured\ttook\tattempt\tothers\tkey\thow\n")
	for _, b := range e.Results {
		verdict, when, took, attempt := "-", "-", "-", "none"
		if a := b.Shown; a != nil {
			verdict, when, took, attempt = a.Verdict, a.Created.Local().Format(clock), tookText(a.Seconds), a.Attempt
			if e.ImportedFrom != nil {
				when, attempt = "-", "-" // not here
			}
		}
		how := b.How
		if b.How != "measured" && len(b.Why) > 0 {
			how += ": " + firstOf(b.Why[len(b.Why)-1])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			strings.TrimPrefix(b.Node, "load "), verdict, when, took, attempt, othersText(b), short(b.Key), how)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nvbp why %s AXIS=VALUE... tells all about points", e.Run)
	if err == nil && len(e.Others) > 0 {
		_, err = fmt.Fprintf(w, "; other results: %s", strings.Join(e.Others, ", "))
	}
	fmt.Fprintln(w)
	return err
}

// othersText counts the attempts that are not shown, and those of them that
// were rejected.
func othersText(b stages.Behind) string {
	rejected := 0
	for _, a := range b.Others {
		if strings.HasPrefix(a.Verdict, "not valid") {
			rejected++
		}
	}
	if rejected > 0 {
		return fmt.Sprintf("%d, %d rejected", len(b.Others), rejected)
	}
	return fmt.Sprint(len(b.Others))
}

func printExplained(w io.Writer, e *stages.Explained) {
	fmt.Fprintf(w, "%s  %s  %s\n", e.Name, e.State, e.Run)
	for _, n := range e.Notes {
		fmt.Fprintf(w, "note  %s\n", n)
	}
	for _, f := range e.ImportedFrom {
		fmt.Fprintf(w, "imported from  %s  (%d bytes, sha256 %s)\n", f.Path, f.Bytes, f.SHA256)
	}
	fmt.Fprintln(w)
}

// printBehind prints all about each result.
func printBehind(w io.Writer, e *stages.Explained) error {
	var out bytes.Buffer
	printExplained(&out, e)
	for i, b := range e.Results {
		if i > 0 {
			fmt.Fprintln(&out)
		}
		one(&out, b)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// one prints all about one result, a paragraph for each side of it.
func one(w io.Writer, b stages.Behind) {
	fmt.Fprintf(w, "%s\n", b.Node)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s "+format+"\n", append([]any{name}, args...)...)
	}
	if a := b.Shown; a != nil {
		line("shows", "%s", attemptText(b, a))
		attempt(line, *a)
	} else {
		line("shows", "nothing: %s", b.How)
	}
	for _, t := range b.Tries {
		line("failed try", "%s", firstOf(t))
	}
	for i, why := range b.Why {
		name := "why"
		if i > 0 {
			name = ""
		}
		if why == pipeline.NotDoneYet {
			why = "it had not been done before"
		}
		line(name, "%s", firstOf(why))
	}
	if len(b.Others) > 0 {
		line("not shown", "%d under the same key", len(b.Others))
		for _, a := range b.Others {
			line("", "%s, made %s: %s%s", a.Attempt, a.Created.Local().Format(clock), a.NotShown, shownBy(a))
		}
	}
	for _, s := range b.Services {
		line("server", "%s", serviceText(s))
	}
	if b.Key != "" {
		line("key", "%s", b.Key)
		components(w, b)
	}
	files(line, b.Files)
	for i, m := range b.MadeOfIt {
		name := "made of it"
		if i > 0 {
			name = ""
		}
		line(name, "%s (%s)%s", m.Node, m.How, strings.Join(append([]string{""}, m.Files...), "\n"+strings.Repeat(" ", 17)))
	}
}

// attemptText says which attempt is shown, and where it comes from.
func attemptText(b stages.Behind, a *stages.Attempt) string {
	if b.How == "imported" {
		return "what was imported"
	}
	text := fmt.Sprintf("attempt %s, begun %s", a.Attempt, a.Created.Local().Format(clock))
	if a.Attempt == "0" {
		text = "made " + a.Created.Local().Format(clock)
	}
	if a.Seconds >= 1e-3 {
		text += ", took " + tookText(a.Seconds)
	}
	if b.How == "reused" {
		text += "; reused"
		if a.MadeBy != "" {
			text += " from " + a.MadeBy
		}
	}
	return text
}

// attempt prints what is known of the attempt that is shown.
func attempt(line func(name, format string, args ...any), a stages.Attempt) {
	if a.Verdict != "" {
		line("verdict", "%s", a.Verdict)
	}
	for _, r := range a.Rules {
		var facts []string
		for _, name := range slices.Sorted(maps.Keys(r.Facts)) {
			facts = append(facts, name+" is "+number(round(r.Facts[name], 6)))
		}
		mark := "holds"
		if r.Broken != "" {
			mark = "broken"
		}
		line("", "%s: %s (%s)", r.Rule, mark, strings.Join(append(facts, unknownFacts(r)...), ", "))
	}
	if a.Trouble != "" {
		line("stored", "%s", a.Trouble)
	}
	if len(a.Environment) > 0 {
		var env []string
		for _, k := range slices.Sorted(maps.Keys(a.Environment)) {
			env = append(env, k+"="+a.Environment[k])
		}
		line("environment", "%s", strings.Join(env, ", "))
	}
	for _, n := range a.Notes {
		line("note", "%s", n)
	}
	for i, run := range a.Runs {
		name := "shown by"
		if i > 0 {
			name = ""
		}
		line(name, "%s", run)
	}
}

// unknownFacts says so of a rule whose facts the point does not have.
func unknownFacts(r stages.CheckedRule) []string {
	if len(r.Facts) == 0 {
		return []string{"the point does not tell"}
	}
	return nil
}

func shownBy(a stages.Attempt) string {
	if len(a.Runs) == 0 {
		return ""
	}
	return "; shown by " + strings.Join(a.Runs, ", ")
}

// serviceText says when a server was up, or why it was started again.
func serviceText(s stages.ShownService) string {
	text := s.Node + ": up " + s.At.Local().Format(clock)
	if s.Again != "" {
		text = s.Node + ": " + againText(s) + ", up " + s.At.Local().Format(clock)
	}
	if s.Seconds > 0 {
		text += " after " + tookText(s.Seconds)
	}
	return text
}

// components prints the parts of a key, one a line.
func components(w io.Writer, b stages.Behind) {
	const widest = 100 // letters of a value; --json has all
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range b.Components {
		value := strings.ReplaceAll(c.Value, "\n", `\n`)
		if r := []rune(value); len(r) > widest {
			value = string(r[:widest-3]) + "..."
		}
		fmt.Fprintf(t, "               %s\t%s\n", c.Name, value)
	}
	const most = 12 // needs; a run of many points has as many
	for i, n := range b.Needs {
		if i == most {
			fmt.Fprintf(t, "               and %d more\t\n", len(b.Needs)-most)
			break
		}
		value := "no result"
		if n.Digest != "" {
			value = short(n.Digest)
		}
		if n.Attempts > 0 {
			value += fmt.Sprintf(" after %d attempts, %d of them rejected", n.Attempts, n.Rejected)
		}
		fmt.Fprintf(t, "               made from %s\t%s\n", n.Node, value)
	}
	_ = t.Flush() // to a buffer
}

// files prints where the files of a result are.
func files(line func(name, format string, args ...any), all []stages.KeptFile) {
	const most = 12 // of samples there are as many as points; --json has all
	for i, f := range all {
		name := "files"
		if i > 0 {
			name = ""
		}
		if i == most {
			line("", "and %d more", len(all)-most)
			break
		}
		where := f.InRun
		if where == "" {
			where = f.Name + ", not in the run's folder"
		}
		line(name, "%s  %d bytes  sha256 %s", where, f.Bytes, f.SHA256)
		if f.Trouble != "" {
			line("", "  %s", f.Trouble)
		}
		if f.InStore != "" {
			line("", "  stored as %s", f.InStore)
		}
	}
}

// tookText prints seconds.
func tookText(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return "-"
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return rough(d)
}

// firstOf is the first line of a text.
func firstOf(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
