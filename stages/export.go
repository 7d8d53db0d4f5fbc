package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vbp/stages/collect"
	"vbp/stages/runs"
	"vbp/stages/sample"
)

// ExportFormats are the forms in which results can be written for others.
var ExportFormats = []string{"vllm", "arrow", "csv"}

// Exported is what an export wrote.
type Exported struct {
	Paths    []string // vllm: a folder for each series; else one file
	Files    int
	Warnings []string // what has no place in the format, or may be taken for something else
}

// Export writes results in one of ExportFormats below out, which is made as
// needed; what is there already is never replaced.
//
//	vllm   OUT/DATASET/MODE_YYYYMMDD_HHMMSS/vllm-RATEqps-MODEL-DATE-TIME.json
//	arrow  OUT/NAME_YYYYMMDD_HHMMSS.arrow
//	csv    OUT/NAME_YYYYMMDD_HHMMSS.csv
//
// The time is the run's own. In vllm's layout each series has a folder, called
// after its mode and then its other axes, and a repeat but the first has its
// number in the file's name. Everything is written aside first: an export
// that fails leaves nothing.
func Export(ctx context.Context, r *Results, format, out string) (*Exported, error) {
	if !slices.Contains(ExportFormats, format) {
		return nil, fmt.Errorf("format %q is not known; there is: %s", format, strings.Join(ExportFormats, ", "))
	}
	e := &Exported{}
	points := e.measured(r)
	if len(points) == 0 {
		return nil, fmt.Errorf("%s holds no measured point: there is nothing to export", r.Dir)
	}
	w, err := newAside(out)
	if err != nil {
		return nil, err
	}
	defer w.drop()
	stamp, run := stampOfRun(r), exportRun(r)
	file := runs.FileName(run.Name) + "_" + stamp + "." + format
	switch format {
	case "vllm":
		err = e.vllm(ctx, w, points, run, stamp)
	case "arrow":
		err = w.write(file, func(path string) error { return collect.WriteArrow(path, points, run) })
	case "csv":
		err = w.write(file, func(path string) error { return collect.WriteCSV(path, points) })
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		e.Files = w.files
		e.Paths, err = w.publish()
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("%w: an export never replaces anything; remove it, or choose another folder with --out", err)
	case errors.Is(err, syscall.ENOSPC):
		return nil, fmt.Errorf("the disk is full, and nothing is left of the export: make room, or choose another folder with --out: %w", err)
	}
	return e, err
}

// measured are the points that have requests, and says what of them an
// export does not show.
func (e *Exported) measured(r *Results) []collect.Judged {
	var points []collect.Judged
	failed, invalid := 0, 0
	for _, p := range r.Points {
		label := axesLabel(p.Table.Meta.Axes)
		if p.Missing || p.Table.Len() == 0 {
			e.Warnings = append(e.Warnings, label+" was not measured and is left out")
			continue
		}
		failed += p.Table.Failed()
		if !p.Valid {
			invalid++
		}
		points = append(points, collect.Judged{Table: p.Table, Valid: p.Valid, Reason: p.Reason})
	}
	if failed > 0 {
		e.Warnings = append(e.Warnings, fmt.Sprintf("%d requests failed: vbp counts them as misses; the scripts' plotter would take their TTFT of 0 for met", failed))
	}
	if invalid > 0 {
		e.Warnings = append(e.Warnings, fmt.Sprintf("%d of %d points broke a rule of valid: only vbp reads that from the export", invalid, len(points)))
	}
	return points
}

// vllm writes every point as a file in the folder of its series.
func (e *Exported) vllm(ctx context.Context, w *aside, points []collect.Judged, run *collect.Run, stamp string) error {
	for _, p := range points {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := &p.Table.Meta
		date := vllmDate(m, stamp)
		path := filepath.Join(datasetDir(m, run), seriesDir(m, stamp), vllmName(m, date))
		if err := w.write(path, func(path string) error { return collect.WriteVLLM(path, p, run, date) }); err != nil {
			return err
		}
	}
	return nil
}

func datasetDir(m *sample.Meta, run *collect.Run) string {
	if m.Dataset != "" {
		return runs.FileName(m.Dataset)
	}
	return runs.FileName(run.Name)
}

// seriesDir is the scripts' MODE_YYYYMMDD_HHMMSS.
func seriesDir(m *sample.Meta, stamp string) string {
	label := axesLabel(seriesAxes(m.Axes, nil))
	if label == "" {
		label = "run"
	}
	return runs.FileName(label) + "_" + stamp
}

// vllmName is vLLM's name of a result file.
func vllmName(m *sample.Meta, date string) string {
	model := cmp.Or(m.Model, m.Config["model_name"], "unknown")
	model = runs.FileName(model[strings.LastIndexByte(model, '/')+1:])
	if m.Repeat > 0 {
		model += "-repeat" + strconv.Itoa(m.Repeat)
	}
	return fmt.Sprintf("vllm-%sqps-%s-%s.json", pythonFloat(m.Rate), model, date)
}

// pythonFloat writes a rate as Python does: 5 as 5.0.
func pythonFloat(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// vllmStamp is how vLLM writes a date.
const vllmStamp = "20060102-150405"

var isVLLMDate = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}$`)

// vllmDate is when a point was measured, in vLLM's form; else when its run was.
func vllmDate(m *sample.Meta, stamp string) string {
	switch date := m.Extra["date"]; {
	case isVLLMDate.MatchString(date):
		return date
	case m.Start != sample.Absent:
		return time.Unix(0, m.Start).Format(vllmStamp)
	}
	return strings.Replace(stamp[:len(runs.Stamp)], "_", "-", 1)
}

var stampAtEnd = regexp.MustCompile(`[0-9]{8}_[0-9]{6}(_[0-9]+)?$`)

// stampOfRun is the time of a run, as folders carry it: that of its own
// folder, else when its first point was measured, else when the folder was
// last changed.
func stampOfRun(r *Results) string {
	dir := r.Dir
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	name := strings.TrimSuffix(filepath.Base(dir), filepath.Ext(dir))
	if stamp := stampAtEnd.FindString(name); stamp != "" {
		return stamp
	}
	var dates []string
	for _, p := range r.Points {
		m := &p.Table.Meta
		if m.Start != sample.Absent || isVLLMDate.MatchString(m.Extra["date"]) {
			dates = append(dates, strings.Replace(vllmDate(m, runs.Stamp), "-", "_", 1))
		}
	}
	if len(dates) > 0 {
		return slices.Min(dates)
	}
	if info, err := os.Stat(dir); err == nil {
		return info.ModTime().Format(runs.Stamp)
	}
	return time.Unix(0, 0).Format(runs.Stamp)
}

// exportRun is what is told of the run that results come from.
func exportRun(r *Results) *collect.Run {
	run := &collect.Run{}
	if r.Run != nil {
		*run = *r.Run
	}
	if r.Spec != nil {
		run.Name, run.Rules = r.Spec.Name, r.Spec.Valid
	}
	if run.Name == "" {
		run.Name = nameOfResults(r.Dir)
	}
	if o, known := r.objectives(); known {
		ms := func(d time.Duration) *float64 { v := float64(d) / 1e6; return &v }
		run.TTFT, run.TPOT = ms(o.SLO.TTFT), ms(o.SLO.TPOT)
		run.Target, run.Scales, run.ScaleRate = &o.SLO.Target, o.SLOScales, o.ScaleRate
	}
	return run
}

// nameOfResults is what a folder of results is called without its time: NAME
// of NAME/STAMP and of NAME/MODE_STAMP, else the folder's own name.
func nameOfResults(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	name := filepath.Base(dir)
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		name = strings.TrimSuffix(name, filepath.Ext(name))
		if short := strings.TrimSuffix(stampAtEnd.ReplaceAllString(name, ""), "_"); short != "" {
			return short
		}
		return name
	}
	if parent := filepath.Base(filepath.Dir(dir)); stampAtEnd.MatchString(name) && parent != string(filepath.Separator) {
		return parent
	}
	return name
}
