package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/runs"
)

// ImportOptions say what is imported, and how it is called and scored.
type ImportOptions struct {
	Folders  []string // folders, or files, of others' results and of vbp's exports; MODE=FOLDER gives one a mode of its own
	Name     string   // of the run; "": after the folders
	Mode     string   // of the points; "": as the files say, else after the folder
	Formats  []string // of the figures; nil: all
	Question Question
	Command  string // the command line, for the journal
}

// Imported is a run that was made of others' results.
type Imported struct {
	RunDir   string
	New      bool // false: the run was there already
	Points   int
	Warnings []string // beside those of the analysis
}

// Import makes a run of others' results in a new folder of site's results,
// with everything that the run of an apply has but logs and server metrics:
// samples, points, analysis, figures, journal. The same files asked in the
// same way by the same build are found again, and no second run is made. The
// folder appears when all is in it.
func Import(ctx context.Context, site *Site, o ImportOptions) (*Imported, error) {
	sources, err := openSources(o)
	if err != nil {
		return nil, err
	}
	points, notes, err := join(sources)
	if err != nil {
		return nil, err
	}
	if err := distinct(points); err != nil {
		return nil, err
	}
	a, err := Ask(sources, o.Question)
	if err != nil {
		return nil, err
	}
	a.Warnings = append(notes, a.Warnings...)
	record, err := newImportRecord(sources, points, a, o.Question)
	if err != nil {
		return nil, err
	}
	name := o.Name
	if name == "" {
		name = nameOfSources(sources)
	}
	base := filepath.Join(site.Results, runs.FileName(name))
	record.Run.Name = name
	if o.Formats == nil {
		o.Formats = runs.Formats
	}
	mark, err := record.fingerprint(site.Code, points, o.Formats)
	if err != nil {
		return nil, err
	}
	m := &Imported{Points: len(points)}
	if m.RunDir = findImport(base, mark); m.RunDir != "" {
		return m, nil
	}
	m.New = true
	err = m.make(ctx, site, base, o, mark, record, points, a)
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("the disk is full, and nothing is left of the import: make room, or choose another folder with --results: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// make writes the run aside and lets it appear.
func (m *Imported) make(ctx context.Context, site *Site, base string, o ImportOptions, mark string, rec *importRecord, points []analyze.Point, a *analyze.Analysis) (err error) {
	_, statErr := os.Stat(base)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return fmt.Errorf("cannot make the results folder: %w; --results names another", err)
	}
	tmp, err := os.MkdirTemp(base, runs.ImportPrefix)
	if err != nil {
		return fmt.Errorf("cannot write into the results folder: %w; --results names another", err)
	}
	defer func() {
		_ = os.RemoveAll(tmp)
		if err != nil && errors.Is(statErr, fs.ErrNotExist) {
			_ = os.Remove(base) // which fails if something is in it, as does the next
			_ = os.Remove(site.Results)
		}
	}()
	begun := site.Now()
	journal, err := history.Create(filepath.Join(tmp, history.FileName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	data, err := json.Marshal(imported{rec})
	if err != nil {
		return err
	}
	if err := journal.Append(history.Record{At: begun, Kind: history.RunBegun, Text: o.Command, Data: data}); err != nil {
		return err
	}
	usable, err := writePoints(ctx, tmp, points)
	if err != nil {
		return err
	}
	if err := writeAnalysis(tmp, a); err != nil {
		return err
	}
	m.draw(a, filepath.Join(tmp, "plots"), o.Formats)
	for _, p := range points {
		if err := journal.Append(history.Record{At: site.Now(), Kind: history.NodeDone, Node: "load " + axesLabel(p.Table.Meta.Axes)}); err != nil {
			return err
		}
	}
	state := runs.Complete
	switch {
	case usable == 0:
		state = runs.Empty
	case usable < len(points):
		state = runs.Partial
	}
	if err := journal.Append(history.Record{At: site.Now(), Kind: history.RunDone, Text: state, Fingerprint: mark}); err != nil {
		return err
	}
	if err := errors.Join(syncBelow(tmp), ctx.Err()); err != nil {
		return err
	}
	// MkdirTemp makes folders for their owner only; results are to be shared.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if m.RunDir, err = newRunDir(base, begun); err != nil {
		return err
	}
	return replaceEmpty(tmp, m.RunDir)
}

// writePoints lays out the tree that collect makes in a run that was applied,
// and counts the points in which some request was answered.
func writePoints(ctx context.Context, dir string, points []analyze.Point) (usable int, err error) {
	entries := make([]pointEntry, len(points))
	for i, p := range points {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		m := p.Table.Meta
		at := filepath.Join(samplesDir, collect.PointDir(m.Axes))
		if err := collect.WriteSamples(filepath.Join(dir, at, samplesFile), p.Table); err != nil {
			return 0, err
		}
		entries[i] = pointEntry{Path: filepath.ToSlash(at), Axes: m.Axes, GPUs: m.GPUs, Config: m.Config, Facts: jsonFacts(m.Facts)}
		if notes := m.Extra[notesKey]; notes != "" {
			entries[i].Notes = strings.Split(notes, "\n")
		}
		if p.Table.Failed() < p.Table.Len() {
			usable++
		}
	}
	data, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		return 0, err
	}
	return usable, cache.WriteFile(filepath.Join(dir, pointsFile), append(data, '\n'))
}

// jsonFacts is facts without those that JSON has no number for; the samples
// file has all.
func jsonFacts(facts map[string]float64) map[string]float64 {
	out := make(map[string]float64)
	for k, v := range facts {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = v
		}
	}
	return out
}

// draw makes the figures that compare and plot would; what cannot be drawn is
// a warning, for the samples are what an import is about.
func (m *Imported) draw(a *analyze.Analysis, dir string, formats []string) {
	_, err := Draw(a, dir, specs.Figure{Xs: "shared"}, formats)
	if err != nil {
		if _, again := Draw(a, dir, specs.Figure{Xs: "separate"}, formats); again == nil {
			m.Warnings = append(m.Warnings, "figures show each series' own rates: "+firstLine(err.Error()))
			return
		}
		m.Warnings = append(m.Warnings, fmt.Sprintf("figures were not drawn: %v; vbp plot and vbp compare draw a choice", err))
	}
}

// syncBelow makes everything below dir outlive a power cut.
func syncBelow(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
