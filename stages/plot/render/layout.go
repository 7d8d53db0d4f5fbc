package render

import (
	"fmt"
	"math"
)

// Type sizes and line widths, points. A figure of 7 in goes into a page as it
// is, so these are sizes in print.
const (
	titleSize  = 10.0
	subSize    = 7.5
	panelSize  = 8.5
	axisSize   = 8.5
	tickSize   = 7.5
	labelSize  = 7.5 // of crossings
	noteSize   = 7.0
	legendSize = 8.0
	detailSize = 7.0
	footSize   = 6.5

	curveWidth = 1.2
	ruleWidth  = 0.8
	frameWidth = 0.6
	markerSize = 2.3 // radius
	tickLen    = 3.0
	bandAlpha  = 0.13

	margin   = 8.0  // around the page
	panelGap = 12.0 // between panels
	sidePad  = 8.0  // right of a panel: half a tick label
	overhang = 13.0 // how far a tick label may stick out beside the frame
	tickGap  = 2.2  // tick to label
	titleGap = 5.0  // panel title to frame
	minPlot  = 50.0 // below this a panel shows nothing
)

var (
	ink   = Color{34, 34, 34}
	grey  = Color{96, 96, 96}
	faint = Color{232, 232, 232}
	white = Color{255, 255, 255}
)

// layout computes the page. It is the only place that decides where anything
// goes.
func layout(f Figure) (*list, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	fc, err := newFace()
	if err != nil {
		return nil, err
	}
	if f.Width == 0 {
		f.Width = PageWidth
	}
	inner := f.Width - 2*margin
	head, foot := header(f, fc, inner), footer(f, fc, inner)
	leg := newLegend(f.Legend, fc, inner)

	// What surrounds the frames, top to bottom.
	panelTitle, xLabel := 0.0, 0.0
	for _, p := range f.Panels {
		if p.Title != "" {
			panelTitle = panelSize*leading + titleGap
		}
		if p.X.Label != "" {
			xLabel = axisSize*leading + 1
		}
	}
	below := tickLen + tickGap + tickSize*leading + xLabel
	if len(leg.grids) > 0 {
		below += 5 + leg.h
	}
	if foot.h > 0 {
		below += 5 + foot.h
	}
	above := head.h + panelTitle
	if head.h > 0 {
		above += titleGap // as a tick label at the upper edge needs
	}

	n := float64(len(f.Panels))
	h := min(max(0.66*inner/n, 90), 230)
	strip := 0.0
	var areas []*area
	var gutters []float64
	for {
		if f.Height > 0 {
			h = f.Height - 2*margin - above - below - strip
		}
		if h < minPlot {
			return nil, fmt.Errorf("render: a height of %g points leaves %.0f for the panels: give at least %.0f, or 0 for as high as needed", f.Height, h, math.Ceil(f.Height+minPlot-h))
		}
		areas, gutters, err = panels(f, fc, inner, h)
		if err != nil {
			return nil, err
		}
		need := 0.0
		for _, a := range areas {
			need = max(need, a.strip)
		}
		if f.Height == 0 || need <= strip {
			strip = max(need, strip)
			break
		}
		strip = need // smaller panels may send more labels above: look again
	}

	l := &list{W: f.Width, H: f.Height, Meta: f.Meta}
	if f.Height == 0 {
		l.H = math.Ceil(2*margin + above + strip + h + below)
	}
	head.draw(l, fc, f.Width, margin)
	top := margin + above + strip
	x := margin
	for i, a := range areas {
		x += gutters[i]
		a.draw(l, fc, x, top, gutters[i])
		x += a.w + sidePad + panelGap
	}
	y := top + h + tickLen + tickGap + tickSize*leading + xLabel
	if len(leg.grids) > 0 {
		leg.draw(l, fc, f.Width, y+5)
		y += 5 + leg.h
	}
	if foot.h > 0 {
		foot.draw(l, fc, f.Width, y+5)
	}
	return l, nil
}

// panels lays out the panels at height h. Frames are equally wide; what is
// left of each, the gutter, is as wide as its labels need.
func panels(f Figure, fc *face, inner, h float64) ([]*area, []float64, error) {
	n := float64(len(f.Panels))
	gutters := make([]float64, len(f.Panels))
	w := inner - n*sidePad - (n-1)*panelGap
	for i, p := range f.Panels {
		probe := &area{Panel: p, w: 100, h: h}
		probe.scales(fc)
		for _, t := range probe.yt {
			gutters[i] = max(gutters[i], fc.width(t.Label, tickSize))
		}
		gutters[i] += tickLen + 2
		if p.Y.Label != "" {
			gutters[i] += axisSize*(ascent+descent) + 2
		}
		w -= gutters[i]
	}
	w /= n
	if w < minPlot {
		return nil, nil, fmt.Errorf("render: a width of %g points leaves %.0f for each of %d panels: give at least %.0f", f.Width, w, len(f.Panels), math.Ceil(f.Width+n*(minPlot-w)))
	}
	var areas []*area
	for _, p := range f.Panels {
		areas = append(areas, newArea(p, fc, w, h))
	}
	return areas, gutters, nil
}

// block is lines of text, one under the other.
type block struct {
	lines []text
	h     float64
	left  bool // not centred
}

func (b *block) add(fc *face, s string, size float64, c Color, limit float64, most int) {
	for _, s := range fc.wrap(s, size, limit, most) {
		b.lines = append(b.lines, text{S: s, Y: b.h + size*leading - descent*size, Size: size, W: fc.width(s, size), Color: c})
		b.h += size * leading
	}
}

func (b block) draw(l *list, fc *face, page, top float64) {
	for _, t := range b.lines {
		t.X, t.Y = margin, t.Y+top
		if !b.left {
			t.X, t.Align = (page-t.W)/2, alignMiddle
		}
		l.write(t)
	}
}

func header(f Figure, fc *face, limit float64) block {
	var b block
	b.add(fc, f.Title, titleSize, ink, limit, 2)
	for _, s := range f.Subtitle {
		b.add(fc, s, subSize, grey, limit, 2)
	}
	return b
}

func footer(f Figure, fc *face, limit float64) block {
	b := block{left: true}
	for _, s := range f.Footer {
		b.add(fc, s, footSize, grey, limit, 12)
	}
	return b
}
