package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// poppler runs one of poppler's tools on the sample figure's PDF; output is
// where to, for tools that do not print.
func poppler(t *testing.T, tool string, output ...string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("%s is missing: install poppler-utils to test what a PDF reader sees", tool)
	}
	b, err := PDF(sampleFigure())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "figure.pdf")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, append([]string{file}, output...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
	return string(out)
}

func TestPDFText(t *testing.T) {
	got := strings.Join(strings.Fields(poppler(t, "pdftotext", "-")), " ")
	for _, want := range []string{
		"A title", "first: TP:1", "left", "Request rate (req/s)", "SLO attainment (%)", "Scale",
		"2.00", "4.62", "target", "a note", "first (1 GPU)", "not valid", "120 requests & more <per> point.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the PDF's text lacks %q: %s", want, got)
		}
	}
}

func TestPDFFontsEmbedded(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(poppler(t, "pdffonts")), "\n")[2:]
	if len(lines) != 1 {
		t.Fatalf("%d fonts, want 1: %q", len(lines), lines)
	}
	// name, type (two words), encoding, emb, sub, uni
	if f := strings.Fields(lines[0]); f[1]+" "+f[2] != "CID TrueType" || f[4] != "yes" || f[6] != "yes" {
		t.Errorf("font %q is not embedded with its Unicode table", lines[0])
	}
}

func TestPDFInfo(t *testing.T) {
	got := poppler(t, "pdfinfo")
	for _, want := range []string{`Title:\s+A title`, `Subject:\s+TTFT ≤ 1 ms`, `Pages:\s+1\n`, `Page size:\s+504 x`} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("pdfinfo lacks %s:\n%s", want, got)
		}
	}
}

// TestSameBytes draws the same figure again, with one thread, and many at the
// same time.
func TestSameBytes(t *testing.T) {
	for name, draw := range map[string]func(Figure) ([]byte, error){
		"PDF": PDF, "SVG": SVG,
		"PNG": func(f Figure) ([]byte, error) { return PNG(f, 1.5) },
	} {
		first, err := draw(sampleFigure())
		if err != nil {
			t.Fatal(err)
		}
		if len(first) > 200_000 {
			t.Errorf("%s has %d bytes", name, len(first))
		}
		check := func(how string) {
			if b, err := draw(sampleFigure()); err != nil || !bytes.Equal(b, first) {
				t.Errorf("%s differs %s (error %v)", name, how, err)
			}
		}
		check("the second time")
		n := runtime.GOMAXPROCS(1)
		check("with one thread")
		runtime.GOMAXPROCS(n)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { check("beside others") })
		}
		wg.Wait()
	}
}
