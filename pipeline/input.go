// Package pipeline runs a graph of nodes, each only if its result is not there
// yet, and at most once: but for measurements that are tried again, and services
// that are started again.
//
// Steps: a Graph of Nodes is built by package stages; Plan decides for every
// node whether it runs or is reused, and why; Execute does what the plan said.
// The neighbours below are cache (key to artefact) and history (the journal).
// Nothing here knows YAML, HTTP or what a node measures.
//
// # Identity
//
// A node's key is a hash of the exact value that its work receives. There is
// no second function that lists what matters: Work gets an Input and nothing
// else that could change its result, the Input is JSON, and the JSON is what
// is hashed. What differs from run to run (folders, addresses, the clock) is
// in Runtime and must not influence the result. A pure node's key also holds
// the digests of what its needs made, and how many attempts stand behind a
// measurement among them, for its work is told both; a measurement's does not,
// because it needs only services, which make nothing.
package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"sort"
	"strings"

	"vbp/pipeline/cache"
)

// Input is the value that a node's work receives, as JSON. What many nodes
// have in common is in memory once.
type Input struct {
	shared json.RawMessage // an object without its last brace; nil: none
	own    json.RawMessage // the rest
}

// NewInput takes v's JSON form. Fields that are not marshalled do not reach
// the work.
func NewInput(v any) (Input, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Input{}, fmt.Errorf("input of a node: %w", err)
	}
	return Input{own: data}, nil
}

// InputWith is one object of two that have no name in common: shared's fields
// and then own's. Decode fills a struct that embeds both. Of shared nothing is
// copied.
func InputWith(shared Input, own any) (Input, error) {
	in, err := NewInput(own)
	if err != nil {
		return in, err
	}
	if shared.shared != nil || !isObject(shared.own) || !isObject(in.own) {
		return in, fmt.Errorf("input of a node: two values can be joined only if both are objects with fields, and once")
	}
	in.own[0] = ','
	last := len(shared.own) - 1
	return Input{shared: shared.own[:last:last], own: in.own}, nil
}

// isObject reports whether data, which json made, is an object with fields.
func isObject(data json.RawMessage) bool { return len(data) > 2 && data[0] == '{' }

// Decode fills v with the value.
func (in Input) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(in.JSON()))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("input of a node: %w", err)
	}
	return nil
}

// JSON is the value as it is hashed.
func (in Input) JSON() json.RawMessage {
	if in.shared == nil {
		return in.own
	}
	return append(append(make(json.RawMessage, 0, len(in.shared)+len(in.own)), in.shared...), in.own...)
}

// Component is one named part of an Input.
type Component struct{ Name, Value string }

// keyed is everything behind a key.
type keyed struct {
	Stage string          `json:"stage"`
	Input json.RawMessage `json:"input"`
	Needs []need          `json:"needs,omitempty"`
}

type need struct {
	ID       string    `json:"id"`
	Digest   string    `json:"digest"` // "" for a need that has no result and was tolerated
	Attempts *Attempts `json:"attempts,omitempty"`
}

// behind gives each part of the JSON that n's key is the hash of, in the form of
// keyed.
func behind(n *Node, needs []need, each func(part []byte)) error {
	stage, err := json.Marshal(n.Stage)
	if err != nil {
		return fmt.Errorf("%s: %w", n.ID, err)
	}
	each([]byte(`{"stage":`))
	each(stage)
	each([]byte(`,"input":`))
	each(n.Input.shared)
	each(n.Input.own)
	for i := range needs {
		one, err := json.Marshal(&needs[i])
		if err != nil {
			return fmt.Errorf("%s: %w", n.ID, err)
		}
		if i == 0 {
			each([]byte(`,"needs":[`))
		} else {
			each([]byte(","))
		}
		each(one)
	}
	if len(needs) > 0 {
		each([]byte("]"))
	}
	each([]byte("}"))
	return nil
}

// valueOf is the JSON that n's key is the hash of.
func valueOf(n *Node, needs []need) (json.RawMessage, error) {
	var data json.RawMessage
	err := behind(n, needs, func(part []byte) { data = append(data, part...) })
	return data, err
}

// keyer works out keys, one after the other, in memory of its own.
type keyer struct {
	hash hash.Hash
	sum  []byte
}

// key hashes what valueOf returns, without making it: that of a node that
// needs 100,000 others is long.
func (k *keyer) key(n *Node, needs []need) (cache.Key, error) {
	if k.hash == nil {
		k.hash = sha256.New()
	}
	k.hash.Reset()
	if err := behind(n, needs, func(part []byte) { k.hash.Write(part) }); err != nil {
		return "", err
	}
	k.sum = k.hash.Sum(k.sum[:0])
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], k.sum)
	return cache.Key(text[:]), nil
}

func keyOf(n *Node, needs []need) (cache.Key, error) { return new(keyer).key(n, needs) }

// components flattens the JSON behind a key into dotted names, lists of
// scalars staying whole.
func components(data json.RawMessage) []Component {
	var k keyed
	if json.Unmarshal(data, &k) != nil {
		return nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(k.Input))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	out := []Component{{"its stage", k.Stage}}
	flatten("", v, &out)
	for _, n := range k.Needs {
		value := n.Digest
		if n.Attempts != nil {
			value += fmt.Sprintf(" after %d attempts, %d of them rejected", n.Attempts.Total, n.Attempts.Rejected)
		}
		out = append(out, Component{needPrefix + n.ID, value})
	}
	return out
}

const needPrefix = "need:"

func flatten(name string, v any, out *[]Component) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && name != "" {
			*out = append(*out, Component{name, "{}"})
		}
		for _, k := range sortedKeys(v) {
			flatten(join(name, k), v[k], out)
		}
	case []any:
		// A list of {"name": ..., "value": ...} reads as a mapping, unless a
		// name comes twice.
		names := make(map[string]bool)
		for _, e := range v {
			m, _ := e.(map[string]any)
			if name, ok := m["name"].(string); ok {
				names[name] = true
			}
		}
		if len(v) == 0 || len(names) < len(v) {
			*out = append(*out, Component{name, scalar(v)})
			return
		}
		for _, e := range v {
			m := e.(map[string]any)
			base := join(name, m["name"].(string))
			if value, ok := m["value"]; ok && len(m) == 2 {
				flatten(base, value, out)
				continue
			}
			for _, k := range sortedKeys(m) {
				if k != "name" {
					flatten(join(base, k), m[k], out)
				}
			}
		}
	default:
		*out = append(*out, Component{name, scalar(v)})
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func scalar(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // for people
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// difference says in words how two values behind keys differ: the reason for
// doing something again.
func difference(old, now json.RawMessage) string {
	before := make(map[string]string)
	for _, c := range components(old) {
		before[c.Name] = c.Value
	}
	var diffs []string
	for _, c := range components(now) {
		was, ok := before[c.Name]
		delete(before, c.Name)
		id, isNeed := strings.CutPrefix(c.Name, needPrefix)
		switch {
		case ok && was == c.Value:
		case !ok && c.Value == "{}": // says nothing
		case isNeed && !ok:
			diffs = append(diffs, "new: "+id)
		case isNeed:
			diffs = append(diffs, id+" changed")
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%s: none -> %s", c.Name, shorten(c.Value)))
		default:
			was, is := shortenPair(was, c.Value)
			diffs = append(diffs, fmt.Sprintf("%s: %s -> %s", c.Name, was, is))
		}
	}
	// A list of what the node reads differs with what it reads, which has been
	// said.
	if slices.ContainsFunc(diffs, func(d string) bool { return strings.HasPrefix(d, "new: ") }) ||
		slices.ContainsFunc(sortedNames(before), func(name string) bool { return strings.HasPrefix(name, needPrefix) }) {
		diffs = slices.DeleteFunc(diffs, func(d string) bool { return strings.Contains(d, "{\"") })
	}
	for _, name := range sortedNames(before) {
		if id, isNeed := strings.CutPrefix(name, needPrefix); isNeed {
			diffs = append(diffs, "no longer: "+id)
		} else {
			diffs = append(diffs, fmt.Sprintf("%s: %s -> none", name, shorten(before[name])))
		}
	}
	if len(diffs) == 0 && !bytes.Equal(old, now) {
		return "its inputs changed" // in a way that no name shows: a number became a text
	}
	const most = 4 // more than a line holds
	if len(diffs) > most {
		diffs = append(diffs[:most], fmt.Sprintf("and %d more", len(diffs)-most))
	}
	return strings.Join(diffs, "; ")
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// longest is how many letters of a value are shown.
const longest = 40

func shorten(s string) string {
	letters := []rune(s)
	if len(letters) <= longest {
		return s
	}
	return string(letters[:longest-3]) + "..."
}

// shortenPair shortens two values that differ so that what is left of them
// differs too.
func shortenPair(a, b string) (shortA, shortB string) {
	ra, rb := []rune(a), []rune(b)
	if len(ra) <= longest && len(rb) <= longest {
		return a, b
	}
	same := 0
	for same < len(ra) && same < len(rb) && ra[same] == rb[same] {
		same++
	}
	const before = 10 // letters of what is equal, to recognise the place
	if same <= longest/2 {
		return shorten(a), shorten(b)
	}
	from := same - before
	return "..." + shorten(string(ra[from:])), "..." + shorten(string(rb[from:]))
}
