package specs

import (
	"fmt"
	"strconv"
	"strings"
)

const gpusHint = "auto, none, a count, or a list of indices or UUIDs"

// decodeGPUs reads auto, a count, or a list; from the environment a list comes
// as "0,1,2".
func (r *reader) decodeGPUs(n *node) GPUs {
	switch {
	case n.isNull():
		return GPUs{}
	case n.kind == mapping:
		r.errorf(n.pos, gpusHint, "gpus is a mapping")
		return GPUs{}
	case n.kind == scalar && n.text == "auto":
		return GPUs{Auto: true}
	case n.kind == scalar && n.text == "none":
		return GPUs{None: true}
	case n.kind == scalar && (strings.HasPrefix(n.text, "GPU-") || strings.HasPrefix(n.text, "MIG-")) && !strings.Contains(n.text, ","):
		return GPUs{List: []string{n.text}} // one UUID, as CUDA_VISIBLE_DEVICES would have it
	case n.kind == scalar && !strings.ContainsAny(n.text, ",["):
		before := len(r.errs)
		count := r.count(n, "gpus", 0)
		for _, e := range r.errs[before:] {
			e.Hint = gpusHint
			return GPUs{Auto: true} // so that no mode is said not to fit
		}
		return GPUs{Count: count}
	}
	var ids []string
	if n.kind == scalar {
		ids = strings.Split(strings.Trim(n.text, "[] "), ",")
	}
	for _, item := range n.items {
		ids = append(ids, r.word(item, "gpus"))
	}
	seen := map[string]bool{}
	for i, id := range ids {
		ids[i] = strings.TrimSpace(id)
		if ids[i] == "" || seen[ids[i]] {
			r.errorf(n.pos, gpusHint, "gpus: %q is empty or there twice", id)
		}
		seen[ids[i]] = true
	}
	if len(ids) == 0 {
		r.errorf(n.pos, "write gpus: 0", "gpus is an empty list")
	}
	return GPUs{List: ids}
}

// GPUs is how many accelerators the mode occupies while it is up: instances x
// what one occupies, summed over its pools. Simulated engines and servers that
// already run need none, nor do pools that name their own devices; a command of
// the user's needs its tensor-parallel size.
func (m *Mode) GPUs() int {
	switch {
	case m.Engine == "simulated" || m.Endpoint != "":
		return 0
	case m.OwnDevices(Pool{}) != "" && m.Disaggregated == nil:
		return 0
	case m.Engine == "command":
		return m.TensorParallel
	case m.Disaggregated != nil:
		d, n := m.Disaggregated, 0
		for _, p := range []Pool{d.Prefill, d.Decode} {
			if m.OwnDevices(p) == "" {
				n += p.Instances * m.Width(p)
			}
		}
		return n
	}
	return m.Width(Pool{TensorParallel: m.TensorParallel})
}

// OwnDevices is CUDA_VISIBLE_DEVICES of a pool's environment: its instances
// run there and are given no GPUs. "": they are.
func (m *Mode) OwnDevices(p Pool) string {
	if own, ok := p.Env[visibleDevices]; ok {
		return own
	}
	return m.Env[visibleDevices]
}

const visibleDevices = "CUDA_VISIBLE_DEVICES"

// Devices is how many GPUs the mode runs on: those that it is given, and those
// that its environment names, each once.
func (m *Mode) Devices() int {
	pools := []Pool{{}}
	if d := m.Disaggregated; d != nil {
		pools = []Pool{d.Prefill, d.Decode}
	}
	named := make(map[string]bool)
	for _, p := range pools {
		for _, id := range strings.Split(m.OwnDevices(p), ",") {
			if id = strings.TrimSpace(id); id != "" {
				named[id] = true
			}
		}
	}
	return m.GPUs() + len(named)
}

// Width is how many accelerators an instance of pool p occupies: its
// tensor-parallel size x the data-parallel and pipeline-parallel sizes among
// its arguments.
func (m *Mode) Width(p Pool) int {
	width := max(1, p.TensorParallel)
	for _, name := range []string{"data-parallel-size", "pipeline-parallel-size"} {
		size := 1
		for _, args := range [][]Arg{m.Args, p.Args} { // the pool's win
			for _, a := range args {
				if n, err := strconv.ParseFloat(fmt.Sprint(a.Value), 64); err == nil && strings.ReplaceAll(a.Name, "_", "-") == name && n >= 1 {
					size = int(min(n, maxParallel))
				}
			}
		}
		width *= size
	}
	return width
}

// validateGPUs checks that a mode fits what the spec says there is. With
// gpus: auto only the host can tell.
func (r *reader) validateGPUs(m *Mode, g GPUs, at pos) {
	if g.Auto || g.None {
		return
	}
	have := g.Count
	if g.List != nil {
		have = len(g.List)
	}
	if need := m.GPUs(); need > have {
		r.errorf(at, "", "the mode %s needs %s and gpus gives %d", m.Name, m.NeedsGPUs(), have)
	}
}

// NeedsGPUs says how many accelerators the mode needs, and for what: "5 GPUs
// (2 prefill x 2 + 1 decode x 1)".
func (m *Mode) NeedsGPUs() string {
	n := m.GPUs()
	if n == 1 {
		return "1 GPU"
	}
	text := fmt.Sprintf("%d GPUs", n)
	if d := m.Disaggregated; d != nil {
		text += fmt.Sprintf(" (%d prefill x %d + %d decode x %d)", d.Prefill.Instances, m.Width(d.Prefill), d.Decode.Instances, m.Width(d.Decode))
	}
	return text
}
