package render

// legend is laid out below the panels, across the figure: there it hides no
// data, whatever the data. It is one row if that fits; else entries with a
// detail and those without have a grid each.
type legend struct {
	grids []grid
	h     float64
}

// grid is entries in columns, row by row.
type grid struct {
	cells []cell
	cols  int
	width []float64 // of each column
	rowH  []float64
	w, h  float64
}

// cell is one entry: a sample, the name, and the detail behind it or, where
// that does not fit, below it.
type cell struct {
	LegendEntry
	below bool
	w     float64
}

const (
	sampleW   = 22.0 // the line sample
	sampleGap = 4.0
	cellGap   = 14.0
	detailGap = 6.0 // name to detail
)

func newLegend(entries []LegendEntry, fc *face, limit float64) legend {
	var all, detailed, plain []cell
	for _, e := range entries {
		c := newCell(e, fc, limit)
		all = append(all, c)
		if c.Detail != "" {
			detailed = append(detailed, c)
		} else {
			plain = append(plain, c)
		}
	}
	var g legend
	one := newGrid(all, limit)
	if len(one.rowH) < 2 {
		detailed, plain = all, nil
	}
	for _, cells := range [][]cell{detailed, plain} {
		if len(cells) > 0 {
			g.grids = append(g.grids, newGrid(cells, limit))
			g.h += g.grids[len(g.grids)-1].h
		}
	}
	return g
}

func newCell(e LegendEntry, fc *face, limit float64) cell {
	room := limit - sampleW - sampleGap
	e.Name = fc.fit(fc.clean(e.Name), legendSize, room)
	e.Detail = fc.clean(e.Detail)
	c := cell{LegendEntry: e, w: fc.width(e.Name, legendSize)}
	detail := fc.width(e.Detail, detailSize)
	switch {
	case e.Detail == "":
	case c.w+detailGap+detail > room:
		c.below = true
		c.Detail = fc.fit(e.Detail, detailSize, room)
		c.w = max(c.w, fc.width(c.Detail, detailSize))
	default:
		c.w += detailGap + detail
	}
	c.w += sampleW + sampleGap
	return c
}

// newGrid uses as many columns as fit, and no more than fill the rows that
// then are needed.
func newGrid(cells []cell, limit float64) grid {
	g := grid{cells: cells}
	for g.cols = len(cells); g.cols > 0; g.cols-- {
		if rows := (len(cells) + g.cols - 1) / g.cols; (len(cells)+rows-1)/rows < g.cols {
			continue // fewer columns give the same rows, better filled
		}
		if g.measure(); g.w <= limit {
			break
		}
	}
	return g
}

func (g *grid) measure() {
	g.width, g.rowH, g.h = make([]float64, g.cols), nil, 0
	for i, c := range g.cells {
		g.width[i%g.cols] = max(g.width[i%g.cols], c.w)
		if i%g.cols == 0 {
			g.rowH = append(g.rowH, legendSize*leading)
		}
		if c.below {
			g.rowH[len(g.rowH)-1] = legendSize*leading + detailSize*leading
		}
	}
	g.w = float64(g.cols-1) * cellGap
	for _, w := range g.width {
		g.w += w
	}
	for _, h := range g.rowH {
		g.h += h
	}
}

// draw centres the legend in a page of width page, its upper edge at top.
func (g legend) draw(l *list, fc *face, page, top float64) {
	for _, r := range g.grids {
		r.draw(l, fc, page, top)
		top += r.h
	}
}

func (g grid) draw(l *list, fc *face, page, top float64) {
	left := (page - g.w) / 2
	x, y := left, top
	for i, c := range g.cells {
		mid := y + legendSize*leading/2
		if c.Band {
			l.draw(shape{Path: box(rect{x, mid - 3.2, x + sampleW, mid + 3.2}), Fill: paint{c.Color, bandAlpha}, Role: "legend"})
		}
		if !c.NoLine {
			s := stroke(c.Color, c.Dash, curveWidth)
			s.Path, s.Role = line(point{x, mid}, point{x + sampleW, mid}), "legend"
			l.draw(s)
		}
		if c.Marker != NoMarker {
			m := marker(c.Marker, point{x + sampleW/2, mid}, markerSize, c.Color, c.Hollow)
			m.Role = "legend"
			l.draw(m)
		}
		tx, base := x+sampleW+sampleGap, mid+0.36*legendSize
		w := fc.width(c.Name, legendSize)
		l.write(text{S: c.Name, X: tx, Y: base, Size: legendSize, W: w, Color: ink})
		d := text{S: c.Detail, X: tx + w + detailGap, Y: base, Size: detailSize, W: fc.width(c.Detail, detailSize), Color: grey}
		if c.below {
			d.X, d.Y = tx, base+detailSize*leading
		}
		l.write(d)
		x += g.width[i%g.cols] + cellGap
		if i%g.cols == g.cols-1 {
			x, y = left, y+g.rowH[i/g.cols]
		}
	}
}
