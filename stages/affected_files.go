package stages

import (
	"path/filepath"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/specs"
	"vbp/stages/load/workload"
)

// nodeFile is a file whose content is in a node's key.
type nodeFile struct {
	component string // of the key
	path      string // "" if nobody knows where it lies
	name      string // for people
	sha256    string // of the content that is, or was, in the key; "" if only path tells
	same      bool   // the content that was in the key is that of the file asked about
}

// fileFinder tells how the file asked about is one of a node's.
type fileFinder struct {
	c     *Changed
	known map[nodeFile]string // answers: many nodes have one file
}

// find says how the file is in; "" if it is not.
func (f *fileFinder) find(in nodeFile) string {
	how, ok := f.known[in]
	if !ok {
		switch {
		case f.c.is(in.path):
			how = "this file is read"
		case in.sha256 != "" && in.sha256 == f.c.sha256, f.c.holds(in.path):
			how = "a file of the same content is read: " + in.name
		case in.same:
			how = "its content is what was read from " + in.name
		}
		f.known[in] = how
	}
	return how
}

// inputsOf lists the files whose content is in the keys of g's nodes: those
// that the nodes name, and, for a run, those whose content its stored results
// were made from, which may be gone or changed.
func inputsOf(c *Changed, exp *specs.Experiment, g *pipeline.Graph, r *ran, results string) (map[string][]nodeFile, error) {
	points, err := exp.Points()
	if err != nil {
		return nil, err
	}
	out := make(map[string][]nodeFile)
	was := newPastDigests(c, r, results)
	for i := range points {
		d := points[i].Config.Workload.Dataset
		id := loadPrefix + pointLabel(points[i].Axes)
		if d.Path != "" {
			out[id] = append(out[id], nodeFile{component: "workload.dataset_digest", path: d.Path, name: d.Path, same: was.dataset(id, d)})
		}
	}
	for _, n := range g.Nodes {
		if n.Stage == "command" {
			out[n.ID] = commandFiles(exp, n, was)
		}
		for _, path := range n.Files {
			if !slices.ContainsFunc(out[n.ID], func(f nodeFile) bool { return f.path == path }) {
				out[n.ID] = append(out[n.ID], nodeFile{component: "inputs", path: path, name: path})
			}
		}
	}
	return out, nil
}

// commandFiles lists the inputs of a user's own step.
func commandFiles(exp *specs.Experiment, n *pipeline.Node, was *pastDigests) []nodeFile {
	var out []nodeFile
	if i := slices.IndexFunc(exp.Stages, func(s specs.Stage) bool { return s.Name == n.Group }); i >= 0 && exp.Stages[i].Command != nil {
		for _, path := range exp.Stages[i].Command.Inputs {
			out = append(out, nodeFile{component: "inputs." + filepath.Base(path) + ".sha256", path: path, name: path})
		}
	}
	for _, comp := range append(n.Input.Components(), was.components(n.ID)...) {
		if name, ok := strings.CutPrefix(comp.Name, "inputs."); ok {
			if name, ok = strings.CutSuffix(name, ".sha256"); ok {
				out = append(out, nodeFile{component: comp.Name, name: name, sha256: comp.Value})
			}
		}
	}
	return out
}

// pastDigests is what keys of a run's stored results hold of contents.
type pastDigests struct {
	c        *Changed
	r        *ran // nil: there is no run
	listing  *cache.Listing
	datasets map[specs.Dataset]bool // whether the file asked about is what was read as it
}

func newPastDigests(c *Changed, r *ran, results string) *pastDigests {
	p := &pastDigests{c: c, r: r, datasets: make(map[specs.Dataset]bool)}
	if r == nil {
		return p
	}
	if store := r.store(results); store != nil {
		p.listing, _ = store.List() // else paths alone tell
	}
	return p
}

// dataset reports whether the file asked about holds what was read as d for
// load node id. One load tells for all that read d.
func (p *pastDigests) dataset(id string, d specs.Dataset) bool {
	same, known := p.datasets[d]
	if known || p.listing == nil {
		return same
	}
	components := p.components(id)
	if components == nil {
		return false // another load may tell
	}
	if !p.c.is(d.Path) && !p.c.holds(d.Path) { // else it need not be read
		as := workload.Dataset{Kind: d.Kind, Path: p.c.path, InputTokens: d.InputTokens, OutputTokens: d.OutputTokens, RangeRatio: d.RangeRatio}
		if src, err := workload.Open(as); err == nil {
			same = slices.Contains(components, pipeline.Component{Name: "workload.dataset_digest", Value: src.Digest()})
		}
	}
	p.datasets[d] = same
	return same
}

// components are those of the key under which the run has a node's result;
// nil if that is no longer stored.
func (p *pastDigests) components(node string) []pipeline.Component {
	if p.r == nil || p.listing == nil {
		return nil
	}
	o := p.r.byNode[node]
	if o == nil {
		return nil
	}
	for _, a := range p.listing.Find(o.key) {
		if m, err := a.Manifest(); err == nil {
			return pipeline.ComponentsOf(m)
		}
	}
	return nil
}
