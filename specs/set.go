package specs

import (
	"strings"
)

// applySet overrides values of root as the --set flags say, in their order.
// What a flag brings stands at that flag in every later error.
func (r *reader) applySet(root *node, flags []string) *node {
	for _, f := range flags {
		at := pos{flag: f}
		path, value, ok := strings.Cut(f, "=")
		if !ok {
			r.errorf(at, "write --set slo.tpot=15ms", "there is no = in it")
			continue
		}
		path = strings.TrimSpace(path)
		parts, err := splitPath(root, path)
		if err != nil {
			r.errorf(at, "write --set slo.tpot=15ms", "%v", err)
			continue
		}
		if !r.settable(root, parts, at) {
			continue
		}
		v, yerr := readYAML([]byte(value), f)
		if len(yerr) > 0 {
			r.found(yerr)
			continue
		}
		if v == nil {
			v = &node{pos: at} // nothing after =: as if it were not said
		}
		changed, err := root.with(parts, v, at)
		if err != nil {
			r.errorf(at, "set the whole of it instead", "%v", err)
			continue
		}
		root = changed
	}
	return root
}

// settable refuses a path below a mode or stage that does not exist: taking
// it would add a mode by a slip of the pen. A whole new one can be set.
func (r *reader) settable(root *node, parts []string, at pos) bool {
	if len(parts) < 3 {
		return true
	}
	var noun string
	names := root.find(parts[0]).keys()
	switch parts[0] {
	case "modes":
		noun = "mode"
	case "stages":
		noun = "stage"
		names = append(names, stageOrder...)
	default:
		return true
	}
	for _, n := range names {
		if n == parts[1] {
			return true
		}
	}
	hint := ""
	if best := nearest(parts[1], names); best != "" {
		hint = didYouMean(parts[1], names) + " "
	}
	r.errorf(at, hint+"to add one, set "+parts[0]+"."+parts[1]+"={...}", "there is no %s %q", noun, parts[1])
	return false
}
