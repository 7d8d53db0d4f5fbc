package specs

import (
	"slices"
	"time"
)

// DefaultSLO is the objectives of a spec that names none: the scripts'.
func DefaultSLO() SLO {
	return SLO{TTFT: 125 * time.Millisecond, TPOT: 200 * time.Millisecond, Target: 0.9}
}

// DefaultSLOScales are the scales of a spec that names none.
func DefaultSLOScales() []float64 { return []float64{0.4, 0.6, 0.8, 1, 1.2, 1.6, 2} }

var sloKeys = []string{"ttft", "tpot", "target"}

// decodeSLO reads objectives; what is not said stays zero, see defaultSLO.
func (r *reader) decodeSLO(n *node, where string) SLO {
	var s SLO
	for _, e := range r.mapping(n, where, sloKeys) {
		switch e.key {
		case "ttft":
			s.TTFT = r.duration(e.value, where+".ttft", 1)
		case "tpot":
			s.TPOT = r.duration(e.value, where+".tpot", 1)
		case "target":
			s.Target = r.share(e.value, where+".target")
			if s.Target > 0 && s.Target < 0.01 {
				r.warnf("%s.target is under 1 %%: write 90%% or 0.9", where)
			}
		}
	}
	return s
}

func defaultSLO(s *SLO, n *node, d SLO) {
	if !n.has("ttft") {
		s.TTFT = d.TTFT
	}
	if !n.has("tpot") {
		s.TPOT = d.TPOT
	}
	if !n.has("target") {
		s.Target = d.Target
	}
}

// decodeScales reads SLO scales: numbers above 0, none twice.
func (r *reader) decodeScales(n *node, where string) []float64 {
	items := r.list(n, where)
	if n.kind == list && len(items) == 0 {
		r.errorf(n.pos, "", "%s is empty", where)
	}
	out := make([]float64, 0, len(items))
	for _, item := range items {
		v := r.positive(item, where)
		if slices.Contains(out, v) {
			r.errorf(item.pos, "", "%s: %s is there twice", where, item.text)
		}
		out = append(out, v)
	}
	return out
}
