package stages

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/plot"
)

// Listed is one folder of results as list shows it.
type Listed struct {
	Time    time.Time `json:"time"`
	Path    string    `json:"path"`
	Name    string    `json:"name"` // below the results folder: quickstart/20260101_120000
	Kind    string    `json:"kind"` // vbp, or scripts for a folder in the scripts' layout
	State   string    `json:"state"`
	Results int       `json:"results"` // result files
	Plots   int       `json:"plots"`   // PDF figures
	Config  []string  `json:"config"`  // a line for each series
}

// stampLayout is how a run's folder carries its time.
const stampLayout = "20060102_150405"

// List finds every run of vbp and every folder in the scripts' layout below
// dir, newest first.
func List(dir string) ([]Listed, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("no results folder: %w; --results names another", err)
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*", "*"))
	if err != nil {
		return nil, err
	}
	var out []Listed
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() || strings.HasPrefix(filepath.Base(filepath.Dir(path)), ".") {
			continue
		}
		l := Listed{Path: path, Time: info.ModTime()}
		l.Name = filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
		if t, ok := stampOf(filepath.Base(path)); ok {
			l.Time = t
		}
		if _, err := os.Stat(filepath.Join(path, history.FileName)); err == nil {
			l.run()
		} else if !l.scripts() {
			continue
		}
		l.Plots = countFiles(path, ".pdf")
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b Listed) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// stampOf reads the time in a folder's name: STAMP, STAMP_2 or MODE_STAMP.
func stampOf(name string) (time.Time, bool) {
	for i := 0; i+len(stampLayout) <= len(name); i++ {
		if t, err := time.ParseInLocation(stampLayout, name[i:i+len(stampLayout)], time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// run completes the entry of a run of vbp.
func (l *Listed) run() {
	l.Kind, l.State = "vbp", stateOf(l.Path)
	l.Results = countFiles(l.Path, samplesFile)
	if a, err := ReadAnalysis(l.Path); err == nil {
		l.Config = configLines(a)
	}
}

// scripts completes the entry of a folder in the scripts' layout; false if it
// is none.
func (l *Listed) scripts() bool {
	files, err := filepath.Glob(filepath.Join(escapeGlob(l.Path), "*.json"))
	if err != nil || len(files) == 0 {
		return false
	}
	l.Kind, l.State, l.Results = "scripts", "", len(files)
	if res, err := OpenResults(l.Path, ""); err == nil && len(res.Points) > 0 {
		m := res.Points[0].Table.Meta
		l.Config = []string{plot.ConfigLine(analyze.Series{Config: m.Config, GPUs: m.GPUs})}
	} else if err != nil {
		l.State = "not readable: " + firstLine(err.Error())
	}
	return true
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func configLines(a *analyze.Analysis) []string {
	var lines []string
	for _, s := range a.Series {
		lines = append(lines, s.Name+": "+plot.ConfigLine(s))
	}
	return lines
}

// stateOf says how a run ended.
func stateOf(dir string) string {
	records, _, err := history.Read(filepath.Join(dir, history.FileName))
	if err != nil || len(records) == 0 {
		return RunUnfinished
	}
	if last := records[len(records)-1]; last.Kind == history.RunDone {
		return last.Text
	}
	return RunUnfinished
}

// countFiles counts the files below dir whose name ends so.
func countFiles(dir, suffix string) int {
	n := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			n++
		}
		return nil
	})
	return n
}

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
	How     string             `json:"how"` // measured, reused, failed, skipped
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
	if exp != nil {
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
			if v := judge(rules, e.Facts); !v.Usable {
				p.Verdict = "not valid: " + v.Reason
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
