package stages

import (
	"fmt"
	"strings"
	"unicode"

	"vbp/pipeline"
)

// look is how a kind of node is drawn: by its outline first, so that it is
// told apart in black and white, and by a pale colour.
type look struct {
	kind       pipeline.Kind
	means      string
	open, end  string // Mermaid's brackets
	dot        string // DOT's shape, and what it is called
	fill, line string
}

var looks = []look{
	{pipeline.Service, "server, runs for its points", "{{", "}}", "hexagon", "#dbeafe", "#1d4ed8"},
	{pipeline.Effect, "done to a server", "([", "])", "ellipse", "#fef3c7", "#b45309"},
	{pipeline.Measurement, "measurement", "[/", "/]", "parallelogram", "#fee2e2", "#b91c1c"},
	{pipeline.Pure, "computed, cached by content", "[", "]", "box", "#f3f4f6", "#4b5563"},
}

func lookOf(k pipeline.Kind) look {
	for _, l := range looks {
		if l.kind == k {
			return l
		}
	}
	return looks[len(looks)-1]
}

// DiagramMark is in everything that Mermaid and DOT write.
const DiagramMark = "made by vbp graph"

// MaxMermaidArrows is the most arrows that Mermaid draws unless it is
// configured otherwise.
const MaxMermaidArrows = 500

// Mermaid writes the diagram as a flowchart of Mermaid 10 or later.
func (d *Diagram) Mermaid() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: %q\n---\n%%%% %s;", d.Title, DiagramMark)
	for i, l := range looks {
		fmt.Fprintf(&b, "%s %s is %s", map[bool]string{true: "", false: ","}[i == 0], l.dot, l.means)
	}
	b.WriteString("\nflowchart LR\n")
	for i, g := range d.Groups {
		indent := "  "
		if !g.alone() {
			fmt.Fprintf(&b, "  subgraph s%d[\"%s\"]\n", i, mermaidText(g.Stage))
			indent = "    "
		}
		for _, x := range g.Boxes {
			lines := make([]string, len(x.Lines))
			for j, line := range x.Lines {
				lines[j] = mermaidText(line)
			}
			l := lookOf(x.Kind)
			fmt.Fprintf(&b, "%s%s%s\"%s\"%s:::%s\n", indent, x.ID, l.open, strings.Join(lines, "<br>"), l.end, x.Kind)
		}
		if !g.alone() {
			fmt.Fprintf(&b, "  end\n  class s%d stage\n", i)
		}
	}
	for _, a := range d.Arrows {
		fmt.Fprintf(&b, "  %s --> %s\n", a.From, a.To)
	}
	b.WriteString("  classDef stage fill:none,stroke:#9ca3af\n")
	for _, l := range looks {
		fmt.Fprintf(&b, "  classDef %s fill:%s,stroke:%s,color:#111827\n", l.kind, l.fill, l.line)
	}
	return []byte(b.String())
}

// alone tells whether a group is one box that says all that a frame around it
// would.
func (g DiagramGroup) alone() bool { return len(g.Boxes) == 1 && g.Boxes[0].Lines[0] == g.Stage }

// mermaidText writes s so that it stands for itself inside quotes: Mermaid
// reads quotes, HTML, Markdown and entities there. Letters and digits and what
// joins them are left readable.
func mermaidText(s string) string {
	runes := []rune(s)
	plain := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	var b strings.Builder
	for i, r := range runes {
		switch {
		case plain(i), r == ' ', r == '=', r == ',', r == '(', r == ')':
			b.WriteRune(r)
		case strings.ContainsRune("._-/", r) && plain(i-1) && plain(i+1):
			b.WriteRune(r)
		case unicode.IsPrint(r):
			fmt.Fprintf(&b, "#%d;", r)
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}
