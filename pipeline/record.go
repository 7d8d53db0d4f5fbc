package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"vbp/pipeline/cache"
)

// Record is what was observed of a node's work: kept beside the artefact,
// judged by Node.Judge, never part of a key.
type Record struct {
	Facts       map[string]float64 `json:"facts,omitempty"`
	Environment map[string]string  `json:"environment,omitempty"`
	Notes       []string           `json:"notes,omitempty"`
}

// RecordOf returns what was kept beside an artefact.
func RecordOf(a *cache.Artefact) (Record, error) {
	var r Record
	note, err := a.ReadNote()
	if err != nil || len(note) == 0 {
		return r, err
	}
	if err := json.Unmarshal(note, &r); err != nil {
		return r, fmt.Errorf("record of %s: %w", a.Slot, err)
	}
	return r, nil
}

// recordReader reads the records of many artefacts one after the other, in
// memory of its own: a plan looks at 100,000, which have the same facts, and
// environments by the thousand alike.
type recordReader struct {
	facts map[string]float64
	names map[string]string // of facts, so that none is made twice

	environment []byte // the JSON of told
	told        map[string]string
}

// of is RecordOf, but for what it returns being valid only until the next
// call.
func (r *recordReader) of(a *cache.Artefact) (Record, error) {
	rest, ok := r.readFacts(a.Note)
	if !ok {
		return RecordOf(a)
	}
	rec := Record{Facts: r.facts}
	if after, some := bytes.CutPrefix(rest, []byte(`,"environment":`)); some {
		end := objectEnd(after)
		if end < 0 || !r.readEnvironment(after[:end]) {
			return RecordOf(a)
		}
		rec.Environment, rest = r.told, after[end:]
	}
	if after, some := bytes.CutPrefix(rest, []byte(`,"notes":`)); some && len(after) > 0 {
		if json.Unmarshal(after[:len(after)-1], &rec.Notes) != nil {
			return RecordOf(a)
		}
		rest = after[len(after)-1:]
	}
	if string(rest) != "}" {
		return RecordOf(a)
	}
	return rec, nil
}

// readFacts reads the facts that a record begins with, in the form that
// package json writes them in, and returns what follows. Whatever looks
// otherwise is package json's to read.
func (r *recordReader) readFacts(note []byte) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(note, []byte(`{"facts":{`))
	if !ok {
		return nil, false
	}
	if r.facts == nil {
		r.facts, r.names = make(map[string]float64), make(map[string]string)
	}
	clear(r.facts)
	for {
		if rest, ok = bytes.CutPrefix(rest, []byte(`"`)); !ok {
			return nil, false
		}
		end := bytes.IndexByte(rest, '"')
		if end < 0 || slices.ContainsFunc(rest[:end], func(c byte) bool { return c < ' ' || c > '~' || c == '\\' }) {
			return nil, false
		}
		name, known := r.names[string(rest[:end])]
		if !known {
			name = string(rest[:end])
			r.names[name] = name
		}
		if rest, ok = bytes.CutPrefix(rest[end+1:], []byte(":")); !ok {
			return nil, false
		}
		end = numberEnd(rest)
		if end < 1 || end == len(rest) || rest[end] != ',' && rest[end] != '}' {
			return nil, false
		}
		value, err := strconv.ParseFloat(string(rest[:end]), 64)
		if err != nil {
			return nil, false
		}
		r.facts[name] = value
		more := rest[end] == ','
		if rest = rest[end+1:]; !more {
			return rest, true
		}
	}
}

// numberEnd is where the JSON number that data begins with ends; 0 if there is
// none.
func numberEnd(data []byte) int {
	digits := func(i int) int {
		for i < len(data) && data[i] >= '0' && data[i] <= '9' {
			i++
		}
		return i
	}
	whole := 0
	if whole < len(data) && data[whole] == '-' {
		whole++
	}
	i := digits(whole)
	if i == whole || data[whole] == '0' && i > whole+1 {
		return 0
	}
	if i < len(data) && data[i] == '.' {
		end := digits(i + 1)
		if end == i+1 {
			return 0
		}
		i = end
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		exponent := i + 1
		if exponent < len(data) && (data[exponent] == '-' || data[exponent] == '+') {
			exponent++
		}
		end := digits(exponent)
		if end == exponent {
			return 0
		}
		i = end
	}
	return i
}

func (r *recordReader) readEnvironment(data []byte) bool {
	if r.told != nil && bytes.Equal(data, r.environment) {
		return true
	}
	r.environment, r.told = data, nil
	return json.Unmarshal(data, &r.told) == nil && r.told != nil
}

// objectEnd is where the JSON object of texts that data begins with ends; -1 if
// it does not, or holds something else.
func objectEnd(data []byte) int {
	inText := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && c == '}':
			return i + 1
		case !inText && (c == '{' && i > 0 || c == '['):
			return -1
		}
	}
	return -1
}
