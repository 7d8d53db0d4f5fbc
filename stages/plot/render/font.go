package render

import (
	"fmt"
	"strings"
	"sync"
	"unicode"

	"github.com/wcharczuk/go-chart/v2/roboto"
	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// Roboto Medium is the one font of all three backends: its licence allows
// embedding, it comes with go-chart, and one weight keeps the PDF small.
// These are its vertical extents as shares of the size; a text's box is
// ascent above the baseline and descent below.
const (
	ascent  = 0.93
	descent = 0.24
	leading = 1.28 // baseline to baseline: just above ascent + descent
)

var parsed = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(roboto.Roboto) })

// face measures text. It is not for concurrent use.
type face struct {
	font *sfnt.Font
	buf  sfnt.Buffer
	em   float64 // font units
	adv  map[rune]float64
}

func newFace() (*face, error) {
	f, err := parsed()
	if err != nil {
		return nil, fmt.Errorf("render: go-chart's Roboto does not parse: %w", err)
	}
	return &face{font: f, em: float64(f.UnitsPerEm()), adv: map[rune]float64{}}, nil
}

// glyph is the index of r, 0 if the font lacks it.
func (f *face) glyph(r rune) sfnt.GlyphIndex {
	g, err := f.font.GlyphIndex(&f.buf, r)
	if err != nil {
		return 0
	}
	return g
}

// advance is the width of r in ems. There is no kerning: fpdf has none, and
// the three backends must agree.
func (f *face) advance(r rune) float64 {
	if a, ok := f.adv[r]; ok {
		return a
	}
	a, err := f.font.GlyphAdvance(&f.buf, f.glyph(r), fixed.I(int(f.em)), font.HintingNone)
	w := float64(a) / 64 / f.em
	if err != nil {
		w = 0
	}
	f.adv[r] = w
	return w
}

// width is the width of s at a size, both in points.
func (f *face) width(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		w += f.advance(r)
	}
	return w * size
}

// clean makes s drawable: white space becomes single blanks, and a rune that
// the font lacks (CJK, emoji, a broken byte) becomes a visible substitute
// rather than a backend's choice of nothing, a box or a panic.
func (f *face) clean(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return strings.Map(func(r rune) rune {
		if r > 0xffff || f.glyph(r) == 0 {
			return '?'
		}
		return r
	}, s)
}

const ellipsis = "…"

// fit shortens s in its middle until it is no wider than max: names that
// differ at the end, as swept values do, stay apart.
func (f *face) fit(s string, size, limit float64) string {
	if f.width(s, size) <= limit {
		return s
	}
	r := []rune(s)
	for keep := len(r) - 1; keep > 0; keep-- {
		head := (keep + 1) / 2
		t := string(r[:head]) + ellipsis + string(r[len(r)-(keep-head):])
		if f.width(t, size) <= limit {
			return t
		}
	}
	if f.width(ellipsis, size) <= limit {
		return ellipsis
	}
	return ""
}

// wrap breaks s at blanks into at most n lines no wider than limit; what does
// not fit is shortened in the last line.
func (f *face) wrap(s string, size, limit float64, n int) []string {
	words := strings.Fields(f.clean(s))
	var out []string
	for len(words) > 0 {
		k := 1
		for k < len(words) && f.width(strings.Join(words[:k+1], " "), size) <= limit {
			k++
		}
		if len(out) == n-1 {
			k = len(words)
		}
		out = append(out, f.fit(strings.Join(words[:k], " "), size, limit))
		words = words[k:]
	}
	return out
}
