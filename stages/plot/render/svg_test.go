package render

import (
	"encoding/xml"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// svgDoc is what the tests read of an SVG.
type svgDoc struct {
	Title string `xml:"title"`
	Desc  string `xml:"desc"`
	Paths []struct {
		Class string `xml:"class,attr"`
		Dash  string `xml:"stroke-dasharray,attr"`
	} `xml:"path"`
	Texts []struct {
		S      string  `xml:",chardata"`
		X      float64 `xml:"x,attr"`
		Y      float64 `xml:"y,attr"`
		Length float64 `xml:"textLength,attr"`
		Anchor string  `xml:"text-anchor,attr"`
	} `xml:"text"`
}

func TestSVGIsTheList(t *testing.T) {
	b, err := SVG(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	var doc svgDoc
	if err := xml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	l, err := layout(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	shapes := 0
	for _, it := range l.items {
		if it.text != nil {
			want = append(want, it.text.S)
		} else {
			shapes++
		}
	}
	for _, x := range doc.Texts {
		got = append(got, x.S)
	}
	if !slices.Equal(got, want) {
		t.Errorf("texts %q, want %q", got, want)
	}
	if len(doc.Paths) != shapes {
		t.Errorf("%d paths, want %d", len(doc.Paths), shapes)
	}
	for _, s := range []string{"A title", "first: TP:1", "Request rate (req/s)", "SLO attainment (%)", "2.00", "4.62", "target", "a note", "first (1 GPU)", "not valid", "120 requests & more <per> point."} {
		if !slices.Contains(got, s) {
			t.Errorf("no text %q", s)
		}
	}
	if doc.Title != "A title" || doc.Desc != "Keywords: k\nSubject: TTFT ≤ 1 ms" {
		t.Errorf("title %q, description %q", doc.Title, doc.Desc)
	}
	// The title is centred on the page even if a viewer's font is wider.
	if h := doc.Texts[0]; h.Anchor != "middle" || math.Abs(h.X-PageWidth/2) > 0.01 || h.Length <= 0 {
		t.Errorf("title at %+v, want the middle of the page", h)
	}
	if strings.Contains(string(b), "NaN") {
		t.Error("NaN in the SVG")
	}
}

// TestSubset compares the embedded font, as another parser reads it, with the
// whole one, for simple and for composite glyphs.
func TestSubset(t *testing.T) {
	const chars = "Aé Ü0≤…(?Я"
	l := &list{}
	l.write(text{S: chars})
	b, err := subset(l)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 12_000 {
		t.Errorf("%d bytes for %d characters", len(b), len([]rune(chars)))
	}
	got, err := sfnt.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if n := got.NumGlyphs(); n > 25 {
		t.Errorf("%d glyphs", n)
	}
	var gb, wb sfnt.Buffer
	em := fixed.I(int(whole.UnitsPerEm()))
	for _, r := range chars {
		g, err := got.GlyphIndex(&gb, r)
		if err != nil || g == 0 {
			t.Errorf("%q: glyph %d, error %v", r, g, err)
			continue
		}
		w, err := whole.GlyphIndex(&wb, r)
		if err != nil {
			t.Fatal(err)
		}
		ga, _ := got.GlyphAdvance(&gb, g, em, font.HintingNone)
		wa, _ := whole.GlyphAdvance(&wb, w, em, font.HintingNone)
		if ga != wa {
			t.Errorf("%q: advance %v, want %v", r, ga, wa)
		}
		gs, err := got.LoadGlyph(&gb, g, em, nil)
		if err != nil {
			t.Errorf("%q: %v", r, err)
			continue
		}
		ws, err := whole.LoadGlyph(&wb, w, em, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(gs, ws) {
			t.Errorf("%q: outlines differ", r)
		}
	}
	if g, _ := got.GlyphIndex(&gb, 'B'); g != 0 {
		t.Errorf("B, which the page lacks, has glyph %d", g)
	}
}
