package render

import (
	"cmp"
	"slices"
)

// obstacles is what a label inside a panel must keep clear of.
type obstacles struct {
	frame rect
	boxes []rect     // labels and markers
	lines [][2]point // curves and rules
}

func (o *obstacles) free(r rect) bool {
	if !r.inside(o.frame) {
		return false
	}
	for _, b := range o.boxes {
		if r.overlaps(b) {
			return false
		}
	}
	for _, l := range o.lines {
		if max(l[0].X, l[1].X) < r.x0 || min(l[0].X, l[1].X) > r.x1 { // most are, and this is quick
			continue
		}
		if _, _, ok := r.clip(l[0], l[1]); ok {
			return false
		}
	}
	return true
}

// placer finds places for the labels of one panel, in the panel's
// coordinates. What finds none inside goes above the frame, where there is
// always room for one more: values upright, each with a leader to its x, and
// above them lines of remarks.
type placer struct {
	face    *face
	w, h    float64
	obs     obstacles
	in      []text
	values  []raised
	remarks []text
}

// raised is a value above the frame and what it belongs to.
type raised struct {
	text
	x   float64
	row int
}

const (
	valuePitch = labelSize * (ascent + descent)
	leader     = 9.0 // from the frame to the values
)

// vertical writes a rule's value beside it: near the x axis first, as in
// DistServe's figures, then higher up, on either side. top is the rule's
// upper end.
func (p *placer) vertical(r Rule, x, top float64) {
	t := p.text(r.Label, labelSize, r.Color, p.w)
	for y := p.h - descent*labelSize - 1.5; y-ascent*labelSize > top; y -= labelSize / 3 {
		for _, left := range []float64{x + 2.5, x - 2.5 - t.W} {
			t.X, t.Y = left, y
			if p.obs.free(t.box().grow(0.8)) {
				p.keep(t)
				return
			}
		}
	}
	p.values = append(p.values, raised{text: t, x: x})
}

// horizontal writes a rule's label on the line, from the left end or from the
// right.
func (p *placer) horizontal(r Rule, y float64) {
	t := p.text(r.Label, labelSize, r.Color, p.w)
	for i := range 40 {
		d := 3 + float64(i/2)*p.w/20
		t.X = d
		if i%2 == 1 {
			t.X = p.w - d - t.W
		}
		for _, t.Y = range []float64{y - descent*labelSize - 1, y + ascent*labelSize + 1} {
			if p.obs.free(t.box().grow(0.5)) {
				p.keep(t)
				return
			}
		}
	}
	p.remarks = append(p.remarks, t)
}

// note writes a remark in a free corner or somewhere else free, in up to
// three lines; if there is no such place, above the frame.
func (p *placer) note(s string) {
	const pitch = noteSize * leading
	for _, share := range []float64{1, 0.6, 0.45} {
		lines := p.face.wrap(s, noteSize, (p.w-6)*share, 3)
		w, h := 0.0, float64(len(lines))*pitch
		for _, l := range lines {
			w = max(w, p.face.width(l, noteSize))
		}
		const n = 16
		for _, fx := range []float64{0, 1, 0.5} {
			for i := range n + 1 {
				x := 3 + fx*(p.w-6-w)
				y := (p.h-6-h)*(1-float64(i)/n) + 3
				if !p.obs.free(rect{x, y, x + w, y + h}.grow(1)) {
					continue
				}
				for k, l := range lines {
					t := p.text(l, noteSize, grey, p.w)
					t.X, t.Y = x, y+float64(k)*pitch+ascent*noteSize
					p.keep(t)
				}
				return
			}
		}
	}
	for _, l := range p.face.wrap(s, noteSize, p.w, 3) {
		p.remarks = append(p.remarks, p.text(l, noteSize, grey, p.w))
	}
}

func (p *placer) text(s string, size float64, c Color, limit float64) text {
	s = p.face.fit(p.face.clean(s), size, limit)
	return text{S: s, Size: size, W: p.face.width(s, size), Color: c}
}

func (p *placer) keep(t text) {
	p.obs.boxes = append(p.obs.boxes, t.box())
	p.in = append(p.in, t)
}

// raise places what lies above the frame and returns its height.
func (p *placer) raise() float64 {
	// Values stand in rows, each as full as it gets, in order of x.
	slices.SortStableFunc(p.values, func(a, b raised) int { return cmp.Compare(a.x, b.x) })
	most := max(int(p.w/valuePitch), 1)
	height := 0.0
	for row := 0; row*most < len(p.values); row++ {
		vs := p.values[row*most : min((row+1)*most, len(p.values))]
		base := leader
		if row > 0 {
			base = height + 2
		}
		spread(vs, p.w)
		for i := range vs {
			vs[i].row, vs[i].Up = row, true
			vs[i].Y = -base
			height = max(height, base+vs[i].W)
		}
	}
	for i := len(p.remarks) - 1; i >= 0; i-- { // upwards, so from the last
		t := &p.remarks[i]
		t.X, t.Y = 0, -height-2-descent*t.Size
		height += t.Size * leading
	}
	if height > 0 {
		height += 2
	}
	return height
}

// spread gives upright values places side by side in 0..w, each as near to
// its x as the others allow: runs that would overlap are merged and centred
// on the mean of what their members want.
func spread(vs []raised, w float64) {
	type run struct {
		n    int
		mean float64 // of the wanted position of the run's first member
	}
	var runs []run
	left := func(r run) float64 {
		return min(max(r.mean, 0), w-float64(r.n)*valuePitch)
	}
	for _, v := range vs {
		r := run{1, v.x - valuePitch/2}
		for len(runs) > 0 {
			prev := runs[len(runs)-1]
			if left(prev)+float64(prev.n)*valuePitch <= left(r) {
				break
			}
			m := float64(r.n)
			n := float64(prev.n)
			r = run{prev.n + r.n, (n*prev.mean + m*(r.mean-n*valuePitch)) / (n + m)}
			runs = runs[:len(runs)-1]
		}
		runs = append(runs, r)
	}
	i := 0
	for _, r := range runs {
		for k := range r.n {
			vs[i].X = left(r) + float64(k)*valuePitch + ascent*labelSize
			i++
		}
	}
}

// leaders are the lines from the frame to the values of the first row; those
// of further rows would run through it.
func (p *placer) leaders() []shape {
	var out []shape
	for _, v := range p.values {
		path := []point{{v.x, 0}, {v.x, -2}}
		if v.row == 0 {
			mid := v.X + (descent-ascent)/2*labelSize
			path = append(path, point{mid, -leader + 2.5}, point{mid, -leader + 1})
		}
		out = append(out, shape{Path: polyline(path, false), Stroke: paint{v.Color, 1}, Width: 0.5, Role: "axis"})
	}
	return out
}
