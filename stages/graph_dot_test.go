package stages

import (
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDOTIsDrawn has Graphviz draw diagrams, and holds that every line of
// every label is in the picture as it was meant, and every arrow.
func TestDOTIsDrawn(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("dot of Graphviz is not on PATH, so DOT cannot be drawn")
	}
	sweep, _ := diagram(t, sweepSpec, false)
	points, _ := diagram(t, sweepSpec, true)
	for _, d := range []*Diagram{sweep, points, oddDiagram} {
		cmd := exec.CommandContext(t.Context(), dot, "-Tsvg")
		cmd.Stdin = strings.NewReader(string(d.DOT()))
		var wrong strings.Builder
		cmd.Stderr = &wrong
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dot: %v\n%s", err, wrong.String())
		}
		texts, edges := inSVG(t, string(out))
		for _, g := range d.Groups {
			for _, b := range g.Boxes {
				for _, line := range b.Lines {
					if !slices.Contains(texts, strings.Join(strings.Fields(line), " ")) {
						t.Errorf("%s: the picture does not say %q", d.Title, line)
					}
				}
			}
		}
		if !slices.Contains(texts, strings.Join(strings.Fields(d.Title), " ")) || edges != len(d.Arrows) {
			t.Errorf("%s: %d arrows of %d, texts %q", d.Title, edges, len(d.Arrows), texts)
		}
	}
}

// inSVG are the texts of a picture of Graphviz, with single spaces, and the
// number of its arrows.
func inSVG(t *testing.T, svg string) (texts []string, edges int) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	d.Strict = false
	d.Entity = xml.HTMLEntity
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts, edges
		} else if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
			if inText {
				texts = append(texts, "")
			}
			for _, a := range token.Attr {
				if a.Name.Local == "class" && a.Value == "edge" {
					edges++
				}
			}
		case xml.CharData:
			if inText {
				texts[len(texts)-1] += strings.Join(strings.Fields(strings.ReplaceAll(string(token), "\u00a0", " ")), " ")
			}
		case xml.EndElement:
			inText = false
		}
	}
}
