package pipeline

import (
	"encoding/json"
	"fmt"
	"strings"

	"vbp/pipeline/cache"
)

// What lies behind a stored result, for whoever asks why it is what it is.

// Need is what the key behind a stored result holds of one that it was made
// from.
type Need struct {
	ID       string    // of the node
	Digest   string    // of what it had made; "" if it had no result and was tolerated
	Attempts *Attempts // of a measurement, if more stands behind it than one attempt that was good
}

// ComponentsOf names the parts of the value that m's key is a hash of, but for
// its needs. It is empty if that value cannot be read.
func ComponentsOf(m *cache.Manifest) []Component {
	var out []Component
	for _, c := range components(m.Input) {
		if !strings.HasPrefix(c.Name, needPrefix) {
			out = append(out, c)
		}
	}
	return out
}

// NeedsOf lists what m's key holds of the results that it was made from.
func NeedsOf(m *cache.Manifest) ([]Need, error) {
	var k keyed
	if err := json.Unmarshal(m.Input, &k); err != nil {
		return nil, fmt.Errorf("%s: what it was made from cannot be read: %w", m.Slot, err)
	}
	out := make([]Need, len(k.Needs))
	for i, n := range k.Needs {
		out[i] = Need(n)
	}
	return out, nil
}

// Components names the parts of an input.
func (in Input) Components() []Component {
	data, err := json.Marshal(keyed{Input: in.JSON()})
	if err != nil {
		return nil
	}
	return components(data)[1:] // without the stage
}

// EnvironmentDiff names what differs between two environments, both wholly
// known; "" if nothing does.
func EnvironmentDiff(was, is map[string]string) string { return environmentDiff(was, is, true) }
