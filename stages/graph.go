package stages

import (
	"fmt"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/sample"
)

// Diagram is the graph of an experiment made ready to be drawn: boxes, in
// groups of one stage each, and arrows between them. Mermaid and DOT write it.
type Diagram struct {
	Title  string
	Groups []DiagramGroup
	Arrows []DiagramArrow // in order, none twice
}

// DiagramGroup is the boxes of one stage.
type DiagramGroup struct {
	Stage string
	Boxes []DiagramBox
}

// DiagramBox is one node, or all points of a stage that stand on the same
// nodes.
type DiagramBox struct {
	ID    string // n0, n1, ...: unique in the diagram
	Kind  pipeline.Kind
	Lines []string // of its label; none is empty
	Nodes []string // IDs of the nodes of the graph that it stands for
}

// DiagramArrow says that the box To needs the box From, by their IDs.
type DiagramArrow struct{ From, To string }

// maxValues is how many values of an axis a folded box lists.
const maxValues = 6

// NewDiagram lays out the graph that Build made of an experiment. Points that
// need the same nodes are one box, unless each is asked for.
func NewDiagram(exp *specs.Experiment, g *pipeline.Graph, eachPoint bool) (*Diagram, error) {
	points, err := exp.Points()
	if err != nil {
		return nil, err
	}
	axes := make(map[string][]sample.Axis, len(points)) // by label
	for _, p := range points {
		a := sampleAxes(p.Axes)
		axes[axesLabel(a)] = a
	}
	boxes := make(map[string]*box)  // node -> its box
	folded := make(map[string]*box) // stage and needs -> the box of such points
	arrows := make(map[DiagramArrow]bool)
	var ordered []*box
	var out Diagram
	for _, n := range g.Nodes {
		var needs []string
		for _, id := range n.Needs {
			if from := boxes[id].ID; !slices.Contains(needs, from) {
				needs = append(needs, from)
			}
		}
		stage, label, _ := strings.Cut(n.ID, " ")
		point, isPoint := axes[label]
		isPoint = isPoint && label != "" && (n.Kind == pipeline.Measurement || n.Stage == "command")
		same := strings.Join(append([]string{stage}, needs...), " ")
		b := folded[same]
		if b == nil || !isPoint || eachPoint {
			b = &box{DiagramBox: DiagramBox{ID: fmt.Sprintf("n%d", len(ordered)), Kind: n.Kind}, stage: stage, label: label}
			ordered = append(ordered, b)
			if isPoint {
				folded[same] = b
			}
		}
		b.Nodes = append(b.Nodes, n.ID)
		if isPoint {
			b.points = append(b.points, point)
		}
		boxes[n.ID] = b
		for _, from := range needs {
			if a := (DiagramArrow{from, b.ID}); !arrows[a] {
				arrows[a] = true
				out.Arrows = append(out.Arrows, a)
			}
		}
	}
	for _, b := range ordered {
		b.write()
		i := slices.IndexFunc(out.Groups, func(o DiagramGroup) bool { return o.Stage == b.stage })
		if i < 0 {
			i = len(out.Groups)
			out.Groups = append(out.Groups, DiagramGroup{Stage: b.stage})
		}
		out.Groups[i].Boxes = append(out.Groups[i].Boxes, b.DiagramBox)
	}
	out.Title = fmt.Sprintf("%s: %s", exp.Name, howMany(len(points), "load point"))
	return &out, nil
}

// box is a DiagramBox while its points are gathered.
type box struct {
	DiagramBox
	stage, label string
	points       [][]sample.Axis
}

// write fills in the lines: of one node what tells it from others of its
// stage, of several points what they share and which values they have.
func (b *box) write() {
	if len(b.points) < 2 {
		for _, word := range strings.Fields(b.label) {
			// A line for each axis; other words stay together.
			if last := len(b.Lines) - 1; last >= 0 && !strings.Contains(word, "=") {
				b.Lines[last] += " " + word
			} else {
				b.Lines = append(b.Lines, word)
			}
		}
		if len(b.Lines) == 0 {
			b.Lines = []string{b.stage}
		}
		return
	}
	b.Lines = []string{howMany(len(b.points), "point")}
	for i, axis := range b.points[0] {
		var values []string
		for _, p := range b.points {
			if v := p[i]; v.Set && !slices.Contains(values, v.Value) {
				values = append(values, v.Value)
			}
		}
		switch {
		case len(values) == 0, len(values) == 1 && axis.Name == "repeat":
			// Says nothing.
		case len(values) == 1:
			b.Lines = append(b.Lines, axis.Name+"="+values[0])
		case len(values) > maxValues:
			first := strings.Join(values[:maxValues-2], ", ")
			b.Lines = append(b.Lines, fmt.Sprintf("%s=%s, ... %s (%d)", axis.Name, first, values[len(values)-1], len(values)))
		default:
			b.Lines = append(b.Lines, axis.Name+"="+strings.Join(values, ", "))
		}
	}
}

// howMany is "1 point" or "2 points".
func howMany(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
