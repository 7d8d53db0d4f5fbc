package specs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Options are what is around a spec when it is read.
type Options struct {
	Set []string                    // --set path=value, applied in order
	Env func(string) (string, bool) // nil: os.LookupEnv
	// SkipFiles leaves out whether the files that the spec names exist: for a
	// spec that is read for what it says, not to be run.
	SkipFiles bool
}

func lookupEnv(name string) (string, bool) { return os.LookupEnv(name) }

// Load reads the spec in a file. Its error is Errors.
func Load(file string, o Options) (*Experiment, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		e := &Error{File: file, Msg: "cannot be read: " + err.Error()}
		var path *fs.PathError
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Msg, e.Hint = "there is no such file", "name the spec to run, such as examples/quickstart.yaml"
		case errors.As(err, &path):
			e.Msg = "cannot be read: " + path.Err.Error()
		}
		return nil, Errors{e}
	}
	return Parse(file, data, o)
}

// Parse reads a spec. file names it in errors, and paths in the spec are
// relative to its folder; it need not exist. All that is wrong is found at
// once as far as one mistake does not hide another: the error is Errors.
func Parse(file string, data []byte, o Options) (*Experiment, error) {
	r := &reader{file: file, lookup: o.Env, lines: strings.Split(string(data), "\n"), skipFiles: o.SkipFiles}
	if r.lookup == nil {
		r.lookup = lookupEnv
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, Errors{{File: file, Msg: "its folder cannot be found: " + err.Error()}}
	}
	r.dir = dir

	// Parse: the text to a tree, and the tree to an Experiment with what it
	// says.
	root, wrong := readYAML(data, "")
	switch {
	case root == nil && len(wrong) > 0:
		r.found(wrong)
		return nil, r.errs
	case root.isNull() && len(wrong) == 0:
		return nil, Errors{{File: file, Msg: "the spec is empty", Hint: "it needs at least modes and sweep.qps"}}
	case root.kind != mapping:
		return nil, Errors{{File: file, Line: root.line, Col: root.col, Msg: "a spec is a mapping, not " + root.kind.String(), Hint: "it needs at least modes and sweep.qps"}}
	}
	r.found(wrong)
	root = r.applySet(root, o.Set)
	r.expandEnv(root, nil)
	e := r.decode(root)

	r.defaults(e, root)

	r.validate(e, root)
	if len(r.errs) == 0 {
		r.absolutePaths(e, root)
		r.writeDays()
		if e.Resolved, err = writeYAML(root); err != nil {
			return nil, Errors{{File: file, Msg: "cannot be written as YAML again: " + err.Error()}}
		}
		r.expand(e, root)
	}
	if len(r.errs) > 0 {
		return nil, r.errs.sorted(o.Set)
	}
	return e, nil
}

// absolutePaths writes the paths of files as they were found: the resolved
// spec is kept in another folder.
func (r *reader) absolutePaths(e *Experiment, root *node) {
	if n := root.find("workload", "dataset", "path"); !n.isNull() {
		n.text = e.Workload.Dataset.Path
	}
	for _, s := range e.Stages {
		if s.Command == nil {
			continue
		}
		if n := root.find("stages", s.Name, "inputs"); !n.isNull() && n.kind == list && len(n.items) == len(s.Command.Inputs) {
			for i, item := range n.items {
				item.text = s.Command.Inputs[i]
			}
		}
	}
}

const apiVersion = "vbp/v1"

var topKeys = []string{"apiVersion", "name", "model", "gpus", "modes", "workload", "slo", "sweep", "slo_scales", "scale_rate", "stages", "valid", "reuse", "figures"}

// decode reads what the tree says. What it does not say stays zero.
func (r *reader) decode(root *node) *Experiment {
	e := &Experiment{File: r.file}
	for _, en := range r.mapping(root, "", topKeys) {
		v := en.value
		switch en.key {
		case "apiVersion":
			if s := r.word(v, "apiVersion"); s != "" && s != apiVersion {
				r.errorf(v.pos, "", "apiVersion: this vbp reads %s, not %q", apiVersion, s)
			}
		case "name":
			if e.Name = r.word(v, "name"); !nameForm.MatchString(e.Name) {
				r.errorf(v.pos, "letters, digits, . _ and -: results are kept under it", "name: %q cannot name a folder", e.Name)
			}
		case "model":
			e.Model = r.word(v, "model")
		case "gpus":
			e.GPUs = r.decodeGPUs(v)
		case "modes":
			e.Modes = r.decodeModes(v)
		case "workload":
			e.Workload = r.decodeWorkload(v)
		case "slo":
			e.SLO = r.decodeSLO(v, "slo")
		case "sweep":
			e.Sweep = r.decodeSweep(v)
		case "slo_scales":
			e.SLOScales = r.decodeScales(v, "slo_scales")
		case "scale_rate":
			rate := r.positive(v, "scale_rate")
			e.ScaleRate = &rate
		case "valid":
			e.Valid = r.words(v, "valid")
		case "reuse":
			e.Reuse = r.decodeReuse(v)
		case "figures":
			e.Figures = r.decodeFigures(v)
		}
	}
	e.Stages = r.decodeStages(root.find("stages"))
	return e
}

// defaults fills in what the tree does not say. Default figures need the
// expanded sweep and come with it.
func (r *reader) defaults(e *Experiment, root *node) {
	e.APIVersion = apiVersion
	if !root.has("name") {
		e.Name = nameOf(r.file)
	}
	if !root.has("model") {
		e.Model = "Qwen/Qwen3-0.6B"
	}
	if !root.has("gpus") {
		e.GPUs = GPUs{Auto: true}
	}
	for i := range e.Modes {
		defaultMode(&e.Modes[i], root.find("modes", e.Modes[i].Name))
	}
	r.defaultWorkload(&e.Workload, root.find("workload"))
	defaultSLO(&e.SLO, root.find("slo"), DefaultSLO())
	if !root.has("sweep", "mode") {
		e.Sweep.Modes = modeNames(e)
	}
	if !root.has("sweep", "repeat") {
		e.Sweep.Repeat = 1
	}
	if !root.has("sweep", "order") {
		e.Sweep.Order = sweepOrders[0]
	}
	if !root.has("slo_scales") {
		e.SLOScales = DefaultSLOScales()
	}
	for i := range e.Stages {
		defaultStage(&e.Stages[i], root.find("stages", e.Stages[i].Name), e)
	}
	if !root.has("valid") {
		e.Valid = slices.Clone(defaultRules)
	}
	if n := root.find("figures"); !n.isNull() && n.kind == list && len(n.items) == len(e.Figures) {
		for i := range e.Figures {
			defaultFigure(&e.Figures[i], n.items[i], e)
		}
	}
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// nameOf makes a name of a file's: "my specs/a b.yaml" is a-b.
func nameOf(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	base = strings.TrimLeft(notInName.ReplaceAllString(base, "-"), ".")
	if base == "" || base == "-" {
		return "experiment"
	}
	return base
}

// validate checks how the parts go together; that each value can be what its
// key says was found when it was read.
func (r *reader) validate(e *Experiment, root *node) {
	for i := range e.Modes {
		m := &e.Modes[i]
		r.validateMode(m, root.find("modes", m.Name), root.where("modes", m.Name))
		if slices.Contains(e.Sweep.Modes, m.Name) {
			r.validateGPUs(m, e.GPUs, root.where("modes", m.Name))
		}
	}
	r.validateWorkload(&e.Workload, root.find("workload"), root)
	r.validateSweep(e, root)
	for i := range e.Stages {
		r.validateStage(&e.Stages[i], root)
		r.validateWindow(&e.Stages[i], e.Workload.Duration, root)
	}
	r.validateGraph(e, root)
	r.validateValid(e, root)
	r.validateFigures(e, root)
}

func (r *reader) validateValid(e *Experiment, root *node) {
	n := root.find("valid")
	if n.isNull() {
		return
	}
	for i, item := range r.list(n, "valid") {
		if i >= len(e.Valid) {
			return
		}
		if _, err := compileExpr(e.Valid[i], map[string]any{}, true); err != nil {
			r.exprError(item, "valid", err)
		}
	}
}
