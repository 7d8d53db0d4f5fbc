package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/runs"
)

// Affected is what would be done again in one spec if a file changed.
type Affected struct {
	Spec      string         `json:"spec"` // file of the spec
	Name      string         `json:"name"`
	Run       string         `json:"run,omitempty"` // whose spec it is, if none was named
	Direct    []AffectedNode `json:"direct"`        // nodes whose own value would change
	Follow    []StageNodes   `json:"follow"`        // results made from these, that are made again if these come out otherwise
	Started   []StageNodes   `json:"started"`       // deployments and warm-ups that it takes
	Unchanged []StageNodes   `json:"unchanged"`     // results that stay
	Any       bool           `json:"any"`           // the file is the spec itself: vbp plan says what a change does
	Notes     []string       `json:"notes,omitempty"`
}

// AffectedNode is a node that has something of the file in its key.
type AffectedNode struct {
	Node      string `json:"node"`
	Stage     string `json:"stage"`     // as the spec calls it
	Component string `json:"component"` // of the key
	How       string `json:"how"`       // the file is meant by it
}

// StageNodes are nodes of one stage.
type StageNodes struct {
	Stage string   `json:"stage"`
	Nodes []string `json:"nodes"`
}

// Changed is a file that may change.
type Changed struct {
	path   string
	info   fs.FileInfo
	sha256 string
	bytes  int64
}

// NewChanged looks at the file. An error says why it is none that can be asked
// about.
func NewChanged(path string) (*Changed, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("--affected-by %s: there is no such file (paths are taken from here, not from a spec's folder)", path)
	case err != nil:
		return nil, fmt.Errorf("--affected-by: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("--affected-by %s: it is a folder; name a file in it", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("--affected-by %s: it is no regular file, and nothing is made from such", path)
	}
	d, err := runs.Digest(path)
	if err != nil {
		return nil, fmt.Errorf("--affected-by: %w", err)
	}
	return &Changed{path: path, info: info, sha256: d.SHA256, bytes: d.Bytes}, nil
}

// is reports whether path names the very file, through links too.
func (c *Changed) is(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, c.info)
}

// holds reports whether path has the same content, without being the file.
func (c *Changed) holds(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Size() != c.bytes || os.SameFile(info, c.info) {
		return false
	}
	d, err := runs.Digest(path)
	return err == nil && d.SHA256 == c.sha256
}

func newAffected(spec, name string) *Affected {
	return &Affected{
		Spec: spec, Name: name, // and lists that are empty in JSON, not null
		Direct: []AffectedNode{}, Follow: []StageNodes{}, Started: []StageNodes{}, Unchanged: []StageNodes{},
	}
}

// AffectedIn tells what a change of the file would do to an experiment that
// was read from a spec.
func AffectedIn(c *Changed, exp *specs.Experiment, site *Site) (*Affected, error) {
	a := newAffected(exp.File, exp.Name)
	a.Any = c.is(exp.File)
	there := *site
	there.Elsewhere = true // nothing is to be run
	g, err := Build(exp, &there)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", exp.File, err)
	}
	return a, a.search(c, exp, g, site, nil)
}

// AffectedRuns tells the same of the newest run of each name in the results
// folder.
func AffectedRuns(c *Changed, site *Site) ([]*Affected, error) {
	dirs, err := newestRuns(site.Results)
	if err != nil {
		return nil, err
	}
	var out []*Affected
	for _, dir := range dirs {
		a, err := affectedRun(c, dir, site)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// newestRuns lists the newest run of each name, in order of name.
func newestRuns(results string) ([]string, error) {
	entries, err := os.ReadDir(results)
	if err != nil {
		return nil, fmt.Errorf("no results folder: %w; name the specs that are meant, or the folder with --results", err)
	}
	var out []string
	for _, e := range entries {
		if path := filepath.Join(results, e.Name()); runs.IsFolder(path, e) && !strings.HasPrefix(e.Name(), ".") {
			if dirs := runs.Of(path); len(dirs) > 0 {
				out = append(out, dirs[len(dirs)-1])
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there are no runs in %s; name the specs that are meant, or another folder with --results", results)
	}
	return out, nil
}

func affectedRun(c *Changed, dir string, site *Site) (*Affected, error) {
	r, err := readRan(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, runs.SpecFile)
	a := newAffected(path, r.name())
	a.Run = dir
	switch {
	case r.imported != nil:
		a.Spec = ""
		for _, f := range r.imported.Files {
			if c.is(f.Path) || f.SHA256 == c.sha256 {
				a.Notes = append(a.Notes, fmt.Sprintf("this run was imported from it (%s); the run stays as it is, and vbp import makes another of a changed file", f.Path))
			}
		}
		return a, nil
	case r.exp == nil:
		a.Notes = append(a.Notes, "its spec cannot be read by this vbp; name the spec's file instead")
		return a, nil
	}
	a.Any = c.isSpecOf(r.exp.Name)
	there := *site
	there.Elsewhere = true
	g, err := Build(r.exp, &there)
	if err != nil {
		a.Notes = append(a.Notes, fmt.Sprintf("its spec cannot be planned any more (%s); what is told is by its paths and by what the run stored", firstLine(err.Error())))
		if g, err = outline(r.exp); err != nil {
			return a, nil
		}
	}
	return a, a.search(c, r.exp, g, site, r)
}

// isSpecOf reports whether the file is a spec of that name: where the one lay
// that a run was made of is not recorded.
func (c *Changed) isSpecOf(name string) bool {
	if ext := filepath.Ext(c.path); ext != ".yaml" && ext != ".yml" || runAround(c.path) != "" {
		return false
	}
	exp, err := specs.Load(c.path, specs.Options{SkipFiles: true})
	return err == nil && exp.Name == name
}

// search fills in which nodes have something of the file in their keys, and
// what follows. r is the run that the experiment is from; nil: none.
func (a *Affected) search(c *Changed, exp *specs.Experiment, g *pipeline.Graph, site *Site, r *ran) error {
	inputs, err := inputsOf(c, exp, g, r, site.Results)
	if err != nil {
		return err
	}
	direct := make(map[string]AffectedNode)
	add := func(n *pipeline.Node, component, how string) {
		if _, ok := direct[n.ID]; !ok {
			direct[n.ID] = AffectedNode{n.ID, n.Group, component, how}
		}
	}
	finder := fileFinder{c: c, known: make(map[nodeFile]string)}
	for _, n := range g.Nodes {
		for _, in := range inputs[n.ID] {
			if how := finder.find(in); how != "" {
				add(n, in.component, how)
			}
		}
	}
	programs, err := newProgramFinder(c, g, func(n *pipeline.Node) bool { _, ok := direct[n.ID]; return ok })
	if err != nil {
		return err
	}
	self, why := c.isProgram(site)
	for _, n := range g.Nodes {
		switch {
		case n.Kind == pipeline.Measurement:
			if how := programs.runBy(g, n); how != "" {
				add(n, "programs", how)
			}
		case n.Kind == pipeline.Pure && self && hasCode(n):
			add(n, "code", why)
		}
	}
	for _, n := range g.Nodes {
		if d, ok := direct[n.ID]; ok {
			a.Direct = append(a.Direct, d)
		}
	}
	a.Notes = append(a.Notes, programs.notes...)
	if self {
		a.Notes = append(a.Notes, selfNote(g))
	}
	if run := runAround(c.path); run != "" {
		a.Notes = append(a.Notes, fmt.Sprintf("it is part of a run, and no input of anything: vbp why %s %s says what is behind it", run, c.path))
	}
	a.follow(g, direct)
	return nil
}

// follow adds what the change reaches through the nodes that are affected
// themselves.
func (a *Affected) follow(g *pipeline.Graph, direct map[string]AffectedNode) {
	affected := func(n *pipeline.Node) bool { _, ok := direct[n.ID]; return ok }
	reached := make(map[string]bool)
	started := make(map[string]bool)
	var start func(n *pipeline.Node)
	start = func(n *pipeline.Node) {
		for _, id := range n.Needs {
			if need := g.Node(id); (need.Kind == pipeline.Service || need.Kind == pipeline.Effect) && !started[id] {
				started[id] = true
				start(need)
			}
		}
	}
	for _, n := range g.Nodes {
		if affected(n) {
			reached[n.ID] = true
			start(n)
			continue
		}
		reached[n.ID] = n.Kind == pipeline.Pure && slices.ContainsFunc(n.Needs, func(id string) bool { return reached[id] })
	}
	for _, n := range g.Nodes {
		switch {
		case affected(n):
		case started[n.ID]:
			a.Started = appendNode(a.Started, n)
		case reached[n.ID]:
			a.Follow = appendNode(a.Follow, n)
		case n.Kind == pipeline.Pure || n.Kind == pipeline.Measurement:
			a.Unchanged = appendNode(a.Unchanged, n)
		}
	}
}

// appendNode puts n to the nodes of its stage.
func appendNode(all []StageNodes, n *pipeline.Node) []StageNodes {
	i := slices.IndexFunc(all, func(s StageNodes) bool { return s.Stage == n.Group })
	if i < 0 {
		return append(all, StageNodes{n.Group, []string{n.ID}})
	}
	all[i].Nodes = append(all[i].Nodes, n.ID)
	return all
}

// hasCode reports whether the key of n holds the identity of this vbp.
func hasCode(n *pipeline.Node) bool {
	return slices.ContainsFunc(n.Input.Components(), func(c pipeline.Component) bool { return c.Name == "code" })
}

// runAround is the folder of the run that a file is in; "" if it is in none.
func runAround(path string) string {
	for _, named := range []string{filepath.Clean(path), runs.Absolute(path)} {
		for dir := filepath.Dir(named); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, history.FileName)); err == nil {
				return dir
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return ""
}
