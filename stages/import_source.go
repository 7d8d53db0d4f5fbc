package stages

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/runs"
	"vbp/stages/sample"
)

// openSources opens every folder; what is wrong with each is told at once.
func openSources(o ImportOptions) ([]*Results, error) {
	var sources []*Results
	var errs []error
	seen := make(map[string]bool)
	for _, arg := range o.Folders {
		dir, mode := arg, o.Mode
		if _, err := os.Stat(arg); err != nil {
			if label, folder, ok := strings.Cut(arg, "="); ok && label != "" && folder != "" {
				dir, mode = folder, label
			}
		}
		if seen[runs.Absolute(dir)] {
			errs = append(errs, fmt.Errorf("%s is named twice", dir))
			continue
		}
		seen[runs.Absolute(dir)] = true
		r, err := OpenResults(dir, mode)
		if err == nil && r.Kind == collect.VBP {
			err = fmt.Errorf("%s is a run of vbp already: plot, compare, show and export read it as it is", dir)
		}
		errs = append(errs, err)
		sources = append(sources, r)
	}
	return sources, errors.Join(errs...)
}

// nameOfSources calls a run after the folders that it is made of.
func nameOfSources(sources []*Results) string {
	var names []string
	for _, r := range sources {
		name := nameOfResults(r.Dir)
		if r.Run != nil && r.Run.Name != "" {
			name = r.Run.Name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const longest = 100 // bytes; a folder's name may have 255
	if name := strings.Join(names, "-"); len(name) <= longest {
		return name
	}
	return "imported"
}

// join makes the points of all sources those of one run, with the same axes.
// Points of the same mode, rate and repeat in several sources become repeats,
// and the notes say so, if all of these sources were given their modes; else
// they are an error, since folders that happen to be called alike need not
// have measured the same.
func join(sources []*Results) (all []analyze.Point, notes []string, err error) {
	from := make(map[*sample.Meta]*Results)
	for _, r := range sources {
		for _, p := range r.Points {
			from[&p.Table.Meta] = r
			all = append(all, p)
			addCounts(p.Table)
		}
	}
	sameAxes(all)
	groups := make(map[string][]*sample.Meta)
	var order []string
	for _, p := range all {
		m := &p.Table.Meta
		label := axesLabel(slices.DeleteFunc(slices.Clone(m.Axes), func(a sample.Axis) bool { return a.Name == "repeat" }))
		if groups[label] == nil {
			order = append(order, label)
		}
		groups[label] = append(groups[label], m)
	}
	for _, label := range order {
		group := groups[label]
		repeats := make(map[int]bool)
		var dirs []string
		given := true
		for _, m := range group {
			repeats[m.Repeat] = true
			if dir := from[m].Dir; !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
			given = given && from[m].Label != ""
		}
		if len(repeats) == len(group) {
			continue
		}
		where := strings.Join(dirs, " and ")
		if !given {
			return nil, nil, fmt.Errorf("%s both hold %s: name their modes apart, as in a=%s, or say with --mode that they are repeats of one", where, label, dirs[0])
		}
		notes = append(notes, fmt.Sprintf("%s: %d points of %s are taken as its repeats and pooled", label, len(group), where))
		for i, m := range group {
			m.Repeat = i
			for j, a := range m.Axes {
				if a.Name == "repeat" {
					m.Axes[j].Value = strconv.Itoa(i)
				}
			}
		}
	}
	return all, notes, nil
}

// addCounts gives a point of others the facts that its rows tell.
func addCounts(t *sample.Table) {
	if _, known := t.Meta.Facts["sent"]; known {
		return
	}
	if t.Meta.Facts == nil {
		t.Meta.Facts = make(map[string]float64)
	}
	t.Meta.Facts["sent"], t.Meta.Facts["failed"] = float64(t.Len()), float64(t.Failed())
}

// sameAxes gives every point the axes of all, since each is a level of the
// run's tree; an axis that a point had not does not apply to it.
func sameAxes(points []analyze.Point) {
	var all, last []string
	for _, p := range points {
		for _, a := range p.Table.Meta.Axes {
			switch {
			case slices.Contains(all, a.Name) || slices.Contains(last, a.Name):
			case a.Name == "qps" || a.Name == "repeat":
				last = append(last, a.Name)
			default:
				all = append(all, a.Name)
			}
		}
	}
	all = append(all, last...)
	for _, p := range points {
		m := &p.Table.Meta
		if len(m.Axes) == len(all) {
			continue // has them all
		}
		axes := make([]sample.Axis, len(all))
		for i, name := range all {
			axes[i].Name = name
			axes[i].Value, axes[i].Set = m.Axis(name)
		}
		m.Axes = axes
	}
}

// distinct tells of points that would have the same folder.
func distinct(points []analyze.Point) error {
	seen := make(map[string]bool)
	for _, p := range points {
		dir := collect.PointDir(p.Table.Meta.Axes)
		if dir == "" || seen[dir] {
			return fmt.Errorf("two points have the same axes (%s): import each folder by itself", axesLabel(p.Table.Meta.Axes))
		}
		seen[dir] = true
	}
	return nil
}
