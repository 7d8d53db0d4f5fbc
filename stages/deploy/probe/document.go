package probe

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// document is a JSON object that somebody else wrote: anything may be missing
// or of another kind.
type document map[string]any

// parse reads a JSON object; nil if body is none. Numbers keep the digits that
// they were written with.
func parse(body []byte) document {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var doc document
	if d.Decode(&doc) != nil {
		return nil
	}
	return doc
}

// at is what stands at a path of names, and whether anything does.
func (d document) at(path ...string) (any, bool) {
	var here any = map[string]any(d)
	for _, name := range path {
		object, ok := here.(map[string]any)
		if !ok {
			return nil, false
		}
		if here, ok = object[name]; !ok {
			return nil, false
		}
	}
	return here, true
}

// null reports whether an explicit null stands at a path.
func (d document) null(path ...string) bool {
	v, ok := d.at(path...)
	return ok && v == nil
}

// text is the text, number or truth value at a path, in words. What has parts
// has none.
func (d document) text(path ...string) (string, bool) {
	v, _ := d.at(path...)
	switch v := v.(type) {
	case string:
		return oneLine(v), true
	case json.Number:
		return oneLine(v.String()), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// oneLine is a text that may stand in a record: one line, without control
// characters, not longer than a path can reasonably be.
func oneLine(s string) string {
	const most = 512
	s = strings.ToValidUTF8(s[:min(len(s), 4*most)], "?")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}
