package specs

import "net/netip"

// transports are the ways of sending, the default first.
var transports = []string{"auto", "epoll", "net/http"}

// mostLoops bounds the event loops: each takes a core for itself, and no host
// has more to give.
const mostLoops = 256

func (r *reader) loops(n *node, where string) int {
	before := len(r.errs)
	v := r.count(n, where, 0)
	if v > mostLoops && len(r.errs) == before {
		r.errorf(n.pos, "each takes a core; 0 chooses by the rate", "%s is too large: %d; at most %d", where, v, mostLoops)
	}
	return v
}

// addresses reads local IP addresses, none twice.
func (r *reader) addresses(n *node, where string) []string {
	items := r.list(n, where)
	if n.kind == list && len(items) == 0 {
		r.errorf(n.pos, "leave it away for the system's choice", "%s is empty", where)
	}
	seen := map[netip.Addr]bool{}
	var out []string
	for _, item := range items {
		s, ok := r.single(item, where, "an IP address")
		if !ok {
			continue
		}
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			r.errorf(item.pos, "write addresses of this host, such as 127.0.0.2", "%s: %q is not an IP address", where, s)
		case a.IsUnspecified() || a.IsMulticast():
			r.errorf(item.pos, "", "%s: no connection can go out from %s", where, s)
		case seen[a.Unmap()]:
			r.errorf(item.pos, "", "%s: %s is there twice", where, s)
		}
		seen[a.Unmap()] = true
		out = append(out, s)
	}
	return out
}

// validateTransport checks that what is set of the event loops has some.
func (r *reader) validateTransport(s *Stage, root *node) {
	if l := s.Load; l != nil && l.Transport == "net/http" && l.Loops > 0 {
		r.errorf(root.where("stages", s.Name, "loops"), "say transport: epoll", "stages.%s.loops does not go with transport: net/http", s.Name)
	}
}
