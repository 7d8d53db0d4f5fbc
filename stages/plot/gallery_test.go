package plot

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/stages/analyze"
	"vbp/stages/plot/render"
)

// TestGallery draws the figures that a change should be looked at in, and
// writes them to the folder VBP_GALLERY.
func TestGallery(t *testing.T) {
	dir, scale := os.Getenv("VBP_GALLERY"), 0.5
	if dir != "" {
		scale = 2
	}
	figures := gallery(t)
	for name, f := range figures {
		for ext, draw := range map[string]func(render.Figure) ([]byte, error){
			"pdf": render.PDF, "svg": render.SVG,
			"png": func(f render.Figure) ([]byte, error) { return render.PNG(f, scale) },
		} {
			b, err := draw(f)
			if err != nil {
				t.Errorf("%s.%s: %v", name, ext, err)
				continue
			}
			if dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+"."+ext), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func gallery(t *testing.T) map[string]render.Figure {
	t.Helper()
	out := map[string]render.Figure{}
	add := func(name string, f render.Figure, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = f
	}
	compare := func(name string, a *analyze.Analysis, o Options) {
		t.Helper()
		f, err := Comparison(a, o)
		add(name, f, err)
	}
	p := pair()
	f, err := Attainment(p, p.Series[1], Options{})
	add("attainment_nixl", f, err)
	f, err = Attainment(p, p.Series[0], Options{})
	add("attainment_simple", f, err)
	compare("comparison", p, Options{})
	compare("comparison_gpu", p, Options{PerGPU: true, Only: "ttft"})
	inv := pair()
	for i := range 2 {
		inv.Series[i].Rates[5].Valid, inv.Series[i].Rates[5].Reason = false, "schedule_kept > 0.97"
		inv.Series[i].Config["engine"] = "simulated"
	}
	compare("invalid", inv, Options{Footer: []string{"Run 20260110_120000 of quickstart."}})
	compare("crowd8x100", crowd(8, 100), Options{})
	compare("crowd8x8", crowd(8, 8), Options{})
	compare("crowd1x1", crowd(1, 1), Options{})
	compare("crowd3x30", crowd(3, 30), Options{})
	return out
}

// TestFiguresKeepApart holds that no two texts overlap and none leaves the
// page, for 1 to 8 series of 1 to 100 points, in the SVG as a reader gets it.
func TestFiguresKeepApart(t *testing.T) {
	for n := 1; n <= MaxSeries; n++ {
		for _, k := range []int{1, 2, 7, 100} {
			a := crowd(n, k)
			figures := map[string]render.Figure{}
			var err error
			if figures["comparison"], err = Comparison(a, Options{}); err != nil {
				t.Fatal(err)
			}
			if figures["attainment"], err = Attainment(a, a.Series[n-1], Options{}); err != nil {
				t.Fatal(err)
			}
			for kind, f := range figures {
				b, err := render.SVG(f)
				if err == nil {
					err = apart(b)
				}
				if err != nil {
					t.Errorf("%s of %d series of %d points: %v", kind, n, k, err)
				}
			}
		}
	}
}

func apart(svg []byte) error {
	var doc struct {
		Width  string `xml:"width,attr"`
		Height string `xml:"height,attr"`
		Texts  []struct {
			S         string  `xml:",chardata"`
			X         float64 `xml:"x,attr"`
			Y         float64 `xml:"y,attr"`
			Size      float64 `xml:"font-size,attr"`
			Length    float64 `xml:"textLength,attr"`
			Anchor    string  `xml:"text-anchor,attr"`
			Transform string  `xml:"transform,attr"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal(svg, &doc); err != nil {
		return err
	}
	var w, h float64
	if _, err := fmt.Sscanf(strings.ReplaceAll(doc.Width+" "+doc.Height, "pt", ""), "%f %f", &w, &h); err != nil {
		return err
	}
	type box struct{ x0, y0, x1, y1 float64 }
	var boxes []box
	for _, t := range doc.Texts {
		before := map[string]float64{"middle": t.Length / 2, "end": t.Length}[t.Anchor]
		// Roboto reaches 0.93 above and 0.24 below the baseline; 0.02 points
		// are the rounding of the file.
		b := box{t.X - before, t.Y - 0.93*t.Size, t.X - before + t.Length, t.Y + 0.24*t.Size}
		if t.Transform != "" { // turned left by a quarter
			b = box{t.X - 0.93*t.Size, t.Y + before - t.Length, t.X + 0.24*t.Size, t.Y + before}
		}
		b = box{b.x0 + 0.02, b.y0 + 0.02, b.x1 - 0.02, b.y1 - 0.02}
		if b.x0 < 0 || b.y0 < 0 || b.x1 > w || b.y1 > h {
			return fmt.Errorf("text %q is off the page", t.S)
		}
		for j, o := range boxes {
			if b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1 {
				return fmt.Errorf("texts %q and %q overlap", doc.Texts[j].S, t.S)
			}
		}
		boxes = append(boxes, b)
	}
	return nil
}
