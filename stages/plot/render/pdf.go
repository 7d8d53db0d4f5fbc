package render

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/go-pdf/fpdf"
	"github.com/wcharczuk/go-chart/v2/roboto"
)

// PDF draws a figure as one page of vector lines and text, with the used part
// of the font embedded. The same figure gives the same bytes.
func PDF(f Figure) ([]byte, error) {
	l, err := layout(f)
	if err != nil {
		return nil, err
	}
	doc := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: l.W, Ht: l.H}})
	// A file says when it was made, unless it must be the same tomorrow.
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	doc.SetCreationDate(epoch)
	doc.SetModificationDate(epoch)
	doc.SetCatalogSort(true)
	doc.SetCreator("vbp", true)
	doc.SetProducer("vbp, go-pdf/fpdf", true)
	for key, set := range map[string]func(string, bool){
		"Title": doc.SetTitle, "Subject": doc.SetSubject, "Keywords": doc.SetKeywords, "Author": doc.SetAuthor,
	} {
		if v := l.Meta[key]; v != "" {
			set(v, true)
		}
	}
	doc.SetAutoPageBreak(false, 0)
	doc.SetMargins(0, 0, 0)
	doc.AddUTF8FontFromBytes("Roboto", "", slices.Clone(roboto.Roboto))
	doc.AddPage()
	l.paint(&pdfPainter{doc: doc})
	var b bytes.Buffer
	if err := doc.Output(&b); err != nil {
		return nil, fmt.Errorf("render: PDF: %w", err)
	}
	return b.Bytes(), nil
}

type pdfPainter struct{ doc *fpdf.Fpdf }

func (p *pdfPainter) shape(s shape) {
	if s.Fill.Alpha > 0 {
		p.doc.SetAlpha(s.Fill.Alpha, "Normal")
		p.doc.SetFillColor(int(s.Fill.R), int(s.Fill.G), int(s.Fill.B))
		p.trace(s.Path)
		p.doc.DrawPath("F")
	}
	if s.Stroke.Alpha > 0 {
		p.doc.SetAlpha(s.Stroke.Alpha, "Normal")
		p.doc.SetDrawColor(int(s.Stroke.R), int(s.Stroke.G), int(s.Stroke.B))
		p.doc.SetLineWidth(s.Width)
		p.doc.SetLineJoinStyle("round")
		p.doc.SetLineCapStyle("butt")
		if s.Round {
			p.doc.SetLineCapStyle("round")
		}
		p.doc.SetDashPattern(s.Dash, 0)
		p.trace(s.Path)
		p.doc.DrawPath("D")
	}
}

func (p *pdfPainter) trace(path []segment) {
	for _, s := range path {
		switch s.op {
		case 'M':
			p.doc.MoveTo(s.p[0].X, s.p[0].Y)
		case 'L':
			p.doc.LineTo(s.p[0].X, s.p[0].Y)
		case 'C':
			p.doc.CurveBezierCubicTo(s.p[0].X, s.p[0].Y, s.p[1].X, s.p[1].Y, s.p[2].X, s.p[2].Y)
		case 'Z':
			p.doc.ClosePath()
		}
	}
}

func (p *pdfPainter) text(t text) {
	p.doc.SetAlpha(1, "Normal")
	p.doc.SetFont("Roboto", "", t.Size)
	p.doc.SetTextColor(int(t.R), int(t.G), int(t.B))
	if t.Up {
		p.doc.TransformBegin()
		p.doc.TransformRotate(90, t.X, t.Y)
		defer p.doc.TransformEnd()
	}
	p.doc.Text(t.X, t.Y, t.S)
}
