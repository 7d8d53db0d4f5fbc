package render

import (
	"math"
	"slices"
)

// area is a panel laid out in coordinates of its own: 0, 0 is the top left
// corner of the frame, w, h the bottom right.
type area struct {
	Panel
	w, h   float64
	x, y   scale
	xt, yt []tick
	place  placer
	strip  float64 // height of what place put above the frame
	back   []shape // bands, horizontal rules
	curves []shape
	marks  []shape
}

// newArea computes everything inside the frame and the places of its labels.
func newArea(p Panel, fc *face, w, h float64) *area {
	a := &area{Panel: p, w: w, h: h}
	a.scales(fc)
	a.place = placer{face: fc, w: w, h: h, obs: obstacles{frame: rect{0, 0, w, h}}}
	for i, c := range p.Curves {
		a.band(c)
		a.curve(c, i)
	}
	a.rules()
	for _, n := range p.Notes {
		if n != "" {
			a.place.note(n)
		}
	}
	a.strip = a.place.raise()
	return a
}

// scales chooses ranges and ticks. Ticks are thinned until their labels stand
// apart.
func (a *area) scales(fc *face) {
	var xs, ys []float64
	for _, c := range a.Curves {
		for _, v := range c.Points {
			xs = append(xs, v.X)
			ys = append(ys, v.Y, v.Low, v.High)
		}
	}
	a.x = newScale(a.X, false, a.w, xs)
	a.y = newScale(a.Y, true, a.h, ys)
	a.xt = spaced(a.x, a.X.Format, int(a.w/24), func(s, t string) float64 {
		return (fc.width(s, tickSize)+fc.width(t, tickSize))/2 + 5
	})
	a.yt = spaced(a.y, a.Y.Format, int(a.h/(tickSize*2.4)), func(string, string) float64 { return tickSize * leading })
	// A label that sticks out too far would leave the page or meet the next
	// panel; its tick stays.
	for i, t := range a.xt {
		if x, w := a.x.at(t.V), fc.width(t.Label, tickSize)/2; x-w < -overhang || x+w > a.w+overhang {
			a.xt[i].Label = ""
		}
	}
}

// spaced gives the most ticks, up to about n, whose labels stand apart.
func spaced(s scale, format string, n int, gap func(a, b string) float64) []tick {
	for ; n > 2; n-- {
		t := ticks(s.lo, s.hi, s.log, n, format)
		ok := true
		for i := 1; i < len(t); i++ {
			ok = ok && math.Abs(s.at(t[i].V)-s.at(t[i-1].V)) >= gap(t[i-1].Label, t[i].Label)
		}
		if ok {
			return t
		}
	}
	t := ticks(s.lo, s.hi, s.log, 2, format)
	for i := 1; i < len(t); i++ {
		if math.Abs(s.at(t[i].V)-s.at(t[0].V)) < gap(t[0].Label, t[i].Label) {
			t[i].Label = ""
		}
	}
	return t
}

func (a *area) frame() rect { return rect{0, 0, a.w, a.h} }

func (a *area) pos(x, y float64) point { return point{a.x.at(x), a.y.at(y)} }

// band fills between Low and High; where only one vertex has them, it is a
// bar.
func (a *area) band(c Curve) {
	var run []Vertex
	flush := func() {
		switch {
		case len(run) == 1:
			v := run[0]
			if p, q, ok := a.frame().clip(a.pos(v.X, v.Low), a.pos(v.X, v.High)); ok && v.High > v.Low {
				const cap = 2.6
				path := slices.Concat(line(p, q), line(point{p.X - cap, p.Y}, point{p.X + cap, p.Y}), line(point{q.X - cap, q.Y}, point{q.X + cap, q.Y}))
				a.back = append(a.back, shape{Path: path, Stroke: paint{c.Color, 1}, Width: 0.8, Role: "band"})
			}
		case len(run) > 1:
			var poly []point
			for _, v := range run {
				poly = append(poly, a.pos(v.X, v.High))
			}
			for i := len(run) - 1; i >= 0; i-- {
				poly = append(poly, a.pos(run[i].X, run[i].Low))
			}
			if poly = a.frame().clipPolygon(poly); len(poly) > 2 {
				a.back = append(a.back, shape{Path: polyline(poly, true), Fill: paint{c.Color, a.alpha()}, Role: "band"})
			}
		}
		run = nil
	}
	for _, v := range c.Points {
		if finite(v.Y) && finite(v.Low) && finite(v.High) && v.Low <= v.High && (!a.Y.Log || v.Low > 0) {
			run = append(run, v)
		} else {
			flush()
		}
	}
	flush()
}

// alpha is lighter the more bands may lie on each other.
func (a *area) alpha() float64 { return max(0.07, min(bandAlpha, 3*bandAlpha/float64(len(a.Curves)))) }

// curve draws the line, broken at gaps and at the frame, and the markers.
func (a *area) curve(c Curve, index int) {
	var path []segment
	var seen []int // vertices with a place inside the frame
	var end point
	for i, v := range c.Points {
		if !finite(v.Y) {
			continue
		}
		p := a.pos(v.X, v.Y)
		if a.x.has(v.X) && a.y.has(v.Y) {
			seen = append(seen, i)
		}
		if i == 0 || !finite(c.Points[i-1].Y) {
			continue
		}
		from, to, ok := a.frame().clip(a.pos(c.Points[i-1].X, c.Points[i-1].Y), p)
		if !ok {
			continue
		}
		if len(path) == 0 || from != end {
			path = append(path, segment{op: 'M', p: [3]point{from}})
		}
		path = append(path, segment{op: 'L', p: [3]point{to}})
		end = to
		a.place.obs.lines = append(a.place.obs.lines, [2]point{from, to})
	}
	if len(path) > 0 {
		s := stroke(c.Color, c.Dash, curveWidth)
		s.Path, s.Role = path, "curve"
		a.curves = append(a.curves, s)
	}
	if c.Marker == NoMarker {
		return
	}
	every := a.every(c, seen)
	for k, i := range seen {
		v := c.Points[i]
		alone := (i == 0 || !finite(c.Points[i-1].Y)) && (i == len(c.Points)-1 || !finite(c.Points[i+1].Y))
		if (k+index)%every != 0 && !v.Hollow && !alone && k != 0 && k != len(seen)-1 {
			continue
		}
		at := a.pos(v.X, v.Y)
		a.marks = append(a.marks, marker(c.Marker, at, markerSize, c.Color, v.Hollow))
		a.place.obs.boxes = append(a.place.obs.boxes, rect{at.X, at.Y, at.X, at.Y}.grow(markerSize+0.8))
	}
}

// every is how many vertices share one marker, so that markers of one curve
// stand apart.
func (a *area) every(c Curve, seen []int) int {
	if len(seen) < 3 {
		return 1
	}
	span := math.Abs(a.x.at(c.Points[seen[len(seen)-1]].X) - a.x.at(c.Points[seen[0]].X))
	return max(1, int(math.Ceil(2.6*markerSize*float64(len(seen)-1)/max(span, 1))))
}

// rules draws the straight lines, and finds places for their labels once all
// of them are known.
func (a *area) rules() {
	for _, r := range a.Rules {
		s := stroke(r.Color, r.Dash, ruleWidth)
		s.Role = "rule"
		switch {
		case r.Horizontal && a.y.has(r.At):
			y := a.y.at(r.At)
			l := [2]point{{0, y}, {a.w, y}}
			s.Path = line(l[0], l[1])
			a.back = append(a.back, s)
			a.place.obs.lines = append(a.place.obs.lines, l)
		case !r.Horizontal && a.x.has(r.At):
			l := [2]point{a.foot(r), a.head(r)}
			s.Path = line(l[0], l[1])
			a.back = append(a.back, s)
			a.place.obs.lines = append(a.place.obs.lines, l)
			if r.Dot {
				a.marks = append(a.marks, shape{Path: circle(l[1], 1.5), Fill: paint{r.Color, 1}, Stroke: paint{white, 1}, Width: 0.5, Role: "dot"})
				a.place.obs.boxes = append(a.place.obs.boxes, rect{l[1].X, l[1].Y, l[1].X, l[1].Y}.grow(2))
			}
		}
	}
	for _, r := range a.Rules {
		switch {
		case r.Label == "":
		case r.Horizontal && a.y.has(r.At):
			a.place.horizontal(r, a.y.at(r.At))
		case !r.Horizontal && a.x.has(r.At):
			a.place.vertical(r, a.x.at(r.At), min(a.head(r).Y, a.foot(r).Y))
		}
	}
}

// foot and head are the ends of a vertical rule, within the frame.
func (a *area) foot(r Rule) point {
	y := a.h
	if a.Y.Inverted {
		y = 0
	}
	return point{a.x.at(r.At), y}
}

func (a *area) head(r Rule) point {
	return point{a.x.at(r.At), a.y.at(min(max(r.To, a.y.lo), a.y.hi))}
}

// draw puts the area on the page with its frame at left, top.
func (a *area) draw(l *list, fc *face, left, top, gutter float64) {
	move := func(p point) point { return point{p.X + left, p.Y + top} }
	put := func(s shape) {
		path := make([]segment, len(s.Path))
		for i, g := range s.Path {
			for j := range g.p {
				g.p[j] = move(g.p[j])
			}
			path[i] = g
		}
		s.Path = path
		l.draw(s)
	}
	axis := func(p, q point, width float64) {
		put(shape{Path: line(p, q), Stroke: paint{ink, 1}, Width: width, Role: "axis"})
	}
	for _, t := range a.yt {
		if y := a.y.at(t.V); y > 1 && y < a.h-1 {
			put(shape{Path: line(point{0, y}, point{a.w, y}), Stroke: paint{faint, 1}, Width: 0.4, Role: "grid"})
		}
	}
	for _, group := range [][]shape{a.back, a.curves} {
		for _, s := range group {
			put(s)
		}
	}
	put(shape{Path: box(a.frame()), Stroke: paint{ink, 1}, Width: frameWidth, Role: "axis"})
	for _, t := range a.xt {
		x := a.x.at(t.V)
		axis(point{x, a.h}, point{x, a.h + tickLen}, frameWidth)
		w := fc.width(t.Label, tickSize)
		l.write(text{S: t.Label, X: left + x - w/2, Y: top + a.h + tickLen + tickGap + ascent*tickSize, Size: tickSize, W: w, Color: ink, Align: alignMiddle})
	}
	for _, t := range a.yt {
		y := a.y.at(t.V)
		axis(point{-tickLen, y}, point{0, y}, frameWidth)
		w := fc.width(t.Label, tickSize)
		l.write(text{S: t.Label, X: left - tickLen - 2 - w, Y: top + y + 0.36*tickSize, Size: tickSize, W: w, Color: ink, Align: alignEnd})
	}
	if a.X.Log {
		for _, t := range minorLog(a.x.lo, a.x.hi) {
			axis(point{a.x.at(t.V), a.h}, point{a.x.at(t.V), a.h + tickLen*0.6}, frameWidth*0.7)
		}
	}
	if a.Y.Log {
		for _, t := range minorLog(a.y.lo, a.y.hi) {
			axis(point{-tickLen * 0.6, a.y.at(t.V)}, point{0, a.y.at(t.V)}, frameWidth*0.7)
		}
	}
	for _, s := range a.marks {
		put(s)
	}
	for _, s := range a.place.leaders() {
		put(s)
	}
	texts := append(slices.Clone(a.place.in), a.place.remarks...)
	for _, v := range a.place.values {
		texts = append(texts, v.text)
	}
	for _, t := range texts {
		t.X, t.Y = t.X+left, t.Y+top
		l.write(t)
	}
	a.titles(l, fc, left, top, gutter)
}

func (a *area) titles(l *list, fc *face, left, top, gutter float64) {
	if s := fc.fit(fc.clean(a.Title), panelSize, a.w+gutter); s != "" {
		w := fc.width(s, panelSize)
		x := left + max((a.w-w)/2, -gutter)
		l.write(text{S: s, X: x, Y: top - a.strip - titleGap - descent*panelSize, Size: panelSize, W: w, Color: ink, Align: alignMiddle})
	}
	if s := fc.fit(fc.clean(a.X.Label), axisSize, a.w); s != "" {
		w := fc.width(s, axisSize)
		l.write(text{S: s, X: left + (a.w-w)/2, Y: top + a.h + tickLen + tickGap + tickSize*leading + 1 + ascent*axisSize, Size: axisSize, W: w, Color: ink, Align: alignMiddle})
	}
	if s := fc.fit(fc.clean(a.Y.Label), axisSize, a.h+8); s != "" {
		w := fc.width(s, axisSize)
		l.write(text{S: s, X: left - gutter + ascent*axisSize, Y: top + a.h/2 + w/2, Size: axisSize, W: w, Color: ink, Up: true, Align: alignMiddle})
	}
}
