// Package render turns a Figure into PDF, SVG and PNG. It knows panels,
// axes, curves and marks; it does not know what they stand for.
//
// Steps: check the figure (figure.go), choose ranges and ticks (axis.go,
// tick.go), lay everything out once into a list of shapes and texts in points
// with the origin at the top left (layout.go, panel.go, legend.go, place.go,
// list.go), and paint that list (pdf.go, svg.go, png.go). The three painters
// make no decision of their own, so the three files agree. The same figure
// gives the same bytes: nothing here reads a clock or the order of a map.
//
// Its neighbour above is stages/plot, which knows what a figure shows.
package render

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Figure is one page.
type Figure struct {
	Title    string
	Subtitle []string // small lines under the title, such as the configuration of each series
	Footer   []string // small grey lines at the bottom
	Width    float64  // points; 0: PageWidth
	Height   float64  // points; 0: as high as the content needs
	Panels   []Panel  // left to right
	Legend   []LegendEntry
	Meta     map[string]string // document properties: Title, Subject, Keywords, Author
}

// Widths of figures, in points.
const (
	PageWidth   = 504.0 // 7 in: across the page of a two-column paper
	ColumnWidth = 252.0 // 3.5 in: one column
)

// Panel is one coordinate system.
type Panel struct {
	Title  string
	X, Y   Axis
	Curves []Curve
	Rules  []Rule
	Notes  []string // drawn inside the panel where there is room: "no crossing of 90 %"
}

// Axis is a range with ticks. Min == Max asks for a range from the data.
type Axis struct {
	Label    string
	Min, Max float64
	Log      bool
	Inverted bool
	Format   string // fmt verb for tick labels; "" picks the shortest exact form
}

// Dash is a line pattern.
type Dash int

// Line patterns.
const (
	Solid Dash = iota
	Dashed
	Dotted
)

// Marker is the shape drawn at each vertex. Where vertices lie closer than
// markers are wide, only every k-th marker is drawn; the line shows the rest.
type Marker int

// Marker shapes. All are areas, so that each can be drawn hollow.
const (
	Circle Marker = iota
	Square
	Triangle
	Diamond
	NoMarker
	TriangleDown
	Star
	Plus
	Cross
)

// Color is 8-bit RGB.
type Color struct{ R, G, B uint8 }

// Curve is a polyline with markers, and an optional band around it.
type Curve struct {
	Name   string
	Color  Color
	Dash   Dash
	Marker Marker
	Points []Vertex // in x order
}

// Vertex is one point of a curve. NaN in Y is a gap. Low and High bound the
// band and may be NaN; equal to each other they draw none.
type Vertex struct {
	X, Y, Low, High float64
	Hollow          bool // not to be trusted: drawn as an empty marker, always
}

// Rule is a straight line across the panel: horizontal at Y from edge to
// edge, or vertical at X from the x axis up to height To. A rule outside the
// range of its axis is not drawn.
type Rule struct {
	Horizontal bool
	At         float64
	To         float64 // vertical only: y at which it ends
	Dot        bool    // vertical only: a dot at the upper end
	Color      Color
	Dash       Dash
	Label      string // written at the line; labels never overlap each other, curves' markers or the frame
}

// LegendEntry is one sample of line and text. A legend is placed where it
// hides no data. Detail follows the name in grey: the configuration of a
// series, say.
type LegendEntry struct {
	Name   string
	Detail string
	Color  Color
	Dash   Dash
	Marker Marker
	Hollow bool
	NoLine bool // the sample is the marker alone
	Band   bool // the sample has a band behind it
}

// metaKeys are the document properties that all three formats can hold.
var metaKeys = []string{"Author", "Keywords", "Subject", "Title"}

// check says what keeps a figure from being drawn.
func (f Figure) check() error {
	if f.Width < 0 || f.Height < 0 || !finite(f.Width) || !finite(f.Height) || f.Width > 14400 || f.Height > 14400 {
		return fmt.Errorf("render: a page of %g x %g points: width and height must lie between 0 and 14400, the limit of PDF", f.Width, f.Height)
	}
	if len(f.Panels) == 0 {
		return fmt.Errorf("render: figure %q has no panels: give it at least one", f.Title)
	}
	for k := range f.Meta {
		if !slices.Contains(metaKeys, k) {
			return fmt.Errorf("render: document property %q: the formats hold %s", k, strings.Join(metaKeys, ", "))
		}
	}
	for i, p := range f.Panels {
		if err := p.check(); err != nil {
			return fmt.Errorf("render: panel %d %q: %w", i+1, p.Title, err)
		}
	}
	return nil
}

func (p Panel) check() error {
	for _, a := range []Axis{p.X, p.Y} {
		switch {
		case !finite(a.Min) || !finite(a.Max):
			return fmt.Errorf("axis %q: range %g to %g is not finite", a.Label, a.Min, a.Max)
		case a.Min > a.Max:
			return fmt.Errorf("axis %q: range %g to %g is upside down: set Inverted to turn an axis round", a.Label, a.Min, a.Max)
		case a.Log && a.Min != a.Max && a.Min <= 0:
			return fmt.Errorf("axis %q: a logarithmic axis cannot begin at %g", a.Label, a.Min)
		case a.Format != "" && strings.Contains(fmt.Sprintf(a.Format, 1.0), "%!"):
			return fmt.Errorf("axis %q: tick format %q does not fit one number: use one such as %%.1f", a.Label, a.Format)
		}
	}
	for _, c := range p.Curves {
		last := math.Inf(-1)
		for i, v := range c.Points {
			switch {
			case !finite(v.X) || v.X < last:
				return fmt.Errorf("curve %q: x of point %d is %g: points go in x order and have finite x", c.Name, i+1, v.X)
			case math.IsInf(v.Y, 0) || math.IsInf(v.Low, 0) || math.IsInf(v.High, 0):
				return fmt.Errorf("curve %q: point %d is infinite: use NaN for a gap", c.Name, i+1)
			case p.X.Log && v.X <= 0:
				return fmt.Errorf("curve %q: x of point %d is %g, and the x axis is logarithmic", c.Name, i+1, v.X)
			case p.Y.Log && v.Y <= 0:
				return fmt.Errorf("curve %q: y of point %d is %g, and the y axis is logarithmic: use NaN for a gap", c.Name, i+1, v.Y)
			}
			last = v.X
		}
	}
	for _, r := range p.Rules {
		if !finite(r.At) || !finite(r.To) {
			return fmt.Errorf("rule %q at %g to %g is not finite", r.Label, r.At, r.To)
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
