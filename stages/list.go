package stages

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/plot"
	"vbp/stages/runs"
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

// List finds every run of vbp and every folder in the scripts' layout in
// folders of results, newest first. A folder of results holds them two levels
// down, as NAME/TIME or DATASET/MODE_TIME; a folder of one name or dataset may
// be given too. No samples are read. Of several folders, names begin with
// theirs.
func List(dirs ...string) ([]Listed, error) {
	var out []Listed
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("no results folder: %w; --results names another", err)
		}
		found := listed(dir, filepath.Base(runs.Absolute(dir)), entries)
		for i := range found {
			if len(dirs) > 1 {
				found[i].Name = found[i].Path
			}
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b Listed) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(out, func(a, b Listed) bool { return a.Path == b.Path }), nil
}

// listed lists what is below a folder of results: runs in it, if it is itself
// the folder of a name, and those one level further down.
func listed(dir, name string, entries []os.DirEntry) []Listed {
	var out []Listed
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !runs.IsFolder(path, e) {
			continue
		}
		if _, dated := runs.StampOf(e.Name()); dated {
			if l, ok := newListed(path, filepath.Join(name, e.Name())); ok {
				out = append(out, l)
				continue
			}
		}
		below, err := os.ReadDir(path)
		if err != nil {
			out = append(out, Listed{Path: path, Name: e.Name(), State: "not readable: " + firstLine(err.Error())})
			continue
		}
		for _, e := range below {
			path := filepath.Join(path, e.Name())
			if strings.HasPrefix(e.Name(), ".") || !runs.IsFolder(path, e) {
				continue
			}
			if l, ok := newListed(path, filepath.Join(filepath.Base(filepath.Dir(path)), e.Name())); ok {
				out = append(out, l)
			}
		}
	}
	return out
}

// newListed is the entry of a folder; false if it holds no results.
func newListed(path, name string) (Listed, bool) {
	l := Listed{Path: path, Name: name}
	if t, ok := runs.StampOf(filepath.Base(path)); ok {
		l.Time = t
	} else if info, err := os.Stat(path); err == nil {
		l.Time = info.ModTime()
	}
	if _, err := os.Stat(filepath.Join(path, history.FileName)); err == nil {
		l.run()
	} else if !l.scripts() {
		return l, false
	}
	return l, true
}

// run completes the entry of a run of vbp.
func (l *Listed) run() {
	l.Kind, l.State = "vbp", runs.StateOf(l.Path)
	l.Results, l.Plots = countFiles(l.Path, samplesFile), len(runs.FiguresIn(l.Path))
	if a, err := ReadAnalysis(l.Path); err == nil {
		l.Config = configLines(a)
	}
}

// scripts completes the entry of a folder in the scripts' layout; false if it
// is none. The configuration is that of its first result.
func (l *Listed) scripts() bool {
	files, err := filepath.Glob(filepath.Join(runs.EscapeGlob(l.Path), "*.json"))
	if err != nil || len(files) == 0 {
		return false
	}
	l.Kind, l.Results, l.Plots = "scripts", len(files), countFiles(l.Path, ".pdf")
	config, err := collect.Heading(files[0])
	if err != nil {
		l.State = "not readable: " + firstLine(err.Error())
		return true
	}
	if line := plot.ConfigLine(analyze.Series{Config: config}); line != "" {
		l.Config = []string{line}
	}
	return true
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// configLines has a line for each series, which begins with its name if there
// are several.
func configLines(a *analyze.Analysis) []string {
	var lines []string
	for _, s := range a.Series {
		line := plot.ConfigLine(s) // "" of some foreign files
		if len(a.Series) > 1 {
			line = strings.TrimSuffix(s.Name+": "+line, ": ")
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
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
