package upkeep

import (
	"os"
	"path/filepath"
	"strings"

	"vbp/pipeline/cache"
	"vbp/specs"
	"vbp/stages/runs"
)

// figuresBelow lists the figures in a run's folder by their paths in it.
func figuresBelow(dir string) []string {
	out := []string{}
	for _, path := range runs.FiguresIn(dir) {
		if rel, err := filepath.Rel(dir, path); err == nil {
			out = append(out, rel)
		}
	}
	return out
}

// figuresElsewhere lists the figures of a run that its spec had put outside of
// its folder (stages.plot.dir), as far as they are still what the run made. A
// folder that the spec named relatively is looked for from here.
func figuresElsewhere(r *storedRun) []string {
	path := filepath.Join(r.dir, runs.SpecFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return []string{}
	}
	exp, err := specs.Parse(path, data, specs.Options{SkipFiles: true})
	if err != nil {
		return []string{} // of another version, say
	}
	var out []string
	for _, s := range exp.Stages {
		if s.Plot == nil || s.Plot.Dir == "" {
			continue
		}
		for _, a := range r.shown {
			if _, id, ok := strings.Cut(a.Slot, ": "); ok && strings.HasPrefix(id, s.Name+" ") {
				out = append(out, placedIn(runs.Absolute(s.Plot.Dir), a)...)
			}
		}
	}
	return append([]string{}, runs.FiguresOf(out)...)
}

// placedIn lists the files of an artefact that are in a folder of figures, or
// in that of a series in it.
func placedIn(dir string, a *cache.Artefact) []string {
	m, err := a.Manifest()
	if err != nil {
		return nil
	}
	var out []string
	for _, f := range m.Files {
		name := filepath.FromSlash(f.Name)
		places, err := filepath.Glob(filepath.Join(runs.EscapeGlob(dir), "*", runs.EscapeGlob(name)))
		if err != nil {
			continue
		}
		for _, path := range append(places, filepath.Join(dir, name)) {
			if info, err := os.Stat(path); err != nil || info.Size() != f.Size {
				continue
			}
			if d, err := runs.Digest(path); err == nil && d.SHA256 == f.SHA256 {
				out = append(out, path)
			}
		}
	}
	return out
}
