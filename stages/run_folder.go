package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// newRunDir makes a folder for a run that begins now; of two that begin in
// the same second, the later gets a number.
func newRunDir(base string, now time.Time) (string, error) {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the results folder: %w", err)
	}
	stamp := now.Format(runs.Stamp)
	for n := 1; ; n++ {
		dir := filepath.Join(base, stamp)
		if n > 1 {
			dir += fmt.Sprintf("_%d", n)
		}
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cannot make the run's folder: %w", err)
		}
	}
}

// findRun returns the newest run below base that holds exactly what the plan
// would reuse, or "".
func findRun(base string, plan *pipeline.Plan) string {
	want := plan.Fingerprint()
	dirs := runs.Of(base)
	slices.Reverse(dirs)
	for _, dir := range dirs {
		records, _, err := history.Read(filepath.Join(dir, history.FileName))
		if err != nil || len(records) == 0 {
			continue
		}
		last := records[len(records)-1]
		if last.Kind == history.RunDone && last.Fingerprint == want && holds(dir, plan) {
			return dir
		}
	}
	return ""
}

// holds reports whether the files of every placed artefact are where they
// should be.
func holds(dir string, plan *pipeline.Plan) bool {
	for _, d := range plan.Decisions {
		if d.Artefact == nil || d.Node.Place == "" {
			continue
		}
		m, err := d.Artefact.Manifest()
		if err != nil {
			return false
		}
		for _, f := range m.Files {
			info, err := os.Stat(filepath.Join(pipeline.PlaceIn(dir, d.Node.Place), filepath.FromSlash(f.Name)))
			if err != nil || info.Size() != f.Size {
				return false
			}
		}
	}
	return true
}
