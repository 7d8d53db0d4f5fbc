package stages

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vbp/pipeline/history"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/runs"
)

// importRecord is what the first line of an imported run's journal says of
// where it is from, and what a reader needs that points.json does not hold.
type importRecord struct {
	Files   []runs.File       `json:"files"`
	Run     collect.Run       `json:"run"`     // what the points are judged and scored by
	Invalid map[string]string `json:"invalid"` // point -> why; verdicts are the exporting run's
}

// imported is what a journal's data holds of an import; runs.Imported reads it.
type imported struct {
	Imported *importRecord `json:"imported"`
}

func newImportRecord(sources []*Results, points []analyze.Point, a *analyze.Analysis, q Question) (*importRecord, error) {
	rec := &importRecord{Invalid: make(map[string]string)}
	for _, r := range sources {
		if r.Run != nil && rec.Run.Rules == nil {
			rec.Run = *r.Run
		}
		var files []string
		for _, f := range r.Files {
			if f = fileOf(f); !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
		for _, f := range files {
			d, err := runs.Digest(f)
			if err != nil {
				return nil, err
			}
			rec.Files = append(rec.Files, d)
		}
	}
	for _, p := range points {
		if !p.Valid {
			rec.Invalid[axesLabel(p.Table.Meta.Axes)] = p.Reason
		}
	}
	rec.Run.TTFT, rec.Run.TPOT, rec.Run.Target = &a.SLO.TTFT, &a.SLO.TPOT, &a.SLO.Target
	if q.Scales != nil {
		rec.Run.Scales = q.Scales
	}
	if !math.IsNaN(q.ScaleRate) {
		rec.Run.ScaleRate = &q.ScaleRate
	}
	return rec, nil
}

// fileOf is the file of a point: one of several in a file has its number behind
// the name.
func fileOf(point string) string {
	if i := strings.LastIndexByte(point, '#'); i > 0 {
		if _, err := os.Stat(point); err != nil {
			return point[:i]
		}
	}
	return point
}

// fingerprint is of all that makes an import what it is: the content of the
// files, not where they lie, what the points are called, how they are scored,
// and the code that does it.
func (rec *importRecord) fingerprint(code string, points []analyze.Point, formats []string) (string, error) {
	v := struct {
		Code    string
		Files   []string
		Points  []string
		Run     collect.Run
		Invalid map[string]string
		Formats []string
	}{Code: code, Run: rec.Run, Invalid: rec.Invalid, Formats: formats}
	for _, f := range rec.Files {
		v.Files = append(v.Files, f.SHA256)
	}
	for _, p := range points {
		v.Points = append(v.Points, axesLabel(p.Table.Meta.Axes))
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return "import " + hex.EncodeToString(sum[:]), nil
}

// findImport returns the newest run below base that was imported so, or "".
func findImport(base, mark string) string {
	dirs := runs.Of(base)
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if last, ok := runs.LastRecord(dir); ok && last.Kind == history.RunDone && last.Fingerprint == mark && isWhole(dir) {
			return dir
		}
	}
	return ""
}

// isWhole reports whether the files of an imported run are there.
func isWhole(dir string) bool {
	entries, err := readEntries(dir)
	if err != nil {
		return false
	}
	want := []string{analysisFile, tableFile}
	for _, e := range entries {
		want = append(want, filepath.Join(filepath.FromSlash(e.Path), samplesFile))
	}
	return !slices.ContainsFunc(want, func(f string) bool {
		_, err := os.Stat(filepath.Join(dir, f))
		return err != nil
	})
}

// readImport reads what the journal of an imported run says of its origin. It
// fails if dir is no such run.
func readImport(dir string) (*importRecord, error) {
	data, err := runs.Imported(dir)
	if err != nil {
		return nil, err
	}
	var rec importRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, fmt.Errorf("%s was not imported", dir)
	}
	return &rec, nil
}

// openImported reads an imported run; verdicts are those that came with its
// points, whose rules nobody can apply again.
func (r *Results) openImported(rec *importRecord) error {
	entries, tables, err := readPoints(r.Dir)
	if err != nil {
		return err
	}
	r.Run = &rec.Run
	for i, e := range entries {
		reason, invalid := rec.Invalid[axesLabel(e.Axes)]
		r.Points = append(r.Points, pointOf(tables[i], !invalid, reason))
	}
	r.relabel(r.Points)
	return nil
}
