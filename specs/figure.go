package specs

import (
	"slices"
	"strings"
)

var (
	figureKeys  = []string{"file", "kind", "for", "title", "only", "per_gpu", "series", "where", "xs"}
	figureKinds = []string{"attainment", "comparison"}
	figureFors  = []string{"mode", "all"}
	figureOnly  = []string{"both", "ttft", "tpot"}
	figureXs    = []string{"shared", "separate"}
)

// figureFiles are the base names of files whose figure does not say one.
var figureFiles = map[string]string{
	"attainment": "vllm_benchmark_plots",
	"comparison": "vllm_comparison_plots",
}

// maxSeries is how many series one drawing can tell apart by colour.
const maxSeries = 8

func (r *reader) decodeFigures(n *node) []Figure {
	if n.isNull() {
		return nil
	}
	out := []Figure{}
	for _, item := range r.list(n, "figures") {
		if item.kind != mapping {
			r.errorf(item.pos, "write {file: NAME, kind: comparison}", "a figure must be a mapping, not %v", item.kind)
			continue
		}
		out = append(out, r.decodeFigure(item))
	}
	return out
}

func (r *reader) decodeFigure(n *node) Figure {
	var f Figure
	const where = "figures"
	for _, e := range r.mapping(n, where, figureKeys) {
		v, at := e.value, where+"."+e.key
		switch e.key {
		case "file":
			f.File = r.word(v, at)
			switch {
			case strings.ContainsAny(f.File, "/\\\x00") || strings.HasPrefix(f.File, "."):
				r.errorf(v.pos, "folders are said by stages.plot.dir", "figures.file is a base name, not %q", f.File)
			case slices.Contains([]string{".pdf", ".svg", ".png"}, extension(f.File)):
				r.errorf(v.pos, "formats are said by stages.plot.formats", "figures.file has no extension: %q", f.File)
			}
		case "kind":
			f.Kind = r.choice(v, at, figureKinds...)
		case "for":
			if f.For = r.choice(v, at, figureFors...); f.For == "all" {
				f.For = ""
			}
		case "title":
			f.Title = r.text(v, at)
		case "only":
			f.Only = r.choice(v, at, figureOnly...)
		case "per_gpu":
			f.PerGPU = r.boolean(v, at)
		case "series":
			if f.Series = r.words(v, at); v.kind == list && len(v.items) == 0 {
				r.errorf(v.pos, "leave it away for all axes", "figures.series is empty")
			}
		case "where":
			f.Where = r.word(v, at)
		case "xs":
			f.Xs = r.choice(v, at, figureXs...)
		}
	}
	if !n.has("kind") {
		r.errorf(n.pos, "there is attainment, comparison", "a figure has no kind")
	}
	return f
}

func extension(file string) string {
	if i := strings.LastIndexByte(file, '.'); i >= 0 {
		return strings.ToLower(file[i:])
	}
	return ""
}

// seriesAxes are the axes that tell series apart unless a figure says which:
// all but qps and repeat.
func (e *Experiment) seriesAxes() []string {
	out := []string{"mode"}
	for _, a := range e.Sweep.Axes {
		out = append(out, a.Path)
	}
	return out
}

func defaultFigure(f *Figure, n *node, e *Experiment) {
	if !n.has("file") {
		f.File = figureFiles[f.Kind]
	}
	if !n.has("for") && f.Kind == "attainment" {
		f.For = "mode"
	}
	if !n.has("only") {
		f.Only = "both"
	}
	if !n.has("series") {
		f.Series = e.seriesAxes()
	}
	if !n.has("xs") {
		f.Xs = "shared"
	}
}

// validateFigures checks what can be checked without the expanded sweep.
func (r *reader) validateFigures(e *Experiment, root *node) {
	n := root.find("figures")
	if n.isNull() {
		return
	}
	items := r.list(n, "figures")
	if len(items) != len(e.Figures) {
		return // an entry could not be read, which is said already
	}
	files := map[string]bool{}
	for i, f := range e.Figures {
		in := items[i]
		if files[f.File] {
			r.errorf(in.where("file"), "give each a file of its own", "two figures are named %q", f.File)
		}
		files[f.File] = true
		if f.Kind == "attainment" {
			for _, key := range []string{"only", "xs"} {
				if in.has(key) {
					r.errorf(in.where(key), "", "figures.%s is for kind: comparison", key)
				}
			}
		}
		if s := in.find("series"); !s.isNull() {
			for j, axis := range f.Series {
				at := s.pos
				if s.kind == list {
					at = s.items[j].pos
				}
				if axis == "qps" || axis == "repeat" {
					r.errorf(at, "series are curves over qps, and repeats are pooled", "figures.series: %s cannot tell series apart", axis)
				} else if !slices.Contains(e.seriesAxes(), axis) {
					r.errorf(at, didYouMean(axis, e.seriesAxes()), "figures.series: the sweep has no axis %q", axis)
				}
			}
		}
		if w := in.find("where"); !w.isNull() {
			if _, err := compileWhere(f.Where, e.seriesAxes()); err != nil {
				r.exprError(w, "figures.where", err)
			}
		}
	}
}
