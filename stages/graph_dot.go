package stages

import (
	"fmt"
	"strings"
	"unicode"
)

// DOT writes the diagram in Graphviz' language.
func (d *Diagram) DOT() []byte {
	var b strings.Builder
	var legend []string
	for _, l := range looks {
		legend = append(legend, fmt.Sprintf("%s: %s", l.dot, l.means))
	}
	fmt.Fprintf(&b, "// %s\ndigraph vbp {\n  rankdir=LR\n  label=\"%s\\n%s\"\n  labelloc=t\n", DiagramMark, dotText(d.Title), dotText(strings.Join(legend, "; ")))
	b.WriteString("  fontname=\"Helvetica\"\n  node [fontname=\"Helvetica\", fontsize=11, style=filled]\n  edge [color=\"#6b7280\"]\n")
	for i, g := range d.Groups {
		indent := "  "
		if !g.alone() {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=\"%s\"\n    color=\"#9ca3af\"\n", i, dotText(g.Stage))
			indent = "    "
		}
		for _, x := range g.Boxes {
			lines := make([]string, len(x.Lines))
			for j, line := range x.Lines {
				lines[j] = dotText(line)
			}
			l := lookOf(x.Kind)
			fmt.Fprintf(&b, "%s%s [label=\"%s\", shape=%s, fillcolor=\"%s\", color=\"%s\"]\n", indent, x.ID, strings.Join(lines, `\n`), l.dot, l.fill, l.line)
		}
		if !g.alone() {
			b.WriteString("  }\n")
		}
	}
	for _, a := range d.Arrows {
		fmt.Fprintf(&b, "  %s -> %s\n", a.From, a.To)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

// dotText writes s so that it stands for itself inside quotes, where Graphviz
// reads escapes and entities of HTML.
func dotText(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;").Replace(s)
}
