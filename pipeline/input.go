// Package pipeline runs a graph of nodes, each at most once and only if its
// result is not there yet.
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
// the digests of what its needs made; a measurement's does not, because it
// needs only services, which make nothing.
package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"vbp/pipeline/cache"
)

// Input is the value that a node's work receives, as JSON.
type Input struct{ data json.RawMessage }

// NewInput takes v's JSON form. Fields that are not marshalled do not reach
// the work.
func NewInput(v any) (Input, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Input{}, fmt.Errorf("input of a node: %w", err)
	}
	return Input{data}, nil
}

// Decode fills v with the value.
func (in Input) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(in.data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("input of a node: %w", err)
	}
	return nil
}

// JSON is the value as it is hashed.
func (in Input) JSON() json.RawMessage { return in.data }

// Component is one named part of an Input.
type Component struct{ Name, Value string }

// keyed is everything behind a key.
type keyed struct {
	Stage string          `json:"stage"`
	Input json.RawMessage `json:"input"`
	Needs []need          `json:"needs,omitempty"`
}

type need struct {
	ID     string `json:"id"`
	Digest string `json:"digest"` // "" for a need that has no result and was tolerated
}

func (k keyed) key() (cache.Key, json.RawMessage, error) {
	data, err := json.Marshal(k)
	if err != nil {
		return "", nil, fmt.Errorf("key: %w", err)
	}
	sum := sha256.Sum256(data)
	return cache.Key(hex.EncodeToString(sum[:])), data, nil
}

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
		out = append(out, Component{needPrefix + n.ID, n.Digest})
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
