package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/plot/render"
	"vbp/stages/runs"
	"vbp/stages/sample"
)

// Results is one folder of measurements, whoever made it.
type Results struct {
	Dir      string
	Label    string // how its series are called; "" if not said
	Kind     string // as package collect calls it
	Points   []analyze.Point
	Files    []string          // for each point, the file that it is from, if others made it
	Spec     *specs.Experiment // of a run that was applied; else nil
	Run      *collect.Run      // what an import or an export tells of the run; else nil
	Warnings []string
}

// OpenResults reads a run of vbp, applied or imported, a folder of vLLM's bench
// files, a folder of DistServe's .exp files, or what vbp exported. A label, if
// given, names its series.
func OpenResults(dir, label string) (*Results, error) {
	return openResults(dir, label, openWhole)
}

// OpenToAsk is OpenResults for those who only Ask: the tables of a run that was
// applied have no rows, and Ask reads of each point, one after the other, what
// it needs. So a run of many points of a million requests is read in the memory
// that one of them takes.
func OpenToAsk(dir, label string) (*Results, error) {
	return openResults(dir, label, openToAsk)
}

func openResults(dir, label string, how reading) (*Results, error) {
	r := &Results{Dir: dir, Label: label, Kind: collect.VBP}
	var err error
	if rec, importErr := readImport(dir); importErr == nil {
		err = r.openImported(rec)
	} else if _, statErr := os.Stat(filepath.Join(dir, pointsFile)); statErr == nil {
		err = r.openRun(how)
	} else if _, statErr := os.Stat(filepath.Join(dir, runs.SpecFile)); statErr == nil {
		err = fmt.Errorf("%s is a run of vbp that was not finished: apply its spec again, which resumes it", dir)
	} else {
		err = r.openForeign()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// openRun reads a run's samples; its own rules give the verdicts.
func (r *Results) openRun(how reading) error {
	path := filepath.Join(r.Dir, runs.SpecFile)
	var rules []string
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		// What the spec names may be gone since; its rules and objectives
		// are all that is asked here.
		exp, err := specs.Parse(path, data, specs.Options{SkipFiles: true})
		if err != nil {
			return fmt.Errorf("the run's spec: %w", err)
		}
		r.Spec, rules = exp, exp.Valid
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	r.Points, err = collectedPoints(r.Dir, rules, how)
	if err != nil {
		return err
	}
	r.choose()
	r.relabel(r.Points)
	return nil
}

// modeInPath is the mode in the path of a file of a run's tree; "" if it has none.
func modeInPath(file string) string {
	for _, part := range strings.Split(filepath.ToSlash(file), "/") {
		if text, ok := strings.CutPrefix(part, "mode="); ok {
			if mode, err := url.PathUnescape(text); err == nil {
				return mode
			}
		}
	}
	return ""
}

// choose leaves of a run with several modes the one that the label names, if
// there is one.
func (r *Results) choose() {
	named := func(p analyze.Point) bool {
		mode, _ := p.Table.Meta.Axis("mode")
		return mode == r.Label
	}
	if r.Label != "" && slices.ContainsFunc(r.Points, named) {
		r.Points = slices.DeleteFunc(r.Points, func(p analyze.Point) bool { return !named(p) })
	}
}

// relabel gives the series of points the label: in place of the mode if all
// have one, before it if there are several to tell apart.
func (r *Results) relabel(points []analyze.Point) {
	if r.Label == "" {
		return
	}
	modes := make(map[string]bool)
	for _, p := range points {
		mode, _ := p.Table.Meta.Axis("mode")
		modes[mode] = true
	}
	for _, p := range points {
		for i, a := range p.Table.Meta.Axes {
			if a.Name != "mode" {
				continue
			}
			name := r.Label
			if len(modes) > 1 {
				name += " " + a.Value
			}
			p.Table.Meta.Axes[i].Value = name
		}
	}
}

func (r *Results) openForeign() error {
	res, err := collect.OpenResults(r.Dir)
	if err != nil {
		return err
	}
	r.Kind, r.Warnings = res.Kind, res.Warnings
	var exact []analyze.Point
	for _, l := range res.Points {
		m := &l.Table.Meta
		p := pointOf(l.Table, l.Valid, l.Reason)
		r.Points, r.Files = append(r.Points, p), append(r.Files, l.File)
		if r.Run == nil {
			r.Run = l.Run
		}
		if l.Exact { // a part of a run's tree has its mode in its path
			if mode := modeInPath(l.File); mode != "" {
				if _, named := m.Axis("mode"); !named {
					m.Axes = append([]sample.Axis{{Name: "mode", Value: mode, Set: true}}, m.Axes...)
				}
			}
		}
		if _, named := m.Axis("mode"); l.Exact && named {
			exact = append(exact, p)
			continue
		}
		mode := r.Label
		if mode == "" {
			mode = m.Config["deployment_mode"]
		}
		if mode == "" {
			mode = res.Name
		}
		if l.Exact { // its other axes are its own
			m.Axes = append([]sample.Axis{{Name: "mode", Value: mode, Set: true}}, m.Axes...)
			continue
		}
		m.Axes = []sample.Axis{
			{Name: "mode", Value: mode, Set: true},
			{Name: "qps", Value: formatRate(m.Rate), Set: true},
			{Name: "repeat", Value: strconv.Itoa(m.Repeat), Set: true},
		}
	}
	r.relabel(exact)
	return nil
}

// objectives is what the results' own run was scored with; false if they
// tell of none.
func (r *Results) objectives() (specs.AnalyzeStage, bool) {
	switch {
	case r.Spec != nil:
		return objectivesOf(r.Spec), true
	case r.Run == nil:
		return objectivesOf(nil), false
	}
	o, found := objectivesOf(nil), false
	for _, v := range []struct {
		ms *float64
		to *time.Duration
	}{{r.Run.TTFT, &o.SLO.TTFT}, {r.Run.TPOT, &o.SLO.TPOT}} {
		if v.ms != nil {
			*v.to, found = time.Duration(math.Round(*v.ms*1e6)), true
		}
	}
	if r.Run.Target != nil {
		o.SLO.Target, found = *r.Run.Target, true
	}
	if r.Run.Scales != nil {
		o.SLOScales = r.Run.Scales
	}
	o.ScaleRate = r.Run.ScaleRate
	return o, found
}

// Question is what plot and compare ask of results; NaN and nil leave it to
// the results' own spec, or to the defaults.
type Question struct {
	TTFT, TPOT float64 // s
	Target     float64 // share
	Scales     []float64
	ScaleRate  float64
	PerGPU     bool
	Window     *analyze.Window // of requests that count; nil leaves it to the spec, else all do
}

// Ask analyzes several folders together.
func Ask(results []*Results, q Question) (*analyze.Analysis, error) {
	p := analyze.Params{TTFT: q.TTFT, TPOT: q.TPOT, Target: q.Target, Scales: q.Scales, ScaleRate: q.ScaleRate, PerGPU: q.PerGPU}
	var points []analyze.Point
	var warnings []string
	own := objectivesOf(nil)
	found := ""
	for _, r := range results {
		points = append(points, r.Points...)
		for _, w := range r.Warnings {
			warnings = append(warnings, r.Dir+": "+w)
		}
		its, known := r.objectives()
		if found != "" && r.Spec != nil && its.Window != own.Window && q.Window == nil {
			warnings = append(warnings, fmt.Sprintf("%s was applied with the window %s; all are scored with that of %s, which is %s (--window chooses)",
				r.Dir, newWindow(its.Window), found, newWindow(own.Window)))
		}
		switch {
		case !known:
		case found == "":
			own, found = its, r.Dir
			if math.IsNaN(p.ScaleRate) && its.ScaleRate != nil {
				p.ScaleRate = *its.ScaleRate
			}
		case its.SLO != own.SLO && (math.IsNaN(q.TTFT) || math.IsNaN(q.TPOT) || math.IsNaN(q.Target)):
			warnings = append(warnings, fmt.Sprintf("%s was applied with other objectives; all are scored with those of %s (--ttft-slo, --tpot-slo and --atta-target choose)", r.Dir, found))
		}
	}
	slo, scales := own.SLO, own.SLOScales
	if math.IsNaN(p.TTFT) {
		p.TTFT = seconds(slo.TTFT)
	}
	if math.IsNaN(p.TPOT) {
		p.TPOT = seconds(slo.TPOT)
	}
	if math.IsNaN(p.Target) {
		p.Target = slo.Target
	}
	if p.Scales == nil {
		p.Scales = scales
	}
	p.Window = newWindow(own.Window)
	if q.Window != nil {
		p.Window = *q.Window
	}
	a, err := analyzeThriftily(points, p)
	if errors.Is(err, analyze.ErrNoInstant) {
		err = fmt.Errorf("%w (--window all counts every request)", err)
	}
	if err != nil {
		return nil, err
	}
	a.Warnings = slices.Concat(warnings, a.Warnings, observed(points, a.Counts))
	return a, nil
}

// objectivesOf is what a run was analyzed with; without a spec, the defaults.
func objectivesOf(exp *specs.Experiment) specs.AnalyzeStage {
	if exp != nil {
		for _, s := range exp.Stages {
			if s.Name == "analyze" {
				return *s.Analyze
			}
		}
	}
	return specs.AnalyzeStage{SLO: specs.DefaultSLO(), SLOScales: specs.DefaultSLOScales()}
}

// Draw writes the figures of an analysis into dir: a comparison if there are
// several series, and an attainment figure for each. Nothing is written unless
// all can be drawn.
func Draw(a *analyze.Analysis, dir string, f specs.Figure, formats []string) ([]string, error) {
	type page struct {
		dir, name string
		figure    render.Figure
	}
	var pages []page
	draw := func(dir, name, kind string, labels map[string]string) error {
		in := newFigureInput(f, labels)
		in.File, in.Kind = name, kind
		fig, err := drawing(a, in)
		pages = append(pages, page{dir, name, fig})
		return err
	}
	if len(a.Series) > 1 {
		if err := draw(dir, "vllm_comparison_plots", "comparison", nil); err != nil {
			return nil, err
		}
	}
	for _, s := range a.Series {
		to := dir
		if len(a.Series) > 1 {
			to = filepath.Join(dir, runs.FileName(s.Name))
		}
		if err := draw(to, "vllm_benchmark_plots", "attainment", s.Labels); err != nil {
			return nil, err
		}
	}
	var files []string
	for _, p := range pages {
		made, err := writeFigure(p.dir, p.name, p.figure, formats)
		files = append(files, made...)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}
