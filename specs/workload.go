package specs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var (
	workloadKeys = []string{"dataset", "api", "requests", "arrivals", "burstiness", "ignore_eos", "body", "seed"}
	datasetKeys  = []string{"kind", "name", "path", "input_tokens", "output_tokens", "range_ratio"}
	datasetKinds = []string{"sharegpt", "random", "jsonl"}
	arrivalKinds = []string{"poisson", "constant", "gamma"}
	apis         = []string{"completions", "chat"}

	datasetKeysOf = map[string][]string{
		"sharegpt": {"kind", "name", "path"},
		"random":   {"kind", "name", "input_tokens", "output_tokens", "range_ratio"},
		"jsonl":    {"kind", "name", "path", "output_tokens"},
	}
)

// What load itself puts into a request; and how to say it.
var bodyHasKey = map[string]string{
	"model":                 "use the spec's model",
	"prompt":                "prompts come from workload.dataset",
	"messages":              "prompts come from workload.dataset",
	"stream":                "every request is streamed",
	"stream_options":        "usage is always asked for",
	"max_tokens":            "output lengths come from workload.dataset",
	"max_completion_tokens": "output lengths come from workload.dataset",
	"ignore_eos":            "use workload.ignore_eos",
}

func (r *reader) decodeWorkload(n *node) Workload {
	var w Workload
	for _, e := range r.mapping(n, "workload", workloadKeys) {
		v := e.value
		switch e.key {
		case "dataset":
			w.Dataset = r.decodeDataset(v)
		case "api":
			w.API = r.choice(v, "workload.api", apis...)
		case "requests":
			w.Requests = r.count(v, "workload.requests", 1)
		case "arrivals":
			w.Arrivals = r.choice(v, "workload.arrivals", arrivalKinds...)
		case "burstiness":
			w.Burstiness = r.positive(v, "workload.burstiness")
		case "ignore_eos":
			w.IgnoreEOS = r.boolean(v, "workload.ignore_eos")
		case "body":
			if v.kind != mapping {
				r.errorf(v.pos, "", "workload.body must be a mapping, not %v", v.kind)
				continue
			}
			for _, b := range v.entries {
				if hint, own := bodyHasKey[b.key]; own && !leftOut(v, b.key) {
					r.errorf(b.at, hint, "workload.body: %q is set by vbp", b.key)
				}
			}
			w.Body, _ = r.value(v, "workload.body").(map[string]any)
		case "seed":
			w.Seed = r.whole(v, "workload.seed")
		}
	}
	return w
}

func (r *reader) decodeDataset(n *node) Dataset {
	var d Dataset
	const where = "workload.dataset"
	for _, e := range r.mapping(n, where, datasetKeys) {
		v := e.value
		switch e.key {
		case "kind":
			d.Kind = r.choice(v, where+".kind", datasetKinds...)
		case "name":
			if d.Name = r.word(v, where+".name"); strings.ContainsAny(d.Name, "/\\") || strings.HasPrefix(d.Name, ".") {
				r.errorf(v.pos, "", "%s.name names a folder; it cannot be %q", where, d.Name)
			}
		case "path":
			d.Path = r.path(v, where+".path")
		case "input_tokens":
			d.InputTokens = r.count(v, where+".input_tokens", 1)
		case "output_tokens":
			d.OutputTokens = r.count(v, where+".output_tokens", 1)
		case "range_ratio":
			if d.RangeRatio = r.number(v, where+".range_ratio"); d.RangeRatio < 0 || d.RangeRatio >= 1 {
				r.errorf(v.pos, "", "%s.range_ratio must be from 0 to below 1, not %s", where, v.text)
			}
		}
	}
	return d
}

// path reads a path relative to the spec's folder.
func (r *reader) path(n *node, where string) string {
	s := r.word(n, where)
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(r.dir, s)
}

func (r *reader) defaultWorkload(w *Workload, n *node) {
	d := &w.Dataset
	if !n.has("dataset", "kind") {
		d.Kind = "random"
	}
	// Short prompts and answers, so that a first spec without a dataset is
	// done soon; a fifth of spread keeps batches from running in lockstep.
	if d.Kind == "random" && !n.has("dataset", "input_tokens") {
		d.InputTokens = 256
	}
	if (d.Kind == "random" || d.Kind == "jsonl") && !n.has("dataset", "output_tokens") {
		d.OutputTokens = 64
	}
	if d.Kind == "random" && !n.has("dataset", "range_ratio") {
		d.RangeRatio = 0.2
	}
	if !n.has("dataset", "name") {
		d.Name = d.Kind
		if d.Path != "" {
			base := filepath.Base(d.Path)
			d.Name = strings.TrimLeft(strings.TrimSuffix(base, filepath.Ext(base)), ".")
		}
	}
	if !n.has("api") {
		w.API = "completions"
	}
	if !n.has("requests") {
		w.Requests = 300
	}
	if !n.has("arrivals") {
		w.Arrivals = "poisson"
	}
	if !n.has("burstiness") {
		w.Burstiness = 1
	}
	if !n.has("ignore_eos") {
		w.IgnoreEOS = true
	}
	if !n.has("body") {
		if r.body == nil {
			r.body = map[string]any{"temperature": int64(0)}
		}
		w.Body = r.body
	}
}

// validateWorkload checks what is said of the dataset against its kind, and
// that its file exists.
func (r *reader) validateWorkload(w *Workload, n, root *node) {
	d := w.Dataset
	if set := n.find("dataset"); set != nil {
		may := datasetKeysOf[d.Kind]
		for _, e := range set.entries {
			if may == nil || slices.Contains(may, e.key) || e.value.isNull() || !slices.Contains(datasetKeys, e.key) {
				continue
			}
			hint := "it takes " + strings.Join(may, ", ")
			if !set.has("kind") {
				hint = "say kind: sharegpt or kind: jsonl; without one it is random"
			}
			r.errorf(e.at, hint, "workload.dataset: %s does not go with kind: %s", e.key, d.Kind)
		}
	}
	switch {
	case d.Kind != "sharegpt" && d.Kind != "jsonl":
	case d.Path == "":
		r.errorf(root.where("workload", "dataset"), "path: data/prompts.json, relative to the spec", "workload.dataset: kind: %s needs a path", d.Kind)
	default:
		if wrong := r.regularFile(d.Path); wrong != "" {
			r.errorf(root.where("workload", "dataset", "path"), "the path is relative to the spec's folder", "the dataset %s %s", d.Path, wrong)
		}
	}
	if n.has("burstiness") && w.Arrivals != "gamma" && slices.Contains(arrivalKinds, w.Arrivals) {
		r.errorf(n.where("burstiness"), "say arrivals: gamma", "workload.burstiness does not go with arrivals: %s", w.Arrivals)
	}
}

// regularFile says what is wrong with a file that must exist; "" if nothing
// is. Each is looked at once, however many points of a sweep name it.
func (r *reader) regularFile(path string) string {
	if r.skipFiles {
		return ""
	}
	if wrong, ok := r.files[path]; ok {
		return wrong
	}
	wrong := ""
	switch info, err := os.Stat(path); {
	case os.IsNotExist(err):
		wrong = "does not exist"
	case err != nil:
		wrong = fmt.Sprintf("cannot be read: %v", err)
	case !info.Mode().IsRegular():
		wrong = "is not a file"
	}
	if r.files == nil {
		r.files = map[string]string{}
	}
	r.files[path] = wrong
	return wrong
}

// leftOut tells whether the body takes a key of vbp's out of its requests,
// for servers that refuse it: stream_options and max_tokens by null, and then
// max_completion_tokens may take the place of the latter.
func leftOut(body *node, key string) bool {
	null := func(k string) bool { return body.index(k) >= 0 && body.find(k).isNull() }
	switch key {
	case "stream_options", "max_tokens":
		return null(key)
	case "max_completion_tokens":
		return null("max_tokens")
	}
	return false
}
