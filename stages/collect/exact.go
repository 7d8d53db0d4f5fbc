package collect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vbp/stages/sample"
)

// Judged is a point with the verdict on it, as exports carry it. Which rules
// made the verdict, Run tells.
type Judged struct {
	Table  *sample.Table
	Valid  bool
	Reason string // why it is not valid
}

// Run is what an export tells of the run that its points belong to: what a
// reader needs to judge and score them as the run did. Absent: "", nil.
type Run struct {
	Name      string    `json:"name,omitempty"`
	Rules     []string  `json:"rules,omitempty"`   // of validity, over a point's facts
	TTFT      *float64  `json:"ttft_ms,omitempty"` // objectives, in ms
	TPOT      *float64  `json:"tpot_ms,omitempty"`
	Target    *float64  `json:"target,omitempty"` // share
	Scales    []float64 `json:"slo_scales,omitempty"`
	ScaleRate *float64  `json:"scale_rate,omitempty"` // requests per second
}

// memberPrefix begins the keys of a footer; in a JSON object of vbp's own they
// go without it.
const memberPrefix = "vbp."

// Members of vbp's own object beside those of a footer.
const (
	memberValid    = "valid"
	memberReason   = "reason"
	memberRun      = "run"
	memberRequests = "requests"
	memberLists    = "lists_crc32c"
)

// members is a JSON object whose members keep their order, one a line. The
// first error is kept.
type members struct {
	keys   map[string]bool
	buf    bytes.Buffer
	indent string
	err    error
}

// set adds a member unless there is one of that name.
func (m *members) set(key string, v any) {
	if m.keys[key] || m.err != nil {
		return
	}
	if m.keys == nil {
		m.keys = make(map[string]bool)
	} else {
		m.buf.WriteByte(',')
	}
	m.keys[key] = true
	name, value := marshal(key), marshal(v)
	if err := errors.Join(name.err, value.err); err != nil {
		m.err = fmt.Errorf("%s: %w", key, err)
	}
	fmt.Fprintf(&m.buf, "\n%s%s: %s", m.indent, name.text, value.text)
}

// object is the whole, without a line's end.
func (m *members) object() (json.RawMessage, error) {
	if m.err != nil {
		return nil, m.err
	}
	return slices.Concat([]byte("{"), m.buf.Bytes(), []byte("\n"+strings.TrimSuffix(m.indent, " ")+"}")), nil
}

type marshalled struct {
	text []byte
	err  error
}

// marshal is v as JSON, with <, > and & as they are.
func marshal(v any) marshalled {
	if raw, ok := v.(json.RawMessage); ok {
		return marshalled{raw, nil}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return marshalled{bytes.TrimSuffix(b.Bytes(), []byte("\n")), err}
}

// exactMeta adds p's metadata and verdict to m: a footer's keys without their
// prefix, JSON in them as JSON. It returns the footer.
func exactMeta(m *members, p Judged) (keys, values []string) {
	keys, values, err := footer(p.Table.Meta)
	if err != nil && m.err == nil {
		m.err = err
	}
	for i, k := range keys {
		name := strings.TrimPrefix(k, memberPrefix)
		switch k {
		case keyAxes, keyConfig, keyFacts, keyExtra:
			m.set(name, json.RawMessage(values[i]))
		case keyRate, keyRepeat, keySeed, keyStart, keyLength, keyGPUs:
			if json.Valid([]byte(values[i])) { // not so infinities
				m.set(name, json.RawMessage(values[i]))
				continue
			}
			m.set(name, values[i])
		default:
			m.set(name, values[i])
		}
	}
	m.set(memberValid, p.Valid)
	if p.Reason != "" {
		m.set(memberReason, valid(p.Reason))
	}
	m.set(strings.TrimPrefix(keyChecksum, memberPrefix), checksum(p.Table, keys, values))
	return keys, values
}

// readExactMeta reads what exactMeta wrote, and the checksum of the table.
func readExactMeta(object map[string]json.RawMessage) (p Judged, sum string, err error) {
	member := func(key string) (string, bool) {
		raw, ok := object[strings.TrimPrefix(key, memberPrefix)]
		if !ok {
			return "", false
		}
		var text string
		if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
			return text, true
		}
		return string(raw), true
	}
	p.Table = &sample.Table{}
	if p.Table.Meta, err = meta(member); err != nil {
		return p, "", err
	}
	if raw, ok := object[memberValid]; !ok || json.Unmarshal(raw, &p.Valid) != nil {
		return p, "", errors.New("it does not say whether the point is valid")
	}
	p.Reason, _ = member(memberReason)
	sum, _ = member(keyChecksum)
	return p, sum, nil
}

// exactRows is a table's stored columns as a JSON object of lists: what is
// absent is null, gaps that are absent too, no gaps are an empty list.
func exactRows(t *sample.Table, indent string) (json.RawMessage, error) {
	m := members{indent: indent}
	for i := range columns {
		if c := &columns[i]; c.derived == nil {
			m.set(c.name, c.list(t))
		}
	}
	return m.object()
}

// list is a column as a list that JSON can hold.
func (c *column) list(t *sample.Table) any {
	switch {
	case c.text != nil:
		return optional(*c.text(t), func(v string) (string, bool) { return valid(v), v != "" })
	case c.whole != nil:
		return optional(*c.whole(t), func(v int64) (int64, bool) { return v, v != sample.Absent })
	case c.flag != nil:
		return optional(*c.flag(t), func(v int64) (bool, bool) { return v != 0, v != sample.Absent })
	case c.real != nil:
		return optional(*c.real(t), func(v float64) (fact, bool) { return fact(v), v == v })
	}
	return *c.gaps(t)
}

func optional[T, U any](values []T, get func(T) (U, bool)) []*U {
	out := make([]*U, len(values))
	for i, v := range values {
		if u, ok := get(v); ok {
			out[i] = &u
		}
	}
	return out
}

// readExactRows reads what exactRows wrote into t and holds it against the
// checksum.
func readExactRows(raw json.RawMessage, t *sample.Table, sum string) error {
	var lists map[string]json.RawMessage
	if err := json.Unmarshal(raw, &lists); err != nil {
		return fmt.Errorf("its requests: %w", err)
	}
	for i := range columns {
		c := &columns[i]
		if c.derived != nil {
			continue
		}
		list, ok := lists[c.name]
		if !ok {
			return fmt.Errorf("its requests have no %s", c.name)
		}
		if err := c.read(list, t); err != nil {
			return fmt.Errorf("its requests' %s: %w", c.name, err)
		}
	}
	return whole(t, sum)
}

// whole tells whether t is a table and has the checksum that it was written
// with.
func whole(t *sample.Table, sum string) error {
	if err := t.Check(); err != nil {
		return err
	}
	keys, values, err := footer(t.Meta)
	if err != nil {
		return err
	}
	if checksum(t, keys, values) != sum {
		return errSum
	}
	return nil
}

// read is the reverse of list.
func (c *column) read(raw json.RawMessage, t *sample.Table) error {
	switch {
	case c.text != nil:
		return required(raw, c.text(t), "", func(v string) string { return v })
	case c.whole != nil:
		return required(raw, c.whole(t), sample.Absent, func(v int64) int64 { return v })
	case c.flag != nil:
		return required(raw, c.flag(t), sample.Absent, func(v bool) int64 {
			if v {
				return 1
			}
			return 0
		})
	case c.real != nil:
		return required(raw, c.real(t), nan, func(v fact) float64 { return float64(v) })
	}
	return json.Unmarshal(raw, c.gaps(t))
}

func required[T, U any](raw json.RawMessage, to *[]T, absent T, get func(U) T) error {
	var list []*U
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*to = make([]T, len(list))
	for i, v := range list {
		if (*to)[i] = absent; v != nil {
			(*to)[i] = get(*v)
		}
	}
	return nil
}
