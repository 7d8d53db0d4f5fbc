package specs

import (
	"slices"
	"strings"
)

// validateNeeds checks that a stage needs what its kind of work must have. A
// measurement and its service need nothing else: the result of a command is
// not in a measurement's key.
func (r *reader) validateNeeds(s *Stage, kind stageKind, root *node) {
	if !root.has("stages", s.Name, "needs") {
		return
	}
	at := root.where("stages", s.Name, "needs")
	where := "stages." + s.Name + ".needs"
	switch s.Uses {
	case "deploy", "warmup", "load", "collect", "analyze":
		if !slices.Equal(s.Needs, kind.needs) {
			r.errorf(at, "", "%s must be [%s]", where, strings.Join(kind.needs, ", "))
		}
	case "plot":
		if len(s.Needs) != 1 {
			r.errorf(at, "one plot stage for each analysis", "%s must be one analyze stage", where)
		}
	}
}

// validateGraph checks that stages need stages that exist, of a use that
// fits, and not each other.
func (r *reader) validateGraph(e *Experiment, root *node) {
	byName := make(map[string]*Stage, len(e.Stages))
	byVariable := map[string]string{}
	names := make([]string, 0, len(e.Stages))
	for i := range e.Stages {
		s := &e.Stages[i]
		byName[s.Name] = s
		names = append(names, s.Name)
		v := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		if other, taken := byVariable[v]; taken {
			r.errorf(root.where("stages", s.Name), "rename one", "the stages %s and %s both are VBP_%s to a command", other, s.Name, v)
		}
		byVariable[v] = s.Name
	}
	dirs := map[string]string{}
	for i := range e.Stages {
		s := &e.Stages[i]
		at := root.where("stages", s.Name, "needs")
		for j, need := range s.Needs {
			if n := root.find("stages", s.Name, "needs"); n != nil && n.kind == list && j < len(n.items) {
				at = n.items[j].pos
			}
			other, ok := byName[need]
			switch {
			case !ok:
				r.errorf(at, didYouMean(need, names), "stages.%s needs %q, which is no stage", s.Name, need)
			case s.Uses == "plot" && other.Uses != "analyze":
				r.errorf(at, "", "stages.%s draws an analysis, and %s is none", s.Name, need)
			case s.Uses == "command" && (other.Uses == "deploy" || other.Uses == "warmup"):
				r.errorf(at, "it can need load, collect, an analysis, a plot or another command", "stages.%s needs %s, which leaves no result", s.Name, need)
			}
		}
		if s.Plot != nil {
			// Two plots write the same file names.
			dir := s.Plot.Dir
			if dir == "" {
				dir = "\x00" + s.Name // each has a folder of its own
			}
			if other, taken := dirs[dir]; taken {
				r.errorf(root.where("stages", s.Name, "dir"), "", "stages.%s and stages.%s would overwrite each other's files in %s", other, s.Name, s.Plot.Dir)
			}
			dirs[dir] = s.Name
		}
	}
	if cycle := findCycle(e.Stages, byName); cycle != nil {
		r.errorf(root.where("stages", cycle[0], "needs"), "", "stages need each other: %s", strings.Join(cycle, " needs "))
	}
}

// findCycle returns a cycle of needs, its first stage repeated at the end; nil
// if there is none. Depth first, without recursion over user input depth: a
// stage is done once all it needs is.
func findCycle(stages []Stage, byName map[string]*Stage) []string {
	const (
		open = 1
		done = 2
	)
	state := make(map[string]int, len(stages))
	next := make(map[string]int, len(stages)) // which need to look at
	for i := range stages {
		path := []string{stages[i].Name}
		for len(path) > 0 {
			s := byName[path[len(path)-1]]
			if state[s.Name] == done || next[s.Name] == len(s.Needs) {
				state[s.Name] = done
				path = path[:len(path)-1]
				continue
			}
			state[s.Name] = open
			need := s.Needs[next[s.Name]]
			next[s.Name]++
			switch {
			case byName[need] == nil || state[need] == done:
			case state[need] == open:
				return append(path[slices.Index(path, need):], need)
			default:
				path = append(path, need)
			}
		}
	}
	return nil
}
