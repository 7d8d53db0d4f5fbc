package stages

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vbp/pipeline"
	"vbp/stages/deploy"
	"vbp/stages/deploy/vllm"
	"vbp/stages/runs"
)

// programFinder tells which deployments run the file asked about.
type programFinder struct {
	c     *Changed
	by    map[string]string // service -> how the file is in the keys of what is measured on it
	notes []string          // on deployments and steps that use it without having it in a key
}

// newProgramFinder looks through the deployments and the user's own steps of g,
// but for those that have the file as an input.
func newProgramFinder(c *Changed, g *pipeline.Graph, has func(n *pipeline.Node) bool) (*programFinder, error) {
	f := &programFinder{c: c, by: make(map[string]string)}
	for _, n := range g.Nodes {
		switch {
		case n.Kind == pipeline.Service:
			var in deployInput
			if err := n.Input.Decode(&in); err != nil {
				return nil, err
			}
			if how := f.identified(in.Deployment); how != "" {
				f.by[n.ID] = how
			} else if what := f.named(n.Input.Components(), in.Deployment.Run); what != "" {
				f.note("%s names it (%s), and keys hold its path alone: that it changed is not noticed, and vbp apply --rerun load measures again", deploymentName(n.ID), what)
			}
		case n.Stage == "command" && !has(n):
			var in commandInput
			if err := n.Input.Decode(&in); err != nil {
				return nil, err
			}
			if what := f.named(nil, in.Run); what != "" {
				f.note("the command of %s names it, but it is not among its inputs: that it changed is not noticed; add it to stages.%s.inputs", n.Group, n.Group)
			}
		}
	}
	return f, nil
}

func (f *programFinder) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(f.notes, text) {
		f.notes = append(f.notes, text)
	}
}

// runBy says how the file is in the key of n by the deployment that n stands
// on; "" if it is not.
func (f *programFinder) runBy(g *pipeline.Graph, n *pipeline.Node) string {
	if len(f.by) == 0 {
		return ""
	}
	if s := g.ServiceOf(n); s != nil {
		return f.by[s.ID]
	}
	return ""
}

// identified says how the file identifies a program of d.
func (f *programFinder) identified(d deploy.Deployment) string {
	if d.Endpoint != "" {
		return ""
	}
	for _, pool := range d.Pools() {
		p := deploy.Process{}
		for _, k := range slices.Sorted(maps.Keys(pool.Env)) {
			p.Env = append(p.Env, k+"="+pool.Env[k])
		}
		program := vllm.Program
		switch d.Engine {
		case "vllm":
		case "command":
			words := strings.Fields(d.Run)
			if len(words) > 1 && words[0] == "exec" {
				words = words[1:]
			}
			if len(words) == 0 {
				continue
			}
			program = words[0]
		default:
			continue // vbp itself, named by the version of the simulated engine
		}
		path, err := deploy.FindProgram(program, pool.Env, "")
		if err != nil || !f.c.is(path) && !f.c.holds(path) {
			continue
		}
		identity, err := engines[d.Engine].identity(d, p)
		if err != nil || identity == "" {
			continue
		}
		how := "it is run as " + path
		if !f.c.is(path) {
			how = "a file of the same content is run: " + path
		}
		if !strings.Contains(identity, "sha256:") {
			how += ", known by its version (" + identity + "): other content under the same version is not noticed"
		}
		return how
	}
	return ""
}

// named says where the file, or a folder that it is in, is named among the
// parts of a deployment or the words of a command; "" if nowhere.
func (f *programFinder) named(parts []pipeline.Component, command string) string {
	for _, c := range parts {
		if strings.ContainsRune(c.Value, filepath.Separator) && f.in(c.Value) {
			return c.Name
		}
	}
	for _, w := range strings.Fields(command) {
		if w = strings.Trim(w, `'"`); strings.ContainsRune(w, filepath.Separator) && f.in(w) {
			return command
		}
	}
	return ""
}

// in reports whether path is the file or a folder around it.
func (f *programFinder) in(path string) bool {
	if f.c.is(path) {
		return true
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	real, err := filepath.EvalSymlinks(runs.Absolute(path))
	if err != nil {
		return false
	}
	file, err := filepath.EvalSymlinks(runs.Absolute(f.c.path))
	return err == nil && real != string(filepath.Separator) && strings.HasPrefix(file, real+string(filepath.Separator))
}

// isProgram reports whether the file is vbp, and how that is known.
func (c *Changed) isProgram(site *Site) (bool, string) {
	if c.is(site.Self) {
		return true, "it is this vbp"
	}
	if buildID(c.path) == "" {
		return false, ""
	}
	code, err := codeIdentity(c.path)
	return err == nil && code == site.Code, "it is the same build as this vbp"
}

// selfNote says what another vbp does to measurements.
func selfNote(g *pipeline.Graph) string {
	text := "measurements are known by the version of the load generator"
	if slices.ContainsFunc(g.Nodes, func(n *pipeline.Node) bool {
		var in deployInput
		return n.Kind == pipeline.Service && n.Input.Decode(&in) == nil && in.Deployment.Engine == "simulated"
	}) {
		text += " and of the simulated engine"
	}
	return text + ", not by the program's content: another build measures again only if it has another version of these"
}
