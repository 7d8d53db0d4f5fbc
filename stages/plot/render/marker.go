package render

import "math"

// stroke is the line style of a colour and a pattern.
func stroke(c Color, d Dash, width float64) shape {
	s := shape{Stroke: paint{c, 1}, Width: width}
	switch d {
	case Dashed:
		s.Dash = []float64{4, 2.4}
	case Dotted:
		// Round caps make dots of dashes without length; some printers drop
		// those of exactly 0.
		s.Dash, s.Round = []float64{0.05, width * 2.5}, true
	}
	return s
}

// marker is a marker's shape around c. Sizes are balanced so that all shapes
// cover about the area of a circle of radius r. A filled one has a thin white
// rim, which keeps markers apart where curves meet.
func marker(m Marker, c point, r float64, col Color, hollow bool) shape {
	s := shape{Fill: paint{col, 1}, Stroke: paint{white, 1}, Width: 0.4, Role: "marker"}
	if hollow {
		s.Fill, s.Stroke, s.Width, s.Role = paint{white, 1}, paint{col, 1}, 0.9, "hollow"
		r -= 0.2
	}
	poly := func(ps ...point) []segment {
		for i, p := range ps {
			ps[i] = point{c.X + p.X*r, c.Y + p.Y*r}
		}
		return polyline(ps, true)
	}
	switch m {
	case Square:
		s.Path = poly(point{-.9, -.9}, point{.9, -.9}, point{.9, .9}, point{-.9, .9})
	case Triangle:
		s.Path = poly(point{0, -1.25}, point{1.15, .85}, point{-1.15, .85})
	case TriangleDown:
		s.Path = poly(point{0, 1.25}, point{1.15, -.85}, point{-1.15, -.85})
	case Diamond:
		s.Path = poly(point{0, -1.25}, point{1.25, 0}, point{0, 1.25}, point{-1.25, 0})
	case Star:
		var ps []point
		for i := range 10 {
			d := 1.4
			if i%2 == 1 {
				d = 0.6
			}
			sin, cos := math.Sincos(float64(i) * math.Pi / 5)
			ps = append(ps, point{d * sin, -d * cos})
		}
		s.Path = poly(ps...)
	case Plus, Cross:
		const a, b = 0.42, 1.2
		ps := []point{{-a, -b}, {a, -b}, {a, -a}, {b, -a}, {b, a}, {a, a}, {a, b}, {-a, b}, {-a, a}, {-b, a}, {-b, -a}, {-a, -a}}
		if m == Cross {
			for i, p := range ps {
				ps[i] = point{(p.X - p.Y) * math.Sqrt2 / 2, (p.X + p.Y) * math.Sqrt2 / 2}
			}
		}
		s.Path = poly(ps...)
	case NoMarker:
	default:
		s.Path = circle(c, r)
	}
	return s
}
