package stages

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
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
		found := listed(dir, filepath.Base(absolute(dir)), entries)
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

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// listed lists what is below a folder of results: runs in it, if it is itself
// the folder of a name, and those one level further down.
func listed(dir, name string, entries []os.DirEntry) []Listed {
	var out []Listed
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !isFolder(path, e) {
			continue
		}
		if _, dated := stampOf(e.Name()); dated {
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
			if strings.HasPrefix(e.Name(), ".") || !isFolder(path, e) {
				continue
			}
			if l, ok := newListed(path, filepath.Join(filepath.Base(filepath.Dir(path)), e.Name())); ok {
				out = append(out, l)
			}
		}
	}
	return out
}

// isFolder follows links.
func isFolder(path string, e os.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// newListed is the entry of a folder; false if it holds no results.
func newListed(path, name string) (Listed, bool) {
	l := Listed{Path: path, Name: name}
	if t, ok := stampOf(filepath.Base(path)); ok {
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
	l.Results, l.Plots = countFiles(l.Path, samplesFile), len(figuresIn(l.Path))
	if a, err := ReadAnalysis(l.Path); err == nil {
		l.Config = configLines(a)
	}
}

// scripts completes the entry of a folder in the scripts' layout; false if it
// is none. The configuration is that of its first result.
func (l *Listed) scripts() bool {
	files, err := filepath.Glob(filepath.Join(escapeGlob(l.Path), "*.json"))
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

// stateOf says how a run ended.
func stateOf(dir string) string {
	if last, ok := lastRecord(dir); ok && last.Kind == history.RunDone {
		return last.Text
	}
	return RunUnfinished
}

// recordRead is how much of a journal's end is read for its last record, far
// longer than the one that ends a run.
const recordRead = 64 << 10

// lastRecord reads the last line of a run's journal alone; false if there is
// none, or a kill tore it.
func lastRecord(dir string) (history.Record, bool) {
	var r history.Record
	f, err := os.Open(filepath.Join(dir, history.FileName))
	if err != nil {
		return r, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, false
	}
	end := make([]byte, min(info.Size(), recordRead))
	if _, err := f.ReadAt(end, info.Size()-int64(len(end))); err != nil || !bytes.HasSuffix(end, []byte("\n")) {
		return r, false
	}
	lines := bytes.Split(end[:len(end)-1], []byte("\n"))
	return r, json.Unmarshal(lines[len(lines)-1], &r) == nil
}

// firstRecord reads the first line of a run's journal alone.
func firstRecord(dir string) (history.Record, error) {
	var r history.Record
	path := filepath.Join(dir, history.FileName)
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("%s: its first record: %w", path, err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("%s:1: not a journal record: %w", path, err)
	}
	return r, nil
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
