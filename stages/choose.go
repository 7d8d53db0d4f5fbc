package stages

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vbp/pipeline"
)

// loadPrefix begins the IDs of load nodes; the axes follow.
const loadPrefix = "load "

// PointMatcher reports which load nodes are at all of the axes' values that
// words name, as "mode=nixl" and "qps=4" do. An error says which word is none.
func PointMatcher(words []string) (func(node string) bool, error) {
	var want []string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("%q is not an axis and its value, such as mode=nixl or qps=4", w)
		}
		if f, err := strconv.ParseFloat(value, 64); err == nil && name == "qps" {
			value = formatRate(f)
		}
		want = append(want, " "+name+"="+value+" ")
	}
	return func(node string) bool {
		if !strings.HasPrefix(node, loadPrefix) {
			return false
		}
		text := node + " "
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(text, w) })
	}, nil
}

// Flags that choose.
const (
	onlyFlag  = "--only"
	rerunFlag = "--rerun"
)

// chooseNodes turns what --only and --rerun name into a choice of nodes: the
// name of a stage, or the axes of points, each word of args a choice of its
// own. Nil: no word.
func chooseNodes(g *pipeline.Graph, flag string, args []string) (func(*pipeline.Node) bool, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var groups []string
	for _, n := range g.Nodes {
		if !slices.Contains(groups, n.Group) {
			groups = append(groups, n.Group)
		}
	}
	chosen := make(map[*pipeline.Node]bool)
	for _, arg := range args {
		match := func(n *pipeline.Node) bool { return n.Group == arg }
		if strings.Contains(arg, "=") {
			point, err := PointMatcher(strings.Fields(arg))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", flag, err)
			}
			match = func(n *pipeline.Node) bool { return point(n.ID) }
		}
		some, again := false, false
		for _, n := range g.Nodes {
			if match(n) {
				chosen[n], some = true, true
				again = again || n.Kind == pipeline.Pure || n.Kind == pipeline.Measurement
			}
		}
		switch {
		case !some:
			return nil, fmt.Errorf("%s %s: no stage of this name, and no point there; stages are %s, and a point is named by its axes, as in %s \"mode=simple qps=4\"",
				flag, arg, strings.Join(groups, ", "), flag)
		case flag == rerunFlag && !again:
			return nil, fmt.Errorf("%s %s: it leaves no result that could be made again; %s load measures anew, on servers that are started for it, and --check-environment starts servers to look at them",
				flag, arg, flag)
		}
	}
	return func(n *pipeline.Node) bool { return chosen[n] }, nil
}

// bothChosen is an error if a word of rerun is about nodes that only leaves
// out: the user cannot mean both.
func bothChosen(g *pipeline.Graph, o PlanChoices) error {
	only, err := chooseNodes(g, onlyFlag, o.Only)
	if err != nil || only == nil {
		return err
	}
	for _, arg := range o.Rerun {
		rerun, err := chooseNodes(g, rerunFlag, []string{arg})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(g.Nodes, func(n *pipeline.Node) bool { return rerun(n) && only(n) }) {
			word := arg
			if strings.Contains(arg, " ") {
				word = strconv.Quote(arg)
			}
			return fmt.Errorf("%s %s: %s %s leaves it out; add %s %s, or say one of the two",
				rerunFlag, word, onlyFlag, strings.Join(o.Only, " "+onlyFlag+" "), onlyFlag, word)
		}
	}
	return nil
}

// chosenCanRun is an error if a stage was asked for that needs others which
// were not, and which are still to be done.
func chosenCanRun(p *pipeline.Plan, only func(*pipeline.Node) bool) error {
	if only == nil {
		return nil
	}
	open := make(map[string]bool) // nodes that are left out and have no result, among those that a chosen one needs
	for i := len(p.Decisions) - 1; i >= 0; i-- {
		d := &p.Decisions[i]
		if d.Action != pipeline.Skip || !only(d.Node) && !open[d.Node.ID] {
			continue
		}
		if d.Node.Tolerant && slices.ContainsFunc(d.Node.Needs, func(id string) bool { return only(p.Graph.Node(id)) }) {
			continue // it needs one of them
		}
		for _, id := range d.Node.Needs {
			if !only(p.Graph.Node(id)) {
				open[id] = true
			}
		}
	}
	var first *pipeline.Node
	var missing []string
	for i := range p.Decisions {
		d := &p.Decisions[i]
		if d.Action != pipeline.Skip {
			continue
		}
		if word := onlyFlag + " " + d.Node.Group; open[d.Node.ID] && !slices.Contains(missing, word) {
			missing = append(missing, word)
		}
		if only(d.Node) && first == nil {
			first = d.Node
		}
	}
	if first == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %s needs what is not done yet; add %s", onlyFlag, first.Group, first.ID, strings.Join(missing, " "))
}
