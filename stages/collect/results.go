package collect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// Kinds of Results.
const (
	VBP       = "vbp"
	VLLM      = "vllm"
	DistServe = "distserve"
	Arrow     = "arrow" // an export of vbp's
)

// Results is everything measured that a folder or file holds.
type Results struct {
	Kind     string   // VBP, VLLM, DistServe or Arrow
	Name     string   // the folder's name without the time of the run
	Points   []Loaded // by mode or other axes, then rate, then repeat
	Warnings []string // what was left out or taken together, each a sentence that names the file
}

// Loaded is one load point and where it came from. Points of one
// --append-result file are told apart by #2, #3, ... behind its name.
type Loaded struct {
	File  string
	Table *sample.Table

	// Exact says that vbp wrote the table: its axes and all else are as they
	// were measured. Valid, Reason and Run are what an export of vbp's tells;
	// a point of others is valid, for no rule speaks against it.
	Exact  bool
	Valid  bool
	Reason string
	Run    *Run
}

// OpenResults reads a results folder, or a single file, and finds out by its
// content what it is: a folder of a vbp run (its samples tree), vLLM bench
// files, DistServe .exp files, or an Arrow file that vbp exported. Tables of
// foreign files have the axes mode (what the file says, else Results.Name),
// qps and repeat; those that vbp exported have their own.
//
// Files of one mode and rate become its repeats, in order of date and name,
// and a warning says so; but exports whose repeats differ keep them. Results without a fixed rate and JSON files that are
// no results are left out with a warning. A file that is damaged is an error,
// and so is a folder in which there is nothing; the error lists every such
// file.
func OpenResults(path string) (*Results, error) {
	r := &Results{}
	if err := r.open(path); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Results) open(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("collect: opening results: %w", err)
	}
	if !info.IsDir() {
		r.Name = runName(filepath.Dir(path))
		if filepath.Ext(path) == ".parquet" {
			return r.openStored(path, []string{path})
		}
		return r.openForeign(path, []string{path}, false)
	}
	r.Name = runName(path)
	stored, err := samplesBelow(path)
	if err != nil {
		return err
	}
	if len(stored) > 0 {
		return r.openStored(path, stored)
	}
	files, err := foreignFiles(path)
	if err != nil {
		return err
	}
	return r.openForeign(path, files, true)
}

// openStored reads vbp's own files.
func (r *Results) openStored(path string, files []string) error {
	r.Kind = VBP
	var errs []error
	for _, f := range files {
		t, err := ReadSamples(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Points = append(r.Points, Loaded{File: f, Table: t, Exact: true, Valid: true})
	}
	if len(errs) > 0 {
		return fmt.Errorf("collect: %s: %d of %d samples files cannot be used:\n%w", path, len(errs), len(files), errors.Join(errs...))
	}
	slices.SortStableFunc(r.Points, func(a, b Loaded) int {
		x, y := &a.Table.Meta, &b.Table.Meta
		return cmp.Or(byAxes(x.Axes, y.Axes), cmp.Compare(x.Repeat, y.Repeat))
	})
	return nil
}

// openForeign reads files of others.
func (r *Results) openForeign(path string, files []string, folder bool) error {
	var errs []error
	for _, f := range files {
		kind, points, err := r.openFile(f)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
		case kind == "" && !folder:
			errs = append(errs, fmt.Errorf("%s: it is neither a result of `vllm bench serve` nor a DistServe .exp file nor samples or an export of vbp", f))
		case kind == "":
			r.Warnings = append(r.Warnings, f+" is left out: it is well-formed, but not a result")
		case r.Kind != "" && kind != r.Kind:
			errs = append(errs, fmt.Errorf("%s: it is a %s file, others here are %s files: put each kind into a folder of its own", f, kind, r.Kind))
		default:
			r.Kind = kind
			r.Points = append(r.Points, points...)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("collect: %s: %d of %d files cannot be used:\n%w", path, len(errs), len(files), errors.Join(errs...))
	}
	if len(r.Points) == 0 {
		return fmt.Errorf("collect: %s: no usable results%s: %s", path, because(r.Warnings), lookedFor(path))
	}
	if r.Kind != Arrow || len(files) > 1 { // one holds its points in the order of their run
		r.pool()
	}
	return nil
}

// openFile reads one foreign file. The kind is "" if it is well-formed and no
// result.
func (r *Results) openFile(file string) (kind string, points []Loaded, err error) {
	if isArrow(file) {
		points, err := openArrow(file)
		if errors.Is(err, errNotOurs) {
			return "", nil, nil
		}
		return Arrow, points, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // some editors add it
	values, err := jsonValues(data)
	if err != nil {
		return "", nil, err
	}
	if len(values) == 0 {
		return "", nil, errors.New("it is empty")
	}
	if isDistServe(values[0]) {
		t, warning, err := readDistServe(values[0], file, r.Name)
		if err == nil && len(values) > 1 {
			err = errors.New("something follows its list of requests")
		}
		if err != nil {
			return "", nil, err
		}
		if warning != "" {
			r.Warnings = append(r.Warnings, file+": "+warning)
		}
		return DistServe, []Loaded{{File: file, Table: t, Valid: true}}, nil
	}
	if filepath.Ext(file) == ".exp" {
		return "", nil, errors.New("it is not a list of requests with token_timestamps, as DistServe writes it")
	}
	if !isVLLM(values[0]) {
		return "", nil, nil
	}
	var errs []error
	for i, v := range values {
		name := file
		if i > 0 {
			name = file + "#" + strconv.Itoa(i+1)
		}
		p, err := vllmPoint(v, file, r.Name)
		switch {
		case errors.Is(err, errUnlimited):
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s is left out: %v", name, err))
		case err != nil && len(values) > 1:
			errs = append(errs, fmt.Errorf("result %d in it: %w", i+1, err))
		case err != nil:
			errs = append(errs, err)
		default:
			p.File = name
			points = append(points, p)
		}
	}
	return VLLM, points, errors.Join(errs...)
}

func vllmPoint(object json.RawMessage, file, mode string) (Loaded, error) {
	if !isVLLM(object) {
		return Loaded{}, errors.New("it is not a result of `vllm bench serve`")
	}
	return readVLLM(object, file, mode)
}

// pool sorts the points, and numbers those of each mode and rate as repeats, by
// date and then file name, and says so where there are several. Points that
// vbp exported keep the repeats that they have, if these differ.
func (r *Results) pool() {
	slices.SortStableFunc(r.Points, func(a, b Loaded) int {
		x, y := &a.Table.Meta, &b.Table.Meta
		repeat := 0
		if a.Exact && b.Exact {
			repeat = cmp.Compare(x.Repeat, y.Repeat)
		}
		return cmp.Or(byAxes(x.Axes, y.Axes), repeat, strings.Compare(x.Extra["date"], y.Extra["date"]), compareNatural(a.File, b.File))
	})
	for from := 0; from < len(r.Points); {
		to := from + 1
		for to < len(r.Points) && byAxes(r.Points[from].Table.Meta.Axes, r.Points[to].Table.Meta.Axes) == 0 {
			to++
		}
		if same := r.Points[from:to]; len(same) > 1 && !apart(same) {
			r.Warnings = append(r.Warnings, renumber(same))
		}
		from = to
	}
}

// apart reports whether points of equal axes are the repeats of one run.
func apart(same []Loaded) bool {
	seen := make(map[int]bool)
	for _, p := range same {
		if !p.Exact || seen[p.Table.Meta.Repeat] {
			return false
		}
		seen[p.Table.Meta.Repeat] = true
	}
	return true
}

// renumber makes points of equal axes repeats, and says so.
func renumber(same []Loaded) (warning string) {
	var names []string
	for i, p := range same {
		names = append(names, filepath.Base(p.File))
		m := &p.Table.Meta
		m.Repeat = i
		for j, a := range m.Axes {
			if a.Name == "repeat" {
				m.Axes[j].Value = strconv.Itoa(i)
			}
		}
	}
	m := same[0].Table.Meta
	mode, _ := m.Axis("mode")
	return fmt.Sprintf("%s: %d results of rate %v are taken as its repeats and pooled: %s",
		mode, len(names), m.Rate, strings.Join(names, ", "))
}

func because(warnings []string) string {
	if len(warnings) == 0 {
		return ""
	}
	return " (" + strings.Join(warnings, "; ") + ")"
}
