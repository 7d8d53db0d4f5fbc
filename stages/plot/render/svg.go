package render

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// svgFamily is the embedded font's name: not Roboto, which a viewer may have
// in another version.
const svgFamily = "vbp-Roboto"

// SVG draws a figure as text and paths in points. It carries the glyphs that
// it uses; each text also states its length, so that a viewer that ignores
// embedded fonts keeps the layout with another one.
func SVG(f Figure) ([]byte, error) {
	l, err := layout(f)
	if err != nil {
		return nil, err
	}
	p := &svgPainter{}
	w, h := num(l.W), num(l.H)
	fmt.Fprintf(&p.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%spt" height="%spt" viewBox="0 0 %s %s"`, w, h, w, h)
	p.b.WriteString(` font-family="` + svgFamily + `, Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif" font-weight="500" font-kerning="none" stroke-linejoin="round">` + "\n")
	p.element("title", l.Meta["Title"])
	var desc []string
	for _, k := range metaKeys {
		if v := l.Meta[k]; v != "" && k != "Title" {
			desc = append(desc, k+": "+v)
		}
	}
	p.element("desc", strings.Join(desc, "\n"))
	font, err := subset(l)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&p.b, "<style>@font-face{font-family:%s;src:url(data:font/ttf;base64,%s)}</style>\n", svgFamily, base64.StdEncoding.EncodeToString(font))
	// Without a ground of its own, a figure cannot be read on a dark page.
	fmt.Fprintf(&p.b, "<rect width=%q height=%q fill=\"#ffffff\"/>\n", w, h)
	l.paint(p)
	p.b.WriteString("</svg>\n")
	return p.b.Bytes(), nil
}

type svgPainter struct{ b bytes.Buffer }

func (p *svgPainter) element(name, s string) {
	if s == "" {
		return
	}
	fmt.Fprintf(&p.b, "<%s>", name)
	_ = xml.EscapeText(&p.b, []byte(s)) // a bytes.Buffer does not fail
	fmt.Fprintf(&p.b, "</%s>\n", name)
}

func (p *svgPainter) shape(s shape) {
	p.b.WriteString(`<path class="` + s.Role + `" d="`)
	for i, g := range s.Path {
		if i > 0 {
			p.b.WriteByte(' ')
		}
		p.b.WriteByte(g.op)
		switch g.op {
		case 'M', 'L':
			p.b.WriteString(num(g.p[0].X) + " " + num(g.p[0].Y))
		case 'C':
			for j, q := range g.p {
				if j > 0 {
					p.b.WriteByte(' ')
				}
				p.b.WriteString(num(q.X) + " " + num(q.Y))
			}
		}
	}
	p.b.WriteByte('"')
	p.paint("fill", s.Fill)
	p.paint("stroke", s.Stroke)
	if s.Stroke.Alpha > 0 {
		fmt.Fprintf(&p.b, " stroke-width=%q", num(s.Width))
		if len(s.Dash) > 0 {
			var d []string
			for _, v := range s.Dash {
				d = append(d, num(v))
			}
			fmt.Fprintf(&p.b, " stroke-dasharray=%q", strings.Join(d, " "))
		}
		if s.Round {
			p.b.WriteString(` stroke-linecap="round"`)
		}
	}
	p.b.WriteString("/>\n")
}

func (p *svgPainter) paint(name string, c paint) {
	switch {
	case c.Alpha > 0:
		fmt.Fprintf(&p.b, " %s=%q", name, hex(c.Color))
		if c.Alpha < 1 {
			fmt.Fprintf(&p.b, " %s-opacity=%q", name, num(c.Alpha))
		}
	case name == "fill": // which SVG fills black otherwise
		p.b.WriteString(` fill="none"`)
	}
}

func (p *svgPainter) text(t text) {
	// Not every viewer heeds textLength, nor an embedded font: anchors keep at
	// least what was centred centred.
	d := t.W * []float64{0, 0.5, 1}[t.Align]
	if t.Up {
		t.Y -= d
	} else {
		t.X += d
	}
	fmt.Fprintf(&p.b, `<text x=%q y=%q font-size=%q fill=%q textLength=%q lengthAdjust="spacingAndGlyphs"`,
		num(t.X), num(t.Y), num(t.Size), hex(t.Color), num(t.W))
	if t.Align != alignStart {
		fmt.Fprintf(&p.b, " text-anchor=%q", []string{"start", "middle", "end"}[t.Align])
	}
	if t.Up {
		fmt.Fprintf(&p.b, ` transform="rotate(-90 %s %s)"`, num(t.X), num(t.Y))
	}
	p.b.WriteByte('>')
	_ = xml.EscapeText(&p.b, []byte(t.S)) // a bytes.Buffer does not fail
	p.b.WriteString("</text>\n")
}

func hex(c Color) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// num writes hundredths of a point, as the PDF has them.
func num(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}
