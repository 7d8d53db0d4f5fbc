package specs

import (
	"fmt"
	"slices"
	"strings"
)

// node is one value of a spec with its place. A tree of nodes is what parsing
// makes and everything after it reads. Once read it is never changed: an axis
// is applied by with, which shares all that is not on the path, so that equal
// pointers mean equal values.
type node struct {
	kind    kind
	text    string  // scalar: the characters
	quoted  bool    // scalar: a text, whatever it looks like
	items   []*node // list
	entries []entry // mapping, in order
	pos
}

// entry is one key of a mapping and its value.
type entry struct {
	key   string
	at    pos
	value *node
}

type kind uint8

const (
	scalar kind = iota
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"a single value", "a list", "a mapping"}[k]
}

// pos is where something stands: a line and column of the file, or the --set
// that brought it.
type pos struct {
	line, col int
	flag      string
}

// isNull tells whether nothing was said. A nil node says nothing.
func (n *node) isNull() bool {
	if n == nil {
		return true
	}
	if n.kind != scalar || n.quoted {
		return false
	}
	switch n.text {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// index is the place of key in a mapping, -1 if there is none.
func (n *node) index(key string) int {
	if n == nil {
		return -1
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return i
		}
	}
	return -1
}

// find follows path down from n; nil if something on it is missing.
func (n *node) find(path ...string) *node {
	for _, key := range path {
		i := n.index(key)
		if i < 0 {
			return nil
		}
		n = n.entries[i].value
	}
	return n
}

// has tells whether path was said.
func (n *node) has(path ...string) bool { return !n.find(path...).isNull() }

// where is the best place to show for path: its value if that is a single
// value or a list, else its key, else the key of the nearest thing above it.
func (n *node) where(path ...string) pos {
	at := pos{line: 1, col: 1}
	if n != nil {
		at = n.pos
	}
	for _, key := range path {
		i := n.index(key)
		if i < 0 {
			return at
		}
		at, n = n.entries[i].at, n.entries[i].value
	}
	if n != nil && n.kind != mapping && !n.isNull() {
		return n.pos
	}
	return at
}

// keys are the keys of a mapping in order.
func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	out := make([]string, len(n.entries))
	for i, e := range n.entries {
		out[i] = e.key
	}
	return out
}

// with returns a copy of n in which path holds value, sharing all else.
// Mappings that are missing on the way are made, and stand at the given place.
func (n *node) with(path []string, value *node, at pos) (*node, error) {
	return new(graft).onto(n, path, value, at)
}

// graft is the part of a tree that with copies: the mappings on a path. Used
// again, it makes no new ones; the tree that it made before is then gone.
type graft struct{ nodes []node }

func (g *graft) onto(n *node, path []string, value *node, at pos) (*node, error) {
	if g.nodes == nil {
		g.nodes = make([]node, len(path))
	}
	return g.replace(n, path, 0, value, at)
}

func (g *graft) replace(n *node, path []string, depth int, value *node, at pos) (*node, error) {
	if depth == len(path) {
		return value, nil
	}
	if n.isNull() {
		n = &node{kind: mapping, pos: at}
	}
	if n.kind != mapping {
		above := strings.Join(path[:depth], ".")
		return nil, fmt.Errorf("%s is %v, so it has no %q below it", above, n.kind, path[depth])
	}
	var old *node
	i := n.index(path[depth])
	if i >= 0 {
		old = n.entries[i].value
	}
	below, err := g.replace(old, path, depth+1, value, at)
	if err != nil {
		return nil, err
	}
	c := &g.nodes[depth]
	entries := append(c.entries[:0], n.entries...)
	if i >= 0 {
		entries[i].value = below
	} else {
		entries = append(entries, entry{key: path[depth], at: at, value: below})
	}
	*c = *n
	c.entries = entries
	return c, nil
}

// splitPath cuts a dotted path into keys. Names of modes may hold dots: the
// longest mode of root that fits is taken. Below args, env and headers of a
// mode, and below sweep, the rest is one key.
func splitPath(root *node, path string) ([]string, error) {
	first, rest, more := strings.Cut(path, ".")
	if !more {
		if first == "" {
			return nil, fmt.Errorf("an empty path")
		}
		return []string{first}, nil
	}
	parts := []string{first}
	switch first {
	case "sweep":
		parts = append(parts, rest)
	case "modes":
		name, below, deeper := strings.Cut(rest, ".")
		for _, m := range root.find("modes").keys() {
			if rest == m {
				name, deeper = m, false
			} else if strings.HasPrefix(rest, m+".") && len(m) > len(name) {
				name, below, deeper = m, rest[len(m)+1:], true
			}
		}
		parts = append(parts, name)
		for deeper {
			var key string
			key, below, deeper = strings.Cut(below, ".")
			parts = append(parts, key)
			if deeper && (key == "args" || key == "env" || key == "headers") {
				parts = append(parts, below)
				break
			}
		}
	default:
		parts = append(parts, strings.Split(rest, ".")...)
	}
	if slices.Contains(parts, "") {
		return nil, fmt.Errorf("%q has an empty part", path)
	}
	return parts, nil
}
