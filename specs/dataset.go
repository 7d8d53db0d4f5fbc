package specs

import (
	"path/filepath"
	"slices"
	"strings"
)

var (
	datasetKeys  = []string{"kind", "name", "path", "format", "lengths", "input_tokens", "output_tokens", "range_ratio", "prefix_tokens"}
	datasetKinds = []string{"sharegpt", "random", "jsonl", "trace"}
	traceFormats = []string{"azure", "burstgpt", "mooncake"}
	lengthsKinds = []string{"auto", "server", "estimate"} // the default first

	datasetKeysOf = map[string][]string{
		"sharegpt": {"kind", "name", "path", "lengths"},
		"random":   {"kind", "name", "input_tokens", "output_tokens", "range_ratio", "prefix_tokens"},
		"jsonl":    {"kind", "name", "path", "output_tokens"},
		"trace":    {"kind", "name", "path", "format"},
	}
)

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
		case "format":
			d.Format = r.choice(v, where+".format", traceFormats...)
		case "lengths":
			d.Lengths = r.choice(v, where+".lengths", lengthsKinds...)
		case "input_tokens":
			d.InputTokens = r.count(v, where+".input_tokens", 1)
		case "output_tokens":
			d.OutputTokens = r.count(v, where+".output_tokens", 1)
		case "range_ratio":
			if d.RangeRatio = r.number(v, where+".range_ratio"); d.RangeRatio < 0 || d.RangeRatio >= 1 {
				r.errorf(v.pos, "", "%s.range_ratio must be from 0 to below 1, not %s", where, v.text)
			}
		case "prefix_tokens":
			d.PrefixTokens = r.count(v, where+".prefix_tokens", 0)
		}
	}
	return d
}

func defaultDataset(d *Dataset, n *node) {
	if !n.has("kind") {
		d.Kind = "random"
	}
	// Short prompts and answers, so that a first spec without a dataset is
	// done soon; a fifth of spread keeps batches from running in lockstep.
	if d.Kind == "random" && !n.has("input_tokens") {
		d.InputTokens = 256
	}
	if (d.Kind == "random" || d.Kind == "jsonl") && !n.has("output_tokens") {
		d.OutputTokens = 64
	}
	if d.Kind == "random" && !n.has("range_ratio") {
		d.RangeRatio = 0.2
	}
	if d.Kind == "sharegpt" && !n.has("lengths") {
		d.Lengths = lengthsKinds[0]
	}
	if !n.has("name") {
		d.Name = d.Kind
		if d.Path != "" {
			base := filepath.Base(d.Path)
			d.Name = strings.TrimLeft(strings.TrimSuffix(base, filepath.Ext(base)), ".")
		}
	}
}

// validateDataset checks what is said of the dataset against its kind, and
// that its file exists.
func (r *reader) validateDataset(d Dataset, n, root *node) {
	may := datasetKeysOf[d.Kind]
	if n != nil && may != nil {
		for _, e := range n.entries {
			if slices.Contains(may, e.key) || e.value.isNull() || !slices.Contains(datasetKeys, e.key) {
				continue
			}
			hint := "it takes " + strings.Join(may, ", ")
			if !n.has("kind") {
				hint = "say " + kindsWith(e.key) + "; without one it is random"
			}
			r.errorf(e.at, hint, "workload.dataset: %s does not go with kind: %s", e.key, d.Kind)
		}
	}
	if !slices.Contains(may, "path") {
		return
	}
	if d.Path == "" {
		hint := "path: data/prompts.json, relative to the spec"
		if d.Kind == "trace" {
			hint = "path: data/trace.csv, relative to the spec"
		}
		r.errorf(root.where("workload", "dataset"), hint, "workload.dataset: kind: %s needs a path", d.Kind)
	} else if wrong := r.regularFile(d.Path); wrong != "" {
		r.errorf(root.where("workload", "dataset", "path"), "the path is relative to the spec's folder", "the dataset %s %s", d.Path, wrong)
	}
}

// kindsWith are the kinds of dataset that take a key: "kind: a or kind: b".
func kindsWith(key string) string {
	var kinds []string
	for _, kind := range datasetKinds {
		if slices.Contains(datasetKeysOf[kind], key) {
			kinds = append(kinds, "kind: "+kind)
		}
	}
	if last := len(kinds) - 1; last > 0 {
		return strings.Join(kinds[:last], ", ") + " or " + kinds[last]
	}
	return strings.Join(kinds, "")
}
