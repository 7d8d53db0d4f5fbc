package specs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits of a spec, far above what anyone writes: aliases can blow a small
// file up to any size, and deep nesting would exhaust the stack.
const (
	maxNodes = 1_000_000
	maxDepth = 100
)

// readYAML turns one YAML document into a tree: aliases and merge keys are
// replaced by what they stand for, keys are texts and appear once. With a flag,
// all that is read stands at that flag. No tree and no error: the document is
// empty. This file alone knows the YAML library.
func readYAML(data []byte, flag string) (*node, Errors) {
	doc, err := decodeYAML(data)
	if err != nil {
		return nil, Errors{syntaxError(data, err, flag)}
	}
	if doc == nil || len(doc.Content) == 0 {
		return nil, nil
	}
	c := converter{flag: flag}
	root := c.node(doc.Content[0], 0)
	if c.stopped {
		return nil, c.errs
	}
	return root, c.errs
}

// decodeYAML reads the only document of data; nil if there is none.
func decodeYAML(data []byte) (doc *yaml.Node, err error) {
	defer func() {
		// The library reports what it foresees as errors; what it does not
		// must not take the program down either.
		if p := recover(); p != nil {
			err = fmt.Errorf("this YAML cannot be read: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := dec.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return &first, nil
	case err != nil:
		return nil, err
	}
	return nil, &Error{Line: second.Line, Col: second.Column, Msg: "a second document begins here; a spec is one", Hint: "split it into two files"}
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	inFlow   = regexp.MustCompile(`[{\[,][^"'#]*?(\$\{)`)
	// An item or value that begins with one of the characters that mean
	// something to YAML and are likely to begin an expression.
	startsOdd = regexp.MustCompile(`(?:^\s*-|:|[\[,])\s+([!'>].*)$`)
)

// syntaxError turns an error of the library into one of ours: with its own
// line, or the line that explains it, and a hint.
func syntaxError(data []byte, err error, flag string) *Error {
	var own *Error
	if errors.As(err, &own) {
		own.Flag = flag
		return own
	}
	out := &Error{Line: 1, Msg: strings.TrimPrefix(err.Error(), "yaml: "), Flag: flag}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		out.Msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			out.Line = n
		}
		// The parser (not the scanner) counts lines from 0, and names the
		// line where the block began that it could not finish.
		if strings.HasPrefix(m[2], "did not find expected") && m[1] != "" && !strings.Contains(m[2], "comment") {
			out.Line++
		}
	}
	out.Msg = "not YAML: " + out.Msg
	lines := strings.Split(string(data), "\n")
	for i := max(0, out.Line-1); i < len(lines); i++ {
		line := lines[i]
		if m := inFlow.FindStringSubmatchIndex(line); m != nil {
			out.Line, out.Col = i+1, m[2]+1
			out.Hint = `inside {} and [] a ${...} must be quoted: "${NAME:-1}"`
			break
		}
		if m := startsOdd.FindStringSubmatchIndex(line); m != nil && !closedQuote(line[m[2]:m[3]]) {
			out.Line, out.Col = i+1, m[2]+1
			out.Hint = "quote an expression that begins with !, ' or >: \"...\""
			break
		}
		if strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			out.Line, out.Col = i+1, 0
			out.Hint = "indent with spaces, not tabs"
			break
		}
	}
	if flag != "" {
		out.Line, out.Col = 0, 0
	}
	return out
}

// closedQuote tells whether s is one single-quoted text and nothing after it,
// which YAML reads well.
func closedQuote(s string) bool {
	s = strings.TrimRight(s, " \r,]}")
	return len(s) > 1 && s[0] == '\'' && strings.Count(s, "'")%2 == 0 && s[len(s)-1] == '\''
}

// converter makes our nodes of the library's. What cannot be one becomes a
// null, and an error.
type converter struct {
	flag    string
	count   int
	open    []*yaml.Node // anchors being expanded
	errs    Errors
	stopped bool // a limit was passed: the rest is not read
}

func (c *converter) at(n *yaml.Node) pos {
	if c.flag != "" {
		return pos{flag: c.flag}
	}
	return pos{line: n.Line, col: n.Column}
}

func (c *converter) fail(n *yaml.Node, hint, format string, args ...any) *node {
	at := c.at(n)
	c.errs = append(c.errs, &Error{Line: at.line, Col: at.col, Flag: at.flag, Msg: fmt.Sprintf(format, args...), Hint: hint})
	return &node{pos: at}
}

func (c *converter) node(n *yaml.Node, depth int) *node {
	out := &node{pos: c.at(n)}
	if c.stopped {
		return out
	}
	if c.count++; c.count > maxNodes {
		c.stopped = true
		return c.fail(n, "", "the spec has more than %d values; are there aliases of aliases?", maxNodes)
	}
	if depth > maxDepth {
		c.stopped = true
		return c.fail(n, "", "nested more than %d deep", maxDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		if slices.Contains(c.open, n.Alias) {
			return c.fail(n, "", "the anchor %q holds itself", n.Value)
		}
		c.open = append(c.open, n.Alias)
		out = c.node(n.Alias, depth+1)
		c.open = c.open[:len(c.open)-1]
	case yaml.ScalarNode:
		out.text = n.Value
		switch tag := n.ShortTag(); {
		case n.Style&yaml.TaggedStyle == 0:
			out.quoted = n.Style != 0
		case tag == "!!str":
			out.quoted = true
		case strings.HasPrefix(tag, "!!"):
			return c.fail(n, "", "the tag %s is not part of the spec language", tag)
		default:
			return c.fail(n, "quote an expression that begins with !: \"...\"", "YAML takes %s for a tag", n.Tag)
		}
	case yaml.SequenceNode:
		out.kind = list
		for _, item := range n.Content {
			out.items = append(out.items, c.node(item, depth+1))
		}
	case yaml.MappingNode:
		c.mapping(out, n, depth)
	default:
		return c.fail(n, "", "this YAML cannot be read")
	}
	return out
}

// mapping fills out with the entries of n; the keys that n says itself win
// over merged ones.
func (c *converter) mapping(out *node, n *yaml.Node, depth int) {
	out.kind = mapping
	var merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			c.fail(n.Content[i], "", "a key must be a single word")
			continue
		}
		v := c.node(n.Content[i+1], depth+1)
		at := c.at(n.Content[i])
		switch was := out.index(k.Value); {
		case k.Tag == "!!merge":
			merged = c.merge(merged, v, k)
		case was >= 0:
			c.fail(n.Content[i], "", "the key %q is already on line %d", k.Value, out.entries[was].at.line)
		default:
			out.entries = append(out.entries, entry{key: k.Value, at: at, value: v})
		}
	}
	for _, e := range merged {
		if out.index(e.key) < 0 {
			out.entries = append(out.entries, e)
		}
	}
}

// merge adds what a << key names: a mapping or a list of them, earlier ones
// winning.
func (c *converter) merge(merged []entry, v *node, k *yaml.Node) []entry {
	sources := v.items
	if v.kind == mapping {
		sources = []*node{v}
	}
	if len(sources) == 0 || slices.ContainsFunc(sources, func(s *node) bool { return s.kind != mapping }) {
		c.fail(k, "", "<< merges a mapping or a list of mappings")
		return merged
	}
	for _, s := range sources {
		merged = append(merged, s.entries...)
	}
	return merged
}

// writeYAML is the inverse of reading with environment: texts that hold ${
// are escaped so that they mean themselves when read again.
func writeYAML(root *node) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(toYAML(root, nil)); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func toYAML(n *node, path []string) *yaml.Node {
	switch n.kind {
	case list:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		allScalars := true
		for _, item := range n.items {
			allScalars = allScalars && item.kind == scalar
			out.Content = append(out.Content, toYAML(item, path))
		}
		if allScalars {
			out.Style = yaml.FlowStyle
		}
		return out
	case mapping:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, e := range n.entries {
			k := &yaml.Node{Kind: yaml.ScalarNode, Value: e.key}
			if !plainKey.MatchString(e.key) {
				k.Style = yaml.DoubleQuotedStyle
			}
			out.Content = append(out.Content, k, toYAML(e.value, append(path[:len(path):len(path)], e.key)))
		}
		return out
	}
	out := &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	if !leftToShell(path) {
		out.Value = escapeEnv(n.text)
	}
	// A text of several lines is no number and no null: quoted it is the same,
	// and the library does not write every such text so that it can be read.
	if n.quoted || !oneLine.MatchString(n.text) {
		out.Style = yaml.DoubleQuotedStyle
	}
	return out
}

var oneLine = regexp.MustCompile(`^[ -~]*$`)

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
