package specs

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// reader walks the tree of a spec and gathers what is wrong with it.
type reader struct {
	file      string
	dir       string   // paths of the spec are relative to it
	lines     []string // of the file, to place errors inside expressions
	lookup    func(string) (string, bool)
	prefix    string // set before every message: which axis value is being tried
	errs      Errors
	wrong     map[pos]bool // where they are
	warned    []string
	skipFiles bool              // files that the spec names need not exist
	files     map[string]string // paths looked at before: what was wrong with them
	days      []*node           // durations that count days
	body      map[string]any    // of a workload that says none; shared by all points
}

// errorf records an error. Only the first at a place is kept: what follows
// from a wrong value is noise.
func (r *reader) errorf(at pos, hint, format string, args ...any) {
	e := &Error{File: r.file, Line: at.line, Col: at.col, Flag: at.flag, Hint: hint}
	if at.flag != "" {
		e.Line, e.Col = 0, 0
	}
	if at.flag == "" && r.wrong[at] {
		return
	}
	e.Msg = r.prefix + fmt.Sprintf(format, args...)
	r.add(e)
}

// missing records that something is not there. Several such may stand at one
// place: that of the thing that lacks them.
func (r *reader) missing(at pos, hint, msg string) {
	r.add(&Error{File: r.file, Line: at.line, Col: at.col, Flag: at.flag, Msg: msg, Hint: hint})
}

// found adds errors that were made without knowing the file.
func (r *reader) found(errs Errors) {
	for _, e := range errs {
		e.File = r.file
		r.add(e)
	}
}

func (r *reader) add(e *Error) {
	if r.wrong == nil {
		r.wrong = map[pos]bool{}
	}
	r.wrong[pos{line: e.Line, col: e.Col, flag: e.Flag}] = true
	r.errs = append(r.errs, e)
}

func (r *reader) warnf(format string, args ...any) {
	r.warned = append(r.warned, fmt.Sprintf(format, args...))
}

// mapping returns the entries of n that are known and say something.
// Everything else is an error, or nothing.
func (r *reader) mapping(n *node, where string, known []string) []entry {
	if n.isNull() {
		return nil
	}
	if n.kind != mapping {
		r.errorf(n.pos, "", "%s must be a mapping of %s, not %v", where, strings.Join(known, ", "), n.kind)
		return nil
	}
	drop := func(e entry) bool { return e.value.isNull() || !slices.Contains(known, e.key) }
	if !slices.ContainsFunc(n.entries, drop) {
		return n.entries
	}
	var out []entry
	for _, e := range n.entries {
		if !slices.Contains(known, e.key) {
			r.unknown(e, where, known)
		} else if !e.value.isNull() {
			out = append(out, e)
		}
	}
	return out
}

func (r *reader) unknown(e entry, where string, known []string) {
	in := ""
	if where != "" {
		in = " in " + where
	}
	r.errorf(e.at, didYouMean(e.key, known), "unknown key %q%s", e.key, in)
}

// single returns the characters of a single value.
func (r *reader) single(n *node, where, want string) (string, bool) {
	if n.kind != scalar {
		r.errorf(n.pos, "", "%s must be %s, not %v", where, want, n.kind)
		return "", false
	}
	if n.isNull() {
		r.errorf(n.pos, "", "%s must be %s, and there is none", where, want)
		return "", false
	}
	return n.text, true
}

// text reads any single value as a text.
func (r *reader) text(n *node, where string) string {
	s, _ := r.single(n, where, "a text")
	return s
}

// word reads a text that may not be empty.
func (r *reader) word(n *node, where string) string {
	s, ok := r.single(n, where, "a text")
	if ok && strings.TrimSpace(s) == "" {
		r.errorf(n.pos, "", "%s is empty", where)
	}
	return s
}

// choice reads one of a few words.
func (r *reader) choice(n *node, where string, choices ...string) string {
	s, ok := r.single(n, where, "one of "+strings.Join(choices, ", "))
	if ok && !slices.Contains(choices, s) {
		r.errorf(n.pos, didYouMean(s, choices), "%s: there is no %q", where, s)
	}
	return s
}

var decimal = regexp.MustCompile(`^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$`)

// parseNumber reads a finite decimal number; what is wrong otherwise.
func parseNumber(s string) (float64, string) {
	if s == "" {
		return 0, "is empty"
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-.")) {
	case "nan":
		return 0, "is not a number (NaN)"
	case "inf", "infinity":
		return 0, "must be finite"
	}
	if !decimal.MatchString(s) {
		return 0, fmt.Sprintf("must be a number, not %q", s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Sprintf("is out of range: %s", s)
	}
	return v, ""
}

func (r *reader) number(n *node, where string) float64 {
	s, ok := r.single(n, where, "a number")
	if !ok {
		return 0
	}
	v, wrong := parseNumber(s)
	if wrong != "" {
		r.errorf(n.pos, "", "%s %s", where, wrong)
	}
	return v
}

// positive reads a number above 0.
func (r *reader) positive(n *node, where string) float64 {
	before := len(r.errs)
	v := r.number(n, where)
	if v <= 0 && len(r.errs) == before {
		r.errorf(n.pos, "", "%s must be more than 0, not %s", where, n.text)
	}
	return v
}

// whole reads an integer of 64 bits.
func (r *reader) whole(n *node, where string) int64 {
	s, ok := r.single(n, where, "a whole number")
	if !ok {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		wrong := fmt.Sprintf("must be a whole number, not %q", s)
		if s == "" {
			wrong = "is empty"
		}
		r.errorf(n.pos, "", "%s %s", where, wrong)
		return 0
	}
	return v
}

// maxCount bounds every count, so that no product of two overflows.
const maxCount = 1_000_000_000

// count reads a whole number from least up.
func (r *reader) count(n *node, where string, least int64) int {
	before := len(r.errs)
	v := r.whole(n, where)
	switch {
	case len(r.errs) > before:
	case v < least:
		r.errorf(n.pos, "", "%s must be at least %d, not %d", where, least, v)
	case v > maxCount:
		r.errorf(n.pos, "", "%s is too large: %d", where, v)
		v = least
	}
	return int(v)
}

func (r *reader) boolean(n *node, where string) bool {
	s, ok := r.single(n, where, "true or false")
	switch strings.ToLower(s) {
	case "true":
		return true
	case "false":
		return false
	}
	if ok {
		r.errorf(n.pos, "", "%s must be true or false, not %q", where, s)
	}
	return false
}

// share reads 90% or 0.9: more than 0, at most 1.
func (r *reader) share(n *node, where string) float64 {
	before := len(r.errs)
	v := r.shareFrom0(n, where)
	if v == 0 && len(r.errs) == before {
		r.errorf(n.pos, "", "%s must be more than 0, not %s", where, n.text)
	}
	return v
}

// shareFrom0 reads a share that may be none: from 0 to 1.
func (r *reader) shareFrom0(n *node, where string) float64 {
	s, ok := r.single(n, where, "a share such as 90%")
	if !ok {
		return 0
	}
	digits, percent := strings.CutSuffix(s, "%")
	v, wrong := parseNumber(strings.TrimSpace(digits))
	if percent && wrong == "" {
		// Shifting the decimal point in the text keeps 99.9% exactly 0.999.
		if shifted, err := strconv.ParseFloat(strings.TrimSpace(digits)+"e-2", 64); err == nil {
			v = shifted
		} else {
			v /= 100
		}
	}
	switch {
	case wrong != "":
		r.errorf(n.pos, "a share is 90% or 0.9", "%s %s", where, wrong)
	case v > 1:
		hint := ""
		if !percent && v <= 100 {
			hint = fmt.Sprintf("did you mean %s%%?", s)
		}
		r.errorf(n.pos, hint, "%s is over 100 %%: %s", where, s)
	case v < 0:
		r.errorf(n.pos, "", "%s must not be negative: %s", where, s)
	}
	return v
}

// list returns the items of a list; a single value is a list of one.
func (r *reader) list(n *node, where string) []*node {
	switch n.kind {
	case list:
		return n.items
	case mapping:
		r.errorf(n.pos, "", "%s must be a list, not a mapping", where)
		return nil
	}
	return []*node{n}
}

// words reads a list of texts, none empty, none twice, of choices if given.
func (r *reader) words(n *node, where string, choices ...string) []string {
	items := r.list(n, where)
	out := make([]string, 0, len(items))
	for _, item := range items {
		var s string
		if choices != nil {
			s = r.choice(item, where, choices...)
		} else {
			s = r.word(item, where)
		}
		if slices.Contains(out, s) {
			r.errorf(item.pos, "", "%s: %q is there twice", where, s)
		}
		out = append(out, s)
	}
	return out
}

// texts reads a mapping of names to texts, whose names valid accepts.
func (r *reader) texts(n *node, where, noun string, valid *regexp.Regexp) map[string]string {
	if n.kind != mapping {
		r.errorf(n.pos, "", "%s must be a mapping, not %v", where, n.kind)
		return nil
	}
	out := make(map[string]string, len(n.entries))
	for _, e := range n.entries {
		if !valid.MatchString(e.key) {
			r.errorf(e.at, "", "%s: %q is not the name of %s", where, e.key, noun)
		}
		switch {
		case e.value.kind != scalar:
			r.errorf(e.value.pos, "", "%s.%s must be a text, not %v", where, e.key, e.value.kind)
		case e.value.isNull():
			r.errorf(e.at, `write "" for an empty text`, "%s.%s has no value", where, e.key)
		case strings.ContainsAny(e.value.text, "\x00\r\n") && noun == headerNoun:
			r.errorf(e.value.pos, "", "%s.%s must be one line", where, e.key)
		}
		out[e.key] = e.value.text
	}
	return out
}

var (
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	expectName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z0-9-]+)?$`) // of an instance: kv_role.prefill-0
)

const (
	envNoun    = "an environment variable"
	headerNoun = "an HTTP header"
	expectNoun = "a fact that servers tell (kv_connector, engine_version, max_model_len, ...)"
)

var yamlInt = regexp.MustCompile(`^[-+]?(0|[1-9]\d*)$`)

// value reads what has no type of its own: nil, bool, int64, float64, string,
// []any or map[string]any. Only what looks the same in every reading of YAML
// is a number; 012, 1_000 and 2024-01-01 stay the texts they are.
func (r *reader) value(n *node, where string) any {
	switch n.kind {
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = r.value(item, where)
		}
		return out
	case mapping:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			out[e.key] = r.value(e.value, where+"."+e.key)
		}
		return out
	}
	if n.quoted {
		return n.text
	}
	if n.isNull() {
		return nil
	}
	switch n.text {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	case ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "-.inf":
		r.errorf(n.pos, "", "%s is %s, which no request and no command line can say", where, n.text)
		return nil
	}
	if yamlInt.MatchString(n.text) {
		if v, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return v
		}
		return n.text
	}
	if decimal.MatchString(n.text) && !leadingZero(n.text) {
		if v, wrong := parseNumber(n.text); wrong == "" {
			return v
		}
	}
	return n.text
}

// leadingZero tells whether a number is written like 012 or 007.5.
func leadingZero(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9'
}
