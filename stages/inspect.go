package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/analyze"
)

// Shown is one run as show tells it.
type Shown struct {
	Path     string            `json:"path"`
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Begun    time.Time         `json:"begun"`
	Seconds  float64           `json:"seconds"`
	Command  string            `json:"command"`
	Services []ShownService    `json:"services"`
	Points   []ShownPoint      `json:"points"`
	Failures []string          `json:"failures"`
	Figures  []string          `json:"figures"`
	Analysis *analyze.Analysis `json:"analysis"`
}

// ShownService is a deployment that the run started.
type ShownService struct {
	Node        string            `json:"node"`
	Environment map[string]string `json:"environment"`
}

// ShownPoint is one load point of a run.
type ShownPoint struct {
	Node    string             `json:"node"`
	How     string             `json:"how"` // measured, reused, failed, skipped, imported
	Verdict string             `json:"verdict"`
	Facts   map[string]float64 `json:"facts"`
	Notes   []string           `json:"notes,omitempty"`
}

// Show reads everything that a run's folder tells of it.
func Show(dir string) (*Shown, error) {
	records, torn, err := history.Read(filepath.Join(dir, history.FileName))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not a run of vbp: it has no %s; vbp list shows what there is", dir, history.FileName)
		}
		return nil, err
	}
	s := &Shown{Path: dir, State: stateOf(dir), Figures: figuresIn(dir)}
	if torn {
		s.Failures = append(s.Failures, "the journal's last line was torn by a kill and is left out")
	}
	var exp *specs.Experiment
	path := filepath.Join(dir, specFile)
	if data, err := os.ReadFile(path); err == nil {
		if exp, err = specs.Parse(path, data, specs.Options{SkipFiles: true}); err == nil {
			s.Name = exp.Name
		}
	}
	s.journal(records)
	if rec, err := readImport(dir); err == nil {
		s.imported(dir, rec)
	} else if exp != nil {
		s.verdicts(dir, exp)
	}
	if a, err := ReadAnalysis(dir); err == nil {
		s.Analysis = a
	}
	return s, nil
}

// journal takes from the records what became of points and services.
func (s *Shown) journal(records []history.Record) {
	for i, r := range records {
		if i == 0 {
			s.Begun = r.At
		}
		s.Seconds = r.At.Sub(s.Begun).Seconds()
		point, isLoad := strings.CutPrefix(r.Node, "load ")
		switch r.Kind {
		case history.RunBegun:
			s.Command = r.Text
		case history.ServiceStarted:
			v := ShownService{Node: r.Node}
			_ = json.Unmarshal(r.Data, &v.Environment)
			s.Services = append(s.Services, v)
		case history.NodeFailed:
			s.Failures = append(s.Failures, r.Node+": "+r.Error)
		}
		how := map[string]string{
			history.NodeDone: "measured", history.NodeReused: "reused: " + r.Text,
			history.NodeFailed: "failed", history.NodeSkipped: "skipped: " + r.Text,
		}[r.Kind]
		if isLoad && how != "" {
			s.Points = append(s.Points, ShownPoint{Node: point, How: how})
		}
	}
}

// verdicts gives points their facts and verdicts from the collected tree.
func (s *Shown) verdicts(dir string, exp *specs.Experiment) {
	entries, err := readEntries(dir)
	if err != nil {
		return
	}
	rules, err := compileRules(exp.Valid)
	if err != nil {
		return
	}
	for i := range s.Points {
		p := &s.Points[i]
		for _, e := range entries {
			if axesLabel(e.Axes) != p.Node || e.Path == "" {
				continue
			}
			p.Facts, p.Notes, p.Verdict = e.Facts, e.Notes, "valid"
			if v, err := e.judge(rules); err != nil {
				p.Verdict = "not known: " + err.Error()
			} else if !v.Usable {
				p.Verdict = "not valid: " + v.Reason
			}
		}
	}
}

// imported completes an imported run: what it is called, and its points.
func (s *Shown) imported(dir string, rec *importRecord) {
	s.Name = rec.Run.Name
	entries, err := readEntries(dir)
	if err != nil {
		return
	}
	for i := range s.Points {
		p := &s.Points[i]
		p.How = "imported"
		for _, e := range entries {
			if axesLabel(e.Axes) != p.Node {
				continue
			}
			p.Facts, p.Notes, p.Verdict = e.Facts, e.Notes, "valid"
			if reason, ok := rec.Invalid[p.Node]; ok {
				p.Verdict = "not valid: " + reason
			}
		}
	}
}

// figuresIn lists the figures below dir, PDF first of each.
func figuresIn(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".pdf") {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// Figures lists the PDF figures of an applied spec, wherever they were put.
func Figures(a *Applied) []string {
	var out []string
	for _, d := range a.Plan.Decisions {
		art := d.Artefact
		if a.Report != nil {
			art = a.Report.Result(d.Node.ID).Artefact
		}
		if d.Node.Stage != "plot" || art == nil {
			continue
		}
		for _, f := range art.Files {
			if len(art.Files) == 1 || strings.HasSuffix(f.Name, ".pdf") {
				out = append(out, filepath.Join(pipeline.PlaceIn(a.RunDir, d.Node.Place), filepath.FromSlash(f.Name)))
			}
		}
	}
	return out
}
