package render

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func sampleImage(t *testing.T, scale float64) (image.Image, []byte) {
	t.Helper()
	b, err := PNG(sampleFigure(), scale)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img, b
}

func TestPNG(t *testing.T) {
	l, err := layout(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	const scale = 3
	img, b := sampleImage(t, scale)
	if got := img.Bounds().Size(); got != image.Pt(int(math.Ceil(l.W*scale)), int(math.Ceil(l.H*scale))) {
		t.Errorf("size %v for a page of %g x %g", got, l.W, l.H)
	}
	// 3 pixels a point are 216 per inch, 8504 per metre.
	if !bytes.Contains(b, append([]byte("pHYs"), 0, 0, 0x21, 0x38, 0, 0, 0x21, 0x38, 1)) {
		t.Error("the resolution is missing")
	}
	if !bytes.Contains(b, []byte("iTXtTitle\x00\x00\x00\x00\x00A title")) {
		t.Error("the title is missing")
	}
	// A filled marker has its colour in its middle, a hollow one is white.
	for _, it := range l.items {
		s := it.shape
		if s == nil || (s.Role != "marker" && s.Role != "hollow") {
			continue
		}
		c := point{(s.Path[0].p[0].X + s.Path[2].p[2].X) / 2, s.Path[0].p[0].Y} // of a circle
		if s.Path[1].op != 'C' {
			continue
		}
		want := color.RGBA{s.Fill.R, s.Fill.G, s.Fill.B, 255}
		if got := color.RGBAModel.Convert(img.At(int(c.X*scale), int(c.Y*scale))); got != want {
			t.Errorf("%s at %v is %v, want %v", s.Role, c, got, want)
		}
	}
}

// TestPNGLooksLikePDF compares our raster with poppler's of the PDF. Both
// smooth edges in their own way, so it compares ink per block of 6 pixels
// (1/20 in): a label moved by a point, a line missing or a wrong dash shows.
func TestPNGLooksLikePDF(t *testing.T) {
	tool, err := exec.LookPath("pdftoppm")
	if err != nil {
		t.Skip("pdftoppm is missing: install poppler-utils to compare PNG and PDF")
	}
	b, err := PDF(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f.pdf"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "-r", "144", "-png", "-singlefile", filepath.Join(dir, "f.pdf"), filepath.Join(dir, "f")).CombinedOutput(); err != nil {
		t.Fatalf("pdftoppm: %v\n%s", err, out)
	}
	r, err := os.Open(filepath.Join(dir, "f.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pdf, err := png.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	img, _ := sampleImage(t, 2)
	if pdf.Bounds() != img.Bounds() {
		t.Fatalf("sizes %v and %v", pdf.Bounds(), img.Bounds())
	}
	const n = 6
	worst, sum, blocks := 0.0, 0.0, 0
	at := ""
	for y := 0; y+n <= img.Bounds().Dy(); y += n {
		for x := 0; x+n <= img.Bounds().Dx(); x += n {
			d := math.Abs(blockInk(pdf, x, y, n) - blockInk(img, x, y, n))
			sum, blocks = sum+d, blocks+1
			if d > worst {
				worst, at = d, fmt.Sprint(x, ", ", y)
			}
		}
	}
	if mean := sum / float64(blocks); worst > 0.2 || mean > 0.005 {
		t.Errorf("ink differs by up to %.3f (at %s), on average by %.4f", worst, at, mean)
	} else {
		t.Logf("worst %.3f at %s, mean %.4f", worst, at, mean)
	}
}

// blockInk is the mean darkness, 0 to 1, of a block.
func blockInk(img image.Image, x0, y0, n int) float64 {
	sum := 0.0
	for y := y0; y < y0+n; y++ {
		for x := x0; x < x0+n; x++ {
			sum += 1 - float64(color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y)/255
		}
	}
	return sum / float64(n*n)
}
