package render

import "math"

// list is the laid-out page: what is painted, back to front.
type list struct {
	W, H  float64
	Meta  map[string]string
	items []item
}

// item is either a shape or a text.
type item struct {
	shape *shape
	text  *text
}

// painter is one backend.
type painter interface {
	shape(shape)
	text(text)
}

func (l *list) paint(p painter) {
	for _, it := range l.items {
		if it.shape != nil {
			p.shape(*it.shape)
		} else {
			p.text(*it.text)
		}
	}
}

func (l *list) draw(s shape) { l.items = append(l.items, item{shape: &s}) }
func (l *list) write(t text) {
	if t.S != "" {
		l.items = append(l.items, item{text: &t})
	}
}

type point struct{ X, Y float64 }

// segment is one step of a path. Curves are cubic, the only kind all three
// backends have.
type segment struct {
	op byte // 'M' move, 'L' line, 'C' cubic, 'Z' close
	p  [3]point
}

// paint is a colour with opacity; Alpha 0 paints nothing.
type paint struct {
	Color
	Alpha float64
}

// shape is a path, filled and then stroked. Joins are round.
type shape struct {
	Path   []segment
	Fill   paint
	Stroke paint
	Width  float64
	Dash   []float64 // on, off, ...; points
	Round  bool      // round caps instead of butt
	Role   string    // what it is, for tests: marker, curve, band, rule, axis, grid
}

// text is one line of text. X, Y is the left end of the baseline; with Up it
// is read upwards, and X, Y is its lower end.
type text struct {
	S    string
	X, Y float64
	Size float64
	W    float64 // width as measured
	Color
	Up    bool
	Align align // what stays in place if a viewer's font has another width
}

type align byte

const (
	alignStart align = iota
	alignMiddle
	alignEnd
)

// box is the area that a text covers.
func (t text) box() rect {
	if t.Up {
		return rect{t.X - ascent*t.Size, t.Y - t.W, t.X + descent*t.Size, t.Y}
	}
	return rect{t.X, t.Y - ascent*t.Size, t.X + t.W, t.Y + descent*t.Size}
}

type rect struct{ x0, y0, x1, y1 float64 }

func (r rect) grow(d float64) rect { return rect{r.x0 - d, r.y0 - d, r.x1 + d, r.y1 + d} }

func (r rect) overlaps(o rect) bool {
	return r.x0 < o.x1 && o.x0 < r.x1 && r.y0 < o.y1 && o.y0 < r.y1
}

func (r rect) inside(o rect) bool {
	return r.x0 >= o.x0 && r.x1 <= o.x1 && r.y0 >= o.y0 && r.y1 <= o.y1
}

func (r rect) has(p point) bool {
	return p.X >= r.x0 && p.X <= r.x1 && p.Y >= r.y0 && p.Y <= r.y1
}

// clip cuts the segment a-b to r (Liang and Barsky, 1984).
func (r rect) clip(a, b point) (point, point, bool) {
	t0, t1 := 0.0, 1.0
	dx, dy := b.X-a.X, b.Y-a.Y
	for _, e := range [4][2]float64{{-dx, a.X - r.x0}, {dx, r.x1 - a.X}, {-dy, a.Y - r.y0}, {dy, r.y1 - a.Y}} {
		switch p, q := e[0], e[1]; {
		case p == 0:
			if q < 0 {
				return a, b, false
			}
		case p < 0:
			t0 = math.Max(t0, q/p)
		default:
			t1 = math.Min(t1, q/p)
		}
	}
	if t0 > t1 {
		return a, b, false
	}
	at := func(t float64) point { return point{a.X + t*dx, a.Y + t*dy} }
	p, q := a, b
	if t0 > 0 {
		p = at(t0)
	}
	if t1 < 1 {
		q = at(t1)
	}
	return p, q, true
}

// clipPolygon cuts a polygon to r (Sutherland and Hodgman, 1974).
func (r rect) clipPolygon(poly []point) []point {
	// Each side is given by its signed distance, positive inside.
	for _, side := range []func(point) float64{
		func(p point) float64 { return p.X - r.x0 },
		func(p point) float64 { return r.x1 - p.X },
		func(p point) float64 { return p.Y - r.y0 },
		func(p point) float64 { return r.y1 - p.Y },
	} {
		var out []point
		for i, b := range poly {
			a := poly[(i+len(poly)-1)%len(poly)]
			da, db := side(a), side(b)
			if (da < 0) != (db < 0) {
				t := da / (da - db)
				out = append(out, point{a.X + t*(b.X-a.X), a.Y + t*(b.Y-a.Y)})
			}
			if db >= 0 {
				out = append(out, b)
			}
		}
		poly = out
	}
	return poly
}

func line(a, b point) []segment { return polyline([]point{a, b}, false) }

func polyline(ps []point, closed bool) []segment {
	var out []segment
	for i, p := range ps {
		op := byte('L')
		if i == 0 {
			op = 'M'
		}
		out = append(out, segment{op: op, p: [3]point{p}})
	}
	if closed && len(out) > 0 {
		out = append(out, segment{op: 'Z'})
	}
	return out
}

func box(r rect) []segment {
	return polyline([]point{{r.x0, r.y0}, {r.x1, r.y0}, {r.x1, r.y1}, {r.x0, r.y1}}, true)
}

// circle is four cubics, each off by less than 0.03 % of r.
func circle(c point, r float64) []segment {
	const k = 0.5522847498
	at := func(x, y float64) point { return point{c.X + r*x, c.Y + r*y} }
	return []segment{
		{op: 'M', p: [3]point{at(1, 0)}},
		{op: 'C', p: [3]point{at(1, k), at(k, 1), at(0, 1)}},
		{op: 'C', p: [3]point{at(-k, 1), at(-1, k), at(-1, 0)}},
		{op: 'C', p: [3]point{at(-1, -k), at(-k, -1), at(0, -1)}},
		{op: 'C', p: [3]point{at(k, -1), at(1, -k), at(1, 0)}},
		{op: 'Z'},
	}
}

// flatten turns a path into polylines; done tells which are closed.
func flatten(path []segment) (lines [][]point, closed []bool) {
	var cur []point
	flush := func(c bool) {
		if len(cur) > 0 {
			lines, closed = append(lines, cur), append(closed, c)
		}
		cur = nil
	}
	for _, s := range path {
		switch s.op {
		case 'M':
			flush(false)
			cur = append(cur, s.p[0])
		case 'L':
			cur = append(cur, s.p[0])
		case 'C':
			a := cur[len(cur)-1]
			const n = 12
			for i := 1; i <= n; i++ {
				t := float64(i) / n
				u := 1 - t
				b0, b1, b2, b3 := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
				cur = append(cur, point{
					b0*a.X + b1*s.p[0].X + b2*s.p[1].X + b3*s.p[2].X,
					b0*a.Y + b1*s.p[0].Y + b2*s.p[1].Y + b3*s.p[2].Y,
				})
			}
		case 'Z':
			flush(true)
		}
	}
	flush(false)
	return lines, closed
}
