package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/stages/runs"
)

// KeptFile is one file of a result.
type KeptFile struct {
	Name    string `json:"name"` // in the result
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	InRun   string `json:"in_run,omitempty"`   // path; "" if it is not there
	InStore string `json:"in_store,omitempty"` // path; "" if the result is no longer stored
	Trouble string `json:"trouble,omitempty"`  // what is wrong with the one in the run
}

// files lists the files of what the run shows of a node: as they are in the
// store, and where they are in the run. Of what is no longer stored, those
// that are in the run.
func (r *ran) files(o *outcome, shown *Attempt) []KeptFile {
	if shown == nil {
		return nil
	}
	if shown.manifest == nil {
		return r.filesInRun(o)
	}
	var out []KeptFile
	for _, f := range shown.manifest.Files {
		k := KeptFile{Name: f.Name, Bytes: f.Size, SHA256: f.SHA256, InStore: filepath.Join(shown.Folder, filepath.FromSlash(f.Name))}
		k.InRun, k.Trouble = inRun(r.placeOf(o, f.Name), &k)
		out = append(out, k)
	}
	return out
}

// inRun is path, if what a result holds is there.
func inRun(path string, k *KeptFile) (at, trouble string) {
	if path == "" {
		return "", ""
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", path + " is not there any more"
	case err != nil:
		return "", err.Error()
	}
	if stored, err := os.Stat(k.InStore); err == nil && os.SameFile(info, stored) {
		return path, ""
	}
	have, err := runs.Digest(path)
	switch {
	case err != nil:
		return path, err.Error()
	case have.SHA256 != k.SHA256:
		return path, fmt.Sprintf("it is another file by now: %d bytes, sha256 %s", have.Bytes, have.SHA256)
	}
	return path, ""
}

// placeOf is where the file called name of a node's result is put; "" if it is
// put nowhere, or nobody knows.
func (r *ran) placeOf(o *outcome, name string) string {
	name = filepath.FromSlash(name)
	if o.isLoad() {
		e := r.entries[o.node]
		if e == nil || e.Path == "" {
			return ""
		}
		place := filepath.FromSlash(e.Path)
		if name == metricsFile {
			place = filepath.Join(metricsDir, strings.TrimPrefix(place, samplesDir))
		}
		return filepath.Join(r.dir, place, name)
	}
	if g := r.shape(); g != nil {
		if n := g.Node(o.node); n != nil && n.Place != "" {
			return filepath.Join(pipeline.PlaceIn(r.dir, n.Place), name)
		}
	}
	return ""
}

// filesInRun lists what is in the run's folder of a result that is no longer
// stored.
func (r *ran) filesInRun(o *outcome) []KeptFile {
	names := []string{samplesFile, metricsFile}
	if !o.isLoad() {
		names = r.mainFiles(o.node)
	}
	var out []KeptFile
	for _, name := range names {
		path := r.placeOf(o, name)
		if path == "" {
			continue
		}
		if f, err := runs.Digest(path); err == nil {
			out = append(out, KeptFile{Name: name, Bytes: f.Bytes, SHA256: f.SHA256, InRun: path})
		}
	}
	return out
}

// mainFiles names the files that a node makes, as its spec says; of samples
// only their list.
func (r *ran) mainFiles(node string) []string {
	g := r.shape()
	if g == nil {
		return nil
	}
	n := g.Node(node)
	if n == nil {
		return nil
	}
	switch n.Stage {
	case "collect":
		return []string{pointsFile}
	case "analyze":
		return []string{analysisFile, tableFile}
	case "plot":
		var in plotInput
		if n.Input.Decode(&in) != nil {
			return nil
		}
		var out []string
		for _, format := range in.Formats {
			out = append(out, in.Figure.File+"."+format)
		}
		return out
	case "command":
		var in commandInput
		if n.Input.Decode(&in) != nil {
			return nil
		}
		return in.Outputs
	}
	return nil
}

// stored reads the manifest of an attempt that is in the store; nil, and in
// Trouble why, if it cannot be read.
func stored(shown *Attempt, o *outcome, l *cache.Listing) *cache.Manifest {
	if shown == nil || shown.Folder == "" || l == nil {
		return nil
	}
	for _, a := range l.Find(o.key) {
		if a.Attempt != shown.Attempt || a.Damage != nil {
			continue
		}
		m, err := a.Manifest()
		if err == nil {
			if shown.Trouble == "" {
				if err := a.CheckSizes(); err != nil {
					shown.Trouble = err.Error()
				}
			}
			return m
		}
		shown.Trouble = err.Error()
	}
	return nil
}
