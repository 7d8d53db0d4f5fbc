package render

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"slices"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// PrintScale is the scale of a PNG of 300 dots per inch.
const PrintScale = 300.0 / 72

// PNG draws a figure on white at scale pixels per point; 0 means PrintScale.
// Glyphs are filled from the same font's outlines at fractions of a pixel, so
// that text stands where the PDF has it.
func PNG(f Figure, scale float64) ([]byte, error) {
	if scale == 0 {
		scale = PrintScale
	}
	if scale < 0 || !finite(scale) {
		return nil, fmt.Errorf("render: PNG at %g pixels per point: give a positive scale, or 0 for 300 dots per inch", scale)
	}
	l, err := layout(f)
	if err != nil {
		return nil, err
	}
	fc, err := newFace()
	if err != nil {
		return nil, err
	}
	w, h := math.Ceil(l.W*scale), math.Ceil(l.H*scale)
	const most = 100e6 // pixels: 400 MB of image
	if w*h > most {
		return nil, fmt.Errorf("render: PNG of %.0f x %.0f pixels: choose a scale below %.1f", w, h, math.Sqrt(most/(l.W*l.H)))
	}
	img := image.NewRGBA(image.Rect(0, 0, int(w), int(h)))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	l.paint(&pngPainter{img: img, k: scale, face: fc})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("render: PNG: %w", err)
	}
	return withMeta(b.Bytes(), l.Meta, scale), nil
}

// withMeta adds the resolution and the document properties after the header
// chunk (PNG, third edition, 11.3.3.4 iTXt and 11.3.4.3 pHYs).
func withMeta(file []byte, meta map[string]string, scale float64) []byte {
	const header = 8 + 12 + 13 // signature, and IHDR with its frame
	out := append([]byte{}, file[:header]...)
	chunk := func(kind string, data []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		body := append([]byte(kind), data...)
		out = append(out, body...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	}
	perMetre := uint32(math.Round(scale * 72 / 0.0254))
	phys := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, perMetre), perMetre)
	chunk("pHYs", append(phys, 1))
	for _, k := range metaKeys {
		if v := meta[k]; v != "" {
			name := k
			if k == "Subject" {
				name = "Description" // the keyword that PNG registers
			}
			chunk("iTXt", append([]byte(name+"\x00\x00\x00\x00\x00"), v...))
		}
	}
	return append(out, file[header:]...)
}

type pngPainter struct {
	img  *image.RGBA
	k    float64 // pixels per point
	face *face
	z    vector.Rasterizer
}

func (p *pngPainter) shape(s shape) {
	lines, closed := flatten(s.Path)
	if s.Fill.Alpha > 0 {
		p.fill(lines, s.Fill)
	}
	if s.Stroke.Alpha > 0 {
		var polys [][]point
		for i, l := range lines {
			polys = append(polys, outline(l, closed[i], s)...)
		}
		p.fill(polys, s.Stroke)
	}
}

// fill paints the union of polygons; those that go the other way round cut
// holes, as in glyphs.
func (p *pngPainter) fill(polys [][]point, c paint) {
	r := rect{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, poly := range polys {
		for _, q := range poly {
			r = rect{min(r.x0, q.X), min(r.y0, q.Y), max(r.x1, q.X), max(r.y1, q.Y)}
		}
	}
	b := image.Rect(int(math.Floor(r.x0*p.k)), int(math.Floor(r.y0*p.k)), int(math.Ceil(r.x1*p.k))+1, int(math.Ceil(r.y1*p.k))+1).Intersect(p.img.Bounds())
	if b.Empty() {
		return
	}
	p.z.Reset(b.Dx(), b.Dy())
	at := func(q point) (x, y float32) {
		return float32(q.X*p.k - float64(b.Min.X)), float32(q.Y*p.k - float64(b.Min.Y))
	}
	for _, poly := range polys {
		for i, q := range poly {
			if x, y := at(q); i == 0 {
				p.z.MoveTo(x, y)
			} else {
				p.z.LineTo(x, y)
			}
		}
		p.z.ClosePath()
	}
	src := image.NewUniform(color.NRGBA{c.R, c.G, c.B, uint8(math.Round(255 * c.Alpha))})
	p.z.Draw(p.img, b, src, image.Point{})
}

// outline turns a line into the polygons that its pen covers, all the same
// way round: a quadrilateral for each step, and a disc for each sharp join.
// At a smooth join, as along a circle, two quadrilaterals share a side.
func outline(l []point, closed bool, s shape) [][]point {
	if closed && len(l) > 1 && l[0] != l[len(l)-1] {
		l = append(l[:len(l):len(l)], l[0])
	}
	pieces := [][]point{l}
	if len(s.Dash) > 0 {
		pieces, closed = dashes(l, s.Dash), false
	}
	r := s.Width / 2
	var out [][]point
	for _, l := range pieces {
		l = slices.Compact(slices.Clone(l))
		n := len(l) - 1 // steps
		if n == 0 && s.Round {
			out = append(out, disc(l[0], r))
		}
		normals := make([]point, max(n, 0))
		for i := range normals {
			a, b := l[i], l[i+1]
			d := math.Hypot(b.X-a.X, b.Y-a.Y)
			normals[i] = point{(a.Y - b.Y) / d * r, (b.X - a.X) / d * r}
		}
		// side is the pen's half width at vertex v as step i sees it, and
		// whether the step beyond v continues it smoothly.
		side := func(v, i int) (point, bool) {
			other := v - 1 + (v - i) // the step on the other side of v
			if closed {
				other = (other + n) % n
			}
			if other < 0 || other >= n {
				return normals[i], false
			}
			u, w := normals[i], normals[other]
			dot := (u.X*w.X + u.Y*w.Y) / (r * r)
			if dot < 0.9 {
				return u, false
			}
			return point{(u.X + w.X) / (1 + dot), (u.Y + w.Y) / (1 + dot)}, true
		}
		for i := range normals {
			a, b := l[i], l[i+1]
			p, smooth := side(i, i)
			q, _ := side(i+1, i)
			out = append(out, []point{{a.X + p.X, a.Y + p.Y}, {a.X - p.X, a.Y - p.Y}, {b.X - q.X, b.Y - q.Y}, {b.X + q.X, b.Y + q.Y}})
			if !smooth && (i > 0 || closed || s.Round) {
				out = append(out, disc(a, r))
			}
			if i == n-1 && s.Round && !closed {
				out = append(out, disc(b, r))
			}
		}
	}
	return out
}

// disc goes round as outline's quadrilaterals do.
func disc(c point, r float64) []point {
	const n = 16
	var ps []point
	for i := range n {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / n)
		ps = append(ps, point{c.X + r*cos, c.Y + r*sin})
	}
	return ps
}

// dashes cuts a line into its drawn parts.
func dashes(l []point, pattern []float64) [][]point {
	var out [][]point
	k, left, on := 0, pattern[0], true
	cur := []point{l[0]}
	for i := 1; i < len(l); i++ {
		a, b := l[i-1], l[i]
		d := math.Hypot(b.X-a.X, b.Y-a.Y)
		for done := 0.0; ; {
			if d-done < left {
				left -= d - done
				if on {
					cur = append(cur, b)
				}
				break
			}
			done += left
			q := point{a.X + (b.X-a.X)*done/d, a.Y + (b.Y-a.Y)*done/d}
			if on {
				out = append(out, append(cur, q))
			}
			k = (k + 1) % len(pattern)
			left, on, cur = pattern[k], !on, []point{q}
		}
	}
	if on && len(cur) > 1 {
		out = append(out, cur)
	}
	return out
}

func (p *pngPainter) text(t text) {
	f := p.face
	var polys [][]point
	pen := 0.0
	for _, r := range t.S {
		segs, err := f.font.LoadGlyph(&f.buf, f.glyph(r), fixed.I(int(f.em)), nil)
		if err == nil {
			lines, _ := flatten(glyphPath(segs))
			for _, l := range lines {
				for i, q := range l {
					x, y := pen+q.X/f.em*t.Size, q.Y/f.em*t.Size
					if t.Up {
						x, y = y, -x
					}
					l[i] = point{t.X + x, t.Y + y}
				}
				polys = append(polys, l)
			}
		}
		pen += f.advance(r) * t.Size
	}
	p.fill(polys, paint{t.Color, 1})
}

// glyphPath raises a glyph's quadratic curves to cubic ones.
func glyphPath(segs sfnt.Segments) []segment {
	at := func(q fixed.Point26_6) point { return point{float64(q.X) / 64, float64(q.Y) / 64} }
	var out []segment
	var last point
	for _, s := range segs {
		a := at(s.Args[0])
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			out = append(out, segment{op: 'M', p: [3]point{a}})
			last = a
		case sfnt.SegmentOpLineTo:
			out = append(out, segment{op: 'L', p: [3]point{a}})
			last = a
		case sfnt.SegmentOpQuadTo:
			b := at(s.Args[1])
			mid := func(p, q point) point { return point{p.X + (q.X-p.X)*2/3, p.Y + (q.Y-p.Y)*2/3} }
			out = append(out, segment{op: 'C', p: [3]point{mid(last, a), mid(b, a), b}})
			last = b
		case sfnt.SegmentOpCubeTo:
			out = append(out, segment{op: 'C', p: [3]point{a, at(s.Args[1]), at(s.Args[2])}})
			last = at(s.Args[2])
		}
	}
	return out
}
