package specs

import (
	"fmt"
	"os"
	"path/filepath"
)

var (
	workloadKeys = []string{
		"dataset", "api", "requests", "duration", "max_concurrency", "arrivals", "burstiness", "ramp", "rescale",
		"ignore_eos", "body", "seed",
	}
	apis = []string{"completions", "chat"}
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
		case "duration":
			w.Duration = r.duration(v, "workload.duration", 0)
		case "max_concurrency":
			w.MaxConcurrency = r.count(v, "workload.max_concurrency", 0)
		case "arrivals":
			w.Arrivals = r.choice(v, "workload.arrivals", arrivalKinds...)
		case "burstiness":
			w.Burstiness = r.positive(v, "workload.burstiness")
		case "ramp":
			w.Ramp = r.decodeRamp(v)
		case "rescale":
			w.Rescale = r.boolean(v, "workload.rescale")
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

// path reads a path relative to the spec's folder.
func (r *reader) path(n *node, where string) string {
	s := r.word(n, where)
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(r.dir, s)
}

func (r *reader) defaultWorkload(w *Workload, n *node) {
	defaultDataset(&w.Dataset, n.find("dataset"))
	if !n.has("api") {
		w.API = "completions"
	}
	defaultArrivals(w, n)
	if !n.has("requests") && w.Duration == 0 && w.Arrivals != "trace" { // a trace has an end of its own
		w.Requests = 300
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

// validateWorkload checks how the dataset and the arrivals go together with
// what is said of them.
func (r *reader) validateWorkload(w *Workload, n, root *node) {
	r.validateDataset(w.Dataset, n.find("dataset"), root)
	r.validateArrivals(w, n, root)
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
