package stages

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/runs"
)

// choose finds the nodes that words name. An error says what can be named.
func (r *ran) choose(words []string) ([]*outcome, error) {
	some := func(is func(o *outcome) bool) (out []*outcome) {
		for _, o := range r.outcomes {
			if is(o) {
				out = append(out, o)
			}
		}
		return out
	}
	if len(words) == 0 {
		return some((*outcome).isLoad), nil
	}
	text := strings.Join(words, " ")
	if found := some(func(o *outcome) bool { return o.node == text }); found != nil {
		return found, nil
	}
	// Axes, as they are or behind the stage's name, which plan prints too.
	fields := strings.Fields(strings.TrimPrefix(text, loadPrefix))
	areAxes := func(words []string) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(w, "=") })
	}
	for _, w := range [][]string{words, fields} { // a value may have spaces
		if !areAxes(w) {
			continue
		}
		match, err := PointMatcher(w)
		if err != nil {
			return nil, err
		}
		if found := some(func(o *outcome) bool { return match(o.node) }); found != nil {
			return found, nil
		}
	}
	if found := some(func(o *outcome) bool { return strings.HasPrefix(o.node, text+" ") }); found != nil {
		return found, nil
	}
	if found := some(func(o *outcome) bool { return r.madeFile(o, text) }); found != nil {
		return found, nil
	}
	switch {
	case leavesNothing(text + " "):
		return nil, fmt.Errorf("%s leaves no result: vbp show tells of servers, and vbp why of the servers of each point", text)
	case areAxes(fields):
		return nil, fmt.Errorf("no point of %s is at %s; its axes are %s", r.dir, strings.Join(fields, " "), r.axes())
	}
	return nil, fmt.Errorf("%s has no result called %q and no file of one: name a point by its axes (%s), a result (%s), or a figure's file",
		r.dir, text, r.axes(), strings.Join(r.pure(), ", "))
}

// madeFile reports whether a node made the file at path, or a figure called so.
func (r *ran) madeFile(o *outcome, path string) bool {
	same := func(file string) bool {
		return file != "" && (runs.Absolute(file) == runs.Absolute(path) || runs.Absolute(file) == runs.Absolute(filepath.Join(r.dir, path)))
	}
	if o.isLoad() {
		return same(r.placeOf(o, samplesFile)) || same(r.placeOf(o, metricsFile))
	}
	for _, name := range r.mainFiles(o.node) {
		if name == path || strings.TrimSuffix(name, filepath.Ext(name)) == path || same(r.placeOf(o, name)) {
			return true
		}
	}
	return false
}

// axes says what values the axes of the run's points have.
func (r *ran) axes() string {
	var names []string
	values := make(map[string][]string)
	for _, o := range r.outcomes {
		if !o.isLoad() {
			continue
		}
		for _, w := range strings.Fields(o.point()) {
			name, value, _ := strings.Cut(w, "=")
			if values[name] == nil {
				names = append(names, name)
			}
			if !slices.Contains(values[name], value) {
				values[name] = append(values[name], value)
			}
		}
	}
	const most = 8 // of an axis that an error shows
	for i, name := range names {
		v := values[name]
		slices.SortFunc(v, compareValues)
		text := strings.Join(v[:min(most, len(v))], "|")
		if len(v) > most {
			text += fmt.Sprintf("|... (%d values)", len(v))
		}
		names[i] = name + "=" + text
	}
	if len(names) == 0 {
		return "none: the journal tells of no point"
	}
	return strings.Join(names, " ")
}

// compareValues puts numbers in their order, before texts.
func compareValues(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// pure lists the results of the run but for its points.
func (r *ran) pure() []string {
	names := make(map[string]bool)
	for _, o := range r.outcomes {
		if !o.isLoad() {
			names[o.node] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
