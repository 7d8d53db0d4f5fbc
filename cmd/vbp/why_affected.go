package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"vbp/stages"
)

// printAffected prints what a file's change would reach in each spec.
func printAffected(w io.Writer, file string, all []*stages.Affected) error {
	var out bytes.Buffer
	some := false
	for i, a := range all {
		if i > 0 {
			fmt.Fprintln(&out)
		}
		some = affected(&out, a) || some
	}
	if !some {
		fmt.Fprintf(&out, "\nnothing would change: no result is made from %s\n", file)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// affected prints what would be done again in one spec, and reports whether
// there is anything.
func affected(w io.Writer, a *stages.Affected) bool {
	where := a.Spec
	if a.Run != "" {
		where = a.Run
	}
	fmt.Fprintf(w, "%s  (%s)\n", a.Name, where)
	line := func(name, text string) { fmt.Fprintf(w, "  %-10s %s\n", name, text) }
	if a.Any {
		line("any", "the file is the spec itself: what a change reaches depends on what is changed; vbp plan says which nodes, and by which part of their keys")
	}
	// Points of one sweep are in for one reason.
	type reason struct{ stage, component, how string }
	var order []reason
	nodes := make(map[reason][]string)
	for _, n := range a.Direct {
		r := reason{n.Stage, n.Component, n.How}
		if nodes[r] == nil {
			order = append(order, r)
		}
		nodes[r] = append(nodes[r], n.Node)
	}
	for _, r := range order {
		line("anew", fmt.Sprintf("%s, by %s: %s", nodesText(r.stage, nodes[r]), r.component, r.how))
	}
	list := func(name string, all []stages.StageNodes) {
		var parts []string
		for _, s := range all {
			parts = append(parts, nodesText(s.Stage, s.Nodes))
		}
		if len(parts) > 0 {
			line(name, strings.Join(parts, "; "))
		}
	}
	list("started", a.Started)
	list("then", a.Follow)
	if len(a.Direct) > 0 {
		list("stays", a.Unchanged)
	} else if !a.Any {
		line("stays", "everything")
	}
	for _, n := range a.Notes {
		line("note", n)
	}
	return len(a.Direct) > 0 || a.Any
}

// nodesText counts and names nodes of a stage, as many as a line holds.
func nodesText(stage string, nodes []string) string {
	const most = 4
	if len(nodes) == 1 && nodes[0] == stage {
		return stage
	}
	var names []string
	for _, n := range nodes[:min(most, len(nodes))] {
		names = append(names, strings.TrimPrefix(n, stage+" "))
	}
	text := strings.Join(names, ", ")
	if len(nodes) > most {
		text += fmt.Sprintf(" and %d more", len(nodes)-most)
	}
	return fmt.Sprintf("%d %s (%s)", len(nodes), stage, text)
}
