package specs

import (
	"strings"
	"time"
)

var windowKeys = []string{"from", "to"}

// decodeWindow reads which part of each point is analyzed.
func (r *reader) decodeWindow(n *node, where string) Window {
	var w Window
	for _, e := range r.mapping(n, where, windowKeys) {
		switch at := where + "." + e.key; e.key {
		case "from":
			w.From = r.edge(e.value, at)
		case "to":
			w.To = r.edge(e.value, at)
		}
	}
	return w
}

// edge reads an instant of a point: 10s or 10%. A bare number would be read
// as the one by some and as the other by others, so only 0 is taken.
func (r *reader) edge(n *node, where string) Edge {
	const hint = "write 10s, or 10% of the schedule"
	s, ok := r.single(n, where, "a duration such as 10s or a share such as 10%")
	if !ok {
		return Edge{}
	}
	if strings.HasSuffix(s, "%") {
		return Edge{Share: r.shareFrom0(n, where), Set: true}
	}
	if v, wrong := parseNumber(s); wrong == "" && v != 0 {
		r.errorf(n.pos, hint, "%s is neither a duration nor a share: %s", where, s)
		return Edge{}
	}
	if _, err := parseDuration(s); err != nil {
		r.errorf(n.pos, hint, "%s is neither a duration nor a share: %q", where, s)
		return Edge{}
	}
	return Edge{At: r.duration(n, where, 0), Set: true}
}

// validateWindow checks that something lies between the edges, as far as that
// is known before there is a point: of one that lasts so long at most, if that
// is not 0.
func (r *reader) validateWindow(s *Stage, duration time.Duration, root *node) {
	if s.Analyze == nil {
		return
	}
	from, to := s.Analyze.Window.From, s.Analyze.Window.To
	at := root.where("stages", s.Name, "window", "to")
	empty := to.Set && to.At == 0 && to.Share == 0 ||
		from.At > 0 && to.At > 0 && to.At <= from.At ||
		from.Share > 0 && to.Share > 0 && to.Share <= from.Share
	if from.Share == 1 {
		at, empty = root.where("stages", s.Name, "window", "from"), true
	}
	if duration > 0 && from.At >= duration {
		r.errorf(root.where("stages", s.Name, "window", "from"), "the window begins after the end of every point", "stages.%s.window is empty: a point lasts %v (workload.duration)", s.Name, duration)
		return
	}
	if empty {
		r.errorf(at, "requests scheduled at from or later, and before to, are analyzed", "stages.%s.window is empty", s.Name)
	}
}
