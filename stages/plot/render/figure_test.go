package render

import (
	"math"
	"strings"
	"testing"
)

func TestBadFigures(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	curve := func(v ...Vertex) Figure { return Figure{Panels: []Panel{{Curves: []Curve{{Name: "c", Points: v}}}}} }
	axis := func(a Axis) Figure { return Figure{Panels: []Panel{{X: a}}} }
	for name, c := range map[string]struct {
		f    Figure
		want string
	}{
		"no panels":       {Figure{Title: "empty"}, "no panels"},
		"page":            {Figure{Width: nan, Panels: []Panel{{}}}, "width and height"},
		"too narrow":      {Figure{Width: 60, Panels: []Panel{{}}}, "give at least"},
		"too low":         {Figure{Height: 60, Panels: []Panel{{}}}, "give at least"},
		"order":           {curve(Vertex{X: 2}, Vertex{X: 1}), "x order"},
		"x":               {curve(Vertex{X: nan}), "finite x"},
		"y":               {curve(Vertex{Y: inf}), "NaN for a gap"},
		"upside down":     {axis(Axis{Min: 2, Max: 1}), "Inverted"},
		"log range":       {axis(Axis{Min: 0, Max: 1, Log: true}), "cannot begin at 0"},
		"log x":           {Figure{Panels: []Panel{{X: Axis{Log: true}, Curves: []Curve{{Points: []Vertex{{X: 0, Y: 1}}}}}}}, "logarithmic"},
		"format":          {axis(Axis{Format: "%d"}), "does not fit"},
		"rule":            {Figure{Panels: []Panel{{Rules: []Rule{{At: nan}}}}}, "not finite"},
		"unknown meta":    {Figure{Panels: []Panel{{}}, Meta: map[string]string{"Colour": "x"}}, "Author, Keywords, Subject, Title"},
		"axis not finite": {axis(Axis{Min: nan, Max: 1}), "not finite"},
	} {
		_, err := PDF(c.f)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	for _, scale := range []float64{-1, nan, inf, 1000} {
		if _, err := PNG(sampleFigure(), scale); err == nil || !strings.Contains(err.Error(), "scale") {
			t.Errorf("PNG at scale %g: error %v", scale, err)
		}
	}
}

// sampleFigure has one of everything.
func sampleFigure() Figure {
	nan := math.NaN()
	red, blue := Color{200, 0, 0}, Color{0, 0, 200}
	curves := []Curve{
		{Name: "first", Color: red, Points: []Vertex{
			{1, 100, 95, 100, false}, {2, 90, 80, 96, false}, {3, nan, nan, nan, false}, {4, 40, 30, 50, true}, {5, 0, 0, 4, false},
		}},
		{Name: "second", Color: blue, Dash: Dotted, Marker: Square, Points: []Vertex{
			{1, 20, nan, nan, false}, {3, 60, nan, nan, false}, {5, 97, nan, nan, false},
		}},
	}
	return Figure{
		Title: "A title", Subtitle: []string{"first: TP:1"}, Footer: []string{"120 requests & more <per> point."},
		Panels: []Panel{
			{
				Title: "left", X: Axis{Label: "Request rate (req/s)"}, Y: Axis{Label: "SLO attainment (%)", Min: 0, Max: 105}, Curves: curves,
				Rules: []Rule{
					{Horizontal: true, At: 90, Color: grey, Dash: Dashed, Label: "target"},
					{At: 2, To: 90, Dot: true, Color: red, Dash: Dashed, Label: "2.00"},
					{At: 4.6216, To: 90, Dot: true, Color: blue, Dash: Dashed, Label: "4.62"},
				},
				Notes: []string{"a note"},
			},
			{X: Axis{Label: "Scale", Log: true, Inverted: true}, Y: Axis{Min: 0, Max: 105}, Curves: curves},
		},
		Legend: []LegendEntry{{Name: "first (1 GPU)", Detail: "TP:1", Color: red}, {Name: "not valid", Color: ink, Hollow: true, NoLine: true}},
		Meta:   map[string]string{"Title": "A title", "Subject": "TTFT ≤ 1 ms", "Keywords": "k"},
	}
}
