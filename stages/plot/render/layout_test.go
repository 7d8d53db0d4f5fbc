package render

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkPage holds what every page promises: all on it, no text on another
// text, and no crossing's value on a marker.
func checkPage(l *list) error {
	page := rect{0, 0, l.W, l.H}
	var texts []text
	for _, it := range l.items {
		if it.text != nil {
			texts = append(texts, *it.text)
			continue
		}
		for _, s := range it.shape.Path {
			n := map[byte]int{'M': 1, 'L': 1, 'C': 3}[s.op]
			for _, p := range s.p[:n] {
				if !page.has(p) { // false for NaN too
					return fmt.Errorf("%s at %v is off the page %v", it.shape.Role, p, page)
				}
			}
		}
	}
	const touch = 0.01 // points
	for i, t := range texts {
		b := t.box().grow(-touch)
		if !b.inside(page) {
			return fmt.Errorf("text %q %v is off the page %v", t.S, b, page)
		}
		for _, o := range texts[:i] {
			if b.overlaps(o.box()) {
				return fmt.Errorf("texts %q %v and %q %v overlap", o.S, o.box(), t.S, t.box())
			}
		}
		for _, it := range l.items {
			if it.shape == nil || !slices.Contains([]string{"marker", "hollow", "legend"}, it.shape.Role) {
				continue
			}
			for _, s := range it.shape.Path {
				if s.op != 'Z' && b.has(s.p[0]) {
					return fmt.Errorf("text %q lies on a %s at %v", t.S, it.shape.Role, s.p[0])
				}
			}
		}
	}
	return nil
}

func TestSamplePage(t *testing.T) {
	l, err := layout(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPage(l); err != nil {
		t.Error(err)
	}
	roles := map[string]int{}
	for _, it := range l.items {
		if it.shape != nil {
			roles[it.shape.Role]++
		}
	}
	// Two curves in two panels, 4 and 3 markers each, one of them hollow; the
	// band of the first curve is an area before its gap and one after it.
	for role, want := range map[string]int{"curve": 4, "marker": 12, "hollow": 2, "band": 4, "rule": 3, "dot": 2} {
		if roles[role] != want {
			t.Errorf("%d of %q, want %d", roles[role], role, want)
		}
	}
	for _, it := range l.items {
		if s := it.shape; s != nil && s.Role == "hollow" && (s.Fill.Color != white || s.Stroke.Color != (Color{200, 0, 0})) {
			t.Errorf("hollow marker filled %v, drawn %v", s.Fill, s.Stroke)
		}
	}
}

// TestPagesKeepApart draws arbitrary figures of 1 to 8 curves with 1 to 100
// points each.
func TestPagesKeepApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFigure(t)
		l, err := layout(f)
		if err != nil {
			if strings.Contains(err.Error(), "leaves") { // too small, and said so
				return
			}
			t.Fatal(err)
		}
		if err := checkPage(l); err != nil {
			t.Fatal(err)
		}
		// Every mark's value is on the page.
		for _, p := range f.Panels {
			for _, r := range p.Rules {
				if r.Label != "" && !slices.ContainsFunc(l.items, func(it item) bool { return it.text != nil && it.text.S == r.Label }) {
					t.Fatalf("label %q is missing", r.Label)
				}
			}
		}
	})
}

func anyFigure(t *rapid.T) Figure {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("abcdefgh=-. ,模")), 0, 60, -1)
	f := Figure{
		Title:  name.Draw(t, "title"),
		Width:  rapid.SampledFrom([]float64{0, ColumnWidth, PageWidth, 700}).Draw(t, "width"),
		Height: rapid.SampledFrom([]float64{0, 0, 300, 420}).Draw(t, "height"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "lines") {
		f.Subtitle = append(f.Subtitle, name.Draw(t, "subtitle"))
		f.Footer = append(f.Footer, name.Draw(t, "footer"))
	}
	n := rapid.IntRange(1, 8).Draw(t, "curves")
	k := rapid.IntRange(1, 100).Draw(t, "points")
	seed := rapid.Float64Range(0, 100).Draw(t, "seed")
	for j := range rapid.IntRange(1, 3).Draw(t, "panels") {
		p := Panel{
			Title: name.Draw(t, "panel"),
			X:     Axis{Label: name.Draw(t, "x"), Log: rapid.Bool().Draw(t, "log"), Inverted: rapid.Bool().Draw(t, "inverted")},
			Y:     Axis{Label: name.Draw(t, "y"), Min: 0, Max: rapid.SampledFrom([]float64{0, 60, 105, 110}).Draw(t, "max")},
		}
		scale := rapid.SampledFrom([]float64{0.001, 1, 12345}).Draw(t, "scale")
		kind := rapid.IntRange(0, 3).Draw(t, "kind")
		for i := range n {
			c := Curve{Name: fmt.Sprint(i), Marker: Marker(i), Dash: Dash(i % 3)}
			for m := range k {
				x := scale * (0.5 + float64(m))
				y := 50 + 50*math.Sin(seed*float64(m+1)+float64(i+j))
				switch kind {
				case 1:
					y = 0
				case 2:
					y = 100
				case 3:
					if m%5 == 4 {
						y = math.NaN()
					}
				}
				c.Points = append(c.Points, Vertex{X: x, Y: y, Low: y - 10, High: y + 5, Hollow: (m+i)%11 == 10})
				if len(p.Rules) < 24 && m%7 == 3 {
					p.Rules = append(p.Rules, Rule{At: x * 1.001, To: 90, Dot: true, Dash: Dashed, Label: fmt.Sprintf("%.3g", x)})
				}
			}
			p.Curves = append(p.Curves, c)
			if j == 0 {
				f.Legend = append(f.Legend, LegendEntry{Name: name.Draw(t, "name"), Detail: name.Draw(t, "detail"), Marker: Marker(i)})
			}
		}
		p.Rules = append(p.Rules, Rule{Horizontal: true, At: 40})
		for range rapid.IntRange(0, 3).Draw(t, "notes") {
			p.Notes = append(p.Notes, name.Draw(t, "note"))
		}
		f.Panels = append(f.Panels, p)
	}
	return f
}

// TestFixedHeight holds that the page is as high as asked, and that labels
// sent above the frames take their room from the panels.
func TestFixedHeight(t *testing.T) {
	f := sampleFigure()
	f.Height = 300
	for i := range 30 {
		f.Panels[0].Rules = append(f.Panels[0].Rules, Rule{At: 2 + float64(i)/100, To: 90, Label: "2.0"})
	}
	l, err := layout(f)
	if err != nil {
		t.Fatal(err)
	}
	if l.H != 300 {
		t.Errorf("height %g, want 300", l.H)
	}
	if err := checkPage(l); err != nil {
		t.Error(err)
	}
}
