package stages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/plot"
	"vbp/stages/plot/render"
	"vbp/stages/runs"
)

// plotInput is one figure.
type plotInput struct {
	Code    string      `json:"code"`
	Figure  figureInput `json:"figure"`
	Formats []string    `json:"formats"`
	Need    string      `json:"need"` // the analyze node
}

type figureInput struct {
	File   string `json:"file"`
	Kind   string `json:"kind"`
	Title  string `json:"title"`
	Only   string `json:"only"`
	PerGPU bool   `json:"per_gpu"`
	Where  string `json:"where"`
	Xs     string `json:"xs"`
	// Labels choose the one series of an attainment figure; none: the only
	// series there is.
	Labels map[string]string `json:"labels"`
}

func newFigureInput(f specs.Figure, labels map[string]string) figureInput {
	return figureInput{
		File: f.File, Kind: f.Kind, Title: f.Title, Only: f.Only, PerGPU: f.PerGPU,
		Where: f.Where, Xs: f.Xs, Labels: labels,
	}
}

func plotWork(_ context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in plotInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	a, err := ReadAnalysis(rt.Needs[in.Need])
	if err != nil {
		return err
	}
	fig, err := drawing(a, in.Figure)
	if err != nil {
		return fmt.Errorf("figure %s: %w", in.Figure.File, err)
	}
	_, err = writeFigure(rt.Dir, in.Figure.File, fig, in.Formats)
	return err
}

// drawing turns an analysis into the figure that f asks for.
func drawing(a *analyze.Analysis, f figureInput) (render.Figure, error) {
	chosen, err := chooseSeries(a, f)
	if err != nil {
		return render.Figure{}, err
	}
	o := plot.Options{Title: f.Title, Only: f.Only, Xs: f.Xs, PerGPU: f.PerGPU, Footer: footnotes(chosen)}
	switch f.Kind {
	case "attainment":
		if len(chosen.Series) != 1 {
			return render.Figure{}, fmt.Errorf("an attainment figure shows one series, and %d match", len(chosen.Series))
		}
		return plot.Attainment(chosen, chosen.Series[0], o)
	case "comparison":
		return plot.Comparison(chosen, o)
	}
	return render.Figure{}, fmt.Errorf("kind %q is not known", f.Kind)
}

// footnotes says which requests count, if not all do, and then as many of an
// analysis's warnings as a figure has room for.
func footnotes(a *analyze.Analysis) []string {
	const most = 3
	var notes []string
	if line := a.WindowLine(); line != "" {
		notes = append(notes, line)
	}
	if len(a.Warnings) <= most {
		return append(notes, a.Warnings...)
	}
	notes = append(notes, a.Warnings[:most-1]...)
	return append(notes, fmt.Sprintf("%d more notes are in the analysis.", len(a.Warnings)-most+1))
}

// chooseSeries returns a with only the series that f's labels and where let
// through.
func chooseSeries(a *analyze.Analysis, f figureInput) (*analyze.Analysis, error) {
	out := *a
	out.Series = nil
	where, err := matcher(f.Where)
	if err != nil {
		return nil, err
	}
	for _, s := range a.Series {
		ok, err := where(s.Labels)
		if err != nil {
			return nil, err
		}
		for k, v := range f.Labels {
			ok = ok && s.Labels[k] == v
		}
		if ok {
			out.Series = append(out.Series, s)
		}
	}
	out.Warnings = slices.DeleteFunc(slices.Clone(a.Warnings), func(w string) bool {
		return slices.ContainsFunc(a.Series, func(s analyze.Series) bool {
			return isAbout(w, s) && !slices.ContainsFunc(out.Series, func(o analyze.Series) bool { return o.Name == s.Name })
		})
	})
	if len(out.Series) == 0 {
		return nil, errors.New("no series to draw: nothing was measured, or where lets none through")
	}
	return &out, nil
}

// isAbout reports whether a warning is about one series: it begins with its
// name, or with the axes of one of its points.
func isAbout(warning string, s analyze.Series) bool {
	if strings.HasPrefix(warning, s.Name+": ") {
		return true
	}
	axes, _, _ := strings.Cut(warning, ": ")
	if strings.HasSuffix(axes, " more") {
		return false // of several points, perhaps of others too
	}
	words := strings.Fields(axes)
	for k, v := range s.Labels {
		if !slices.Contains(words, k+"="+v) {
			return false
		}
	}
	return len(s.Labels) > 0
}

// pngScale gives 300 pixels an inch at 72 points an inch.
const pngScale = 300.0 / 72

// writeFigure renders fig into dir in every format and returns the files.
func writeFigure(dir, name string, fig render.Figure, formats []string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []string
	for _, format := range formats {
		var data []byte
		var err error
		switch format {
		case "pdf":
			data, err = render.PDF(fig)
		case "svg":
			data, err = render.SVG(fig)
		case "png":
			data, err = render.PNG(fig, pngScale)
		default:
			err = fmt.Errorf("format %q is not known; there is: %v", format, runs.Formats)
		}
		if err != nil {
			return files, err
		}
		path := filepath.Join(dir, name+"."+format)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return files, err
		}
		files = append(files, path)
	}
	return files, nil
}

// series is one curve of the sweep: every axis that applies but qps and
// repeat.
type series struct {
	label  string
	labels map[string]string
}

// series lists the curves of the sweep in its order, as far as a figure's axes
// tell them apart, of the points that its where lets through.
func (b *builder) series(f specs.Figure) ([]series, error) {
	where, err := matcher(f.Where)
	if err != nil {
		return nil, fmt.Errorf("figure %s: %w", f.File, err)
	}
	var out []series
	seen := make(map[string]bool)
	for _, p := range b.firsts {
		axes := sampleAxes(p.Axes)
		ok, err := where(labelsOf(seriesAxes(axes, nil)))
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.File, err)
		}
		own := seriesAxes(axes, f.Series)
		s := series{label: axesLabel(own), labels: labelsOf(own)}
		if !ok || seen[s.label] {
			continue
		}
		seen[s.label] = true
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("figure %s: where lets no series through: %s", f.File, f.Where)
	}
	return out, nil
}

// matcher compiles a where; an empty one lets all through.
func matcher(where string) (func(labels map[string]string) (bool, error), error) {
	if where == "" {
		return func(map[string]string) (bool, error) { return true, nil }, nil
	}
	w, err := specs.CompileWhere(where)
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	return func(labels map[string]string) (bool, error) {
		ok, err := w.Matches(labels)
		if err != nil {
			return false, fmt.Errorf("where: %w", err)
		}
		return ok, nil
	}, nil
}

// analysisFor returns the analysis that a figure draws: the plot stage's, or,
// if the figure tells series apart by fewer axes, one like it of the points
// that its where lets through, which pools those of the other axes.
func (b *builder) analysisFor(f *specs.Figure, plot specs.Stage, analysis string) (string, error) {
	fewer := slices.ContainsFunc(b.firsts, func(p *specs.Point) bool {
		axes := sampleAxes(p.Axes)
		return len(seriesAxes(axes, f.Series)) < len(seriesAxes(axes, nil))
	})
	if !fewer {
		return analysis, nil
	}
	i := slices.IndexFunc(b.exp.Stages, func(s specs.Stage) bool { return s.Name == plot.Needs[0] })
	id, where := analysis+" by "+strings.Join(f.Series, ", "), f.Where
	if where != "" {
		id += " where " + where
	}
	f.Where = "" // the analysis has done it
	if b.graph.Node(id) != nil {
		return id, nil
	}
	return id, b.addAnalysis(id, "", b.exp.Stages[i], f.Series, where)
}

// addPlots adds a node for every figure of a plot stage: one that changes is
// drawn again alone.
func (b *builder) addPlots(s specs.Stage, analysis string) error {
	place := "plots"
	if s.Name != "plot" {
		place = "plots/" + s.Name
	}
	if s.Plot.Dir != "" {
		dir, err := filepath.Abs(s.Plot.Dir)
		if err != nil {
			return err
		}
		place = dir
	}
	for _, f := range b.exp.Figures {
		all, err := b.series(f)
		if err != nil {
			return err
		}
		analysis, err := b.analysisFor(&f, s, analysis)
		if err != nil {
			return err
		}
		type one struct {
			label  string
			place  string
			labels map[string]string
		}
		drawings := []one{{"", place, nil}}
		if f.Kind == "attainment" { // of one series each
			drawings = nil
			for _, s := range all {
				d := one{" " + s.label, place, s.labels}
				if len(all) > 1 {
					d.place = place + "/" + runs.FileName(s.label)
				}
				drawings = append(drawings, d)
			}
		}
		for _, d := range drawings {
			in, err := pipeline.NewInput(plotInput{
				Code: b.site.Code, Figure: newFigureInput(f, d.labels), Formats: slices.Clone(s.Plot.Formats), Need: analysis,
			})
			if err != nil {
				return err
			}
			id := s.Name + " " + f.File + d.label
			n := &pipeline.Node{
				ID: id, Stage: "plot", Group: s.Name, Kind: pipeline.Pure, Input: in,
				Needs: []string{analysis}, Work: plotWork, Place: d.place,
			}
			if err := b.addNode(n); err != nil {
				return err
			}
			b.made[s.Name] = append(b.made[s.Name], made{id: id, mode: d.labels["mode"]})
		}
	}
	return nil
}
