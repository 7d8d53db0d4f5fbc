package stages

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/stages/runs"
)

// Explained is what is behind results of a run.
type Explained struct {
	Run          string      `json:"run"`
	Name         string      `json:"name"`
	State        string      `json:"state"`
	ImportedFrom []runs.File `json:"imported_from,omitempty"`
	Notes        []string    `json:"notes,omitempty"` // what cannot be told, and why
	Results      []Behind    `json:"results"`
	Others       []string    `json:"others"` // results of the run that can be asked for as well
}

// Behind is what is behind one result: a point, or what was made of points.
type Behind struct {
	Node       string         `json:"node"`
	How        string         `json:"how"` // measured, made, reused, failed, skipped, imported, not finished, not begun
	Why        []string       `json:"why"` // as the journal says, in order
	At         time.Time      `json:"at"`  // when the run came by it
	Key        string         `json:"key,omitempty"`
	Shown      *Attempt       `json:"shown"`                // null: the run has none
	Others     []Attempt      `json:"not_shown"`            // all else under the key
	Tries      []string       `json:"failed_tries"`         // of this run, that left nothing
	Components []KeyComponent `json:"components,omitempty"` // of the key
	Needs      []KeyNeed      `json:"needs,omitempty"`      // likewise
	Files      []KeptFile     `json:"files,omitempty"`
	Services   []ShownService `json:"services,omitempty"` // that the run started for it
	MadeOfIt   []MadeOfIt     `json:"made_of_it,omitempty"`
}

// KeyComponent is a named part of the value behind a key.
type KeyComponent struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// KeyNeed is a result that another was made from.
type KeyNeed struct {
	Node     string `json:"node"`
	Digest   string `json:"digest"` // "" if it had no result
	Attempts int    `json:"attempts,omitempty"`
	Rejected int    `json:"rejected,omitempty"`
}

// MadeOfIt is what the run made of a result.
type MadeOfIt struct {
	Node  string   `json:"node"`
	How   string   `json:"how"`
	Files []string `json:"files"` // the main ones, as they are in the run
}

// ExplainOptions say how much is wanted.
type ExplainOptions struct {
	Results string // folder of all runs, for a run that lies elsewhere
	Brief   bool   // no files, key components, services and other runs
}

// Explain tells what is behind results of the run in dir: of the points at the
// axes' values that words name ("mode=nixl", "qps=4"), of a node, or of the
// one that made a file; of all points without words.
func Explain(dir string, words []string, o ExplainOptions) (*Explained, error) {
	r, err := readRan(dir)
	if err != nil {
		return nil, err
	}
	r.addNotReached()
	chosen, err := r.choose(words)
	if err != nil {
		return nil, err
	}
	e := &Explained{Run: dir, Name: r.name(), State: runs.StateOf(dir), Results: []Behind{}, Others: []string{}}
	if r.torn {
		e.Notes = append(e.Notes, tornNote)
	}
	if r.imported != nil {
		e.ImportedFrom = r.imported.Files
	}
	listing, note := r.list(o.Results)
	if note != "" {
		e.Notes = append(e.Notes, note)
	}
	gone := 0
	keys := make(map[cache.Key]bool)
	for _, out := range chosen {
		b := Behind{
			Node: out.node, How: out.state, Why: append([]string{}, out.why...), At: out.at, Key: string(out.key),
			Others: []Attempt{}, Tries: []string{},
		}
		var others []Attempt
		b.Shown, others = r.attempts(out, listing)
		b.Others = append(b.Others, others...)
		for _, t := range out.tries {
			if t.attempt == "" {
				b.Tries = append(b.Tries, t.failed)
			}
		}
		if listing != nil && b.Shown != nil && b.Shown.Folder == "" && r.imported == nil {
			gone++
		}
		if !o.Brief {
			r.complete(&b, out, listing)
		}
		if out.key != "" {
			keys[out.key] = true
		}
		e.Results = append(e.Results, b)
	}
	if gone > 0 {
		e.Notes = append(e.Notes, fmt.Sprintf("no longer in the store (pruned, or the run was copied here): %d of these %d; what is told of them is what the run's own folder holds", gone, len(chosen)))
	}
	if !o.Brief {
		e.addUses(usesIn(resultsOf(dir), keys))
	}
	for _, out := range r.outcomes {
		if !out.isLoad() {
			e.Others = append(e.Others, out.node)
		}
	}
	return e, nil
}

const tornNote = "the journal's last line was torn by a kill and is left out"

// list lists the store that the run's results are in; a note if there is none.
func (r *ran) list(results string) (*cache.Listing, string) {
	if r.imported != nil {
		return nil, "" // an import is whole in its own folder
	}
	store := r.store(results)
	if store == nil {
		return nil, fmt.Sprintf("there is no store of results beside this run (%s): other attempts, key components and stored files cannot be told; --results names the folder that the run is from",
			filepath.Join(resultsOf(r.dir), runs.StoreDir))
	}
	l, err := store.List()
	if err != nil {
		return nil, "the store cannot be listed: " + err.Error()
	}
	return l, ""
}

// addNotReached adds the points that the run did not come to.
func (r *ran) addNotReached() {
	for _, label := range r.notReached() {
		r.outcomes = append(r.outcomes, &outcome{node: loadPrefix + label, state: wasNotBegun, at: r.ended})
	}
}

// complete adds what takes a look at manifests and files.
func (r *ran) complete(b *Behind, o *outcome, l *cache.Listing) {
	manifest := stored(b.Shown, o, l)
	if b.Shown != nil {
		b.Shown.manifest = manifest
	}
	if manifest == nil && l != nil { // attempts under one key have the same behind it
		for _, a := range l.Find(o.key) {
			if m, err := a.Manifest(); err == nil {
				manifest = m
				break
			}
		}
	}
	if manifest != nil {
		for _, c := range pipeline.ComponentsOf(manifest) {
			b.Components = append(b.Components, KeyComponent(c))
		}
		needs, _ := pipeline.NeedsOf(manifest) // none, if it cannot be read
		for _, n := range needs {
			k := KeyNeed{Node: n.ID, Digest: n.Digest}
			if n.Attempts != nil {
				k.Attempts, k.Rejected = n.Attempts.Total, n.Attempts.Rejected
			}
			b.Needs = append(b.Needs, k)
		}
	}
	b.Files = r.files(o, b.Shown)
	if o.isLoad() {
		b.Services = r.servicesOf(o)
	}
	b.MadeOfIt = r.madeOf(o, l)
}

// addUses adds which runs made and show each attempt.
func (e *Explained) addUses(uses map[attemptID]use) {
	for i := range e.Results {
		b := &e.Results[i]
		add := func(a *Attempt) {
			u := uses[attemptID{cache.Key(b.Key), a.Attempt}]
			a.MadeBy, a.Runs = u.madeBy, u.runs
		}
		if b.Shown != nil {
			add(b.Shown)
		}
		for j := range b.Others {
			add(&b.Others[j])
		}
	}
}

// servicesOf lists the starts of the deployment that a point stands on; if the
// spec does not tell which one that is, of all that it may be.
func (r *ran) servicesOf(o *outcome) []ShownService {
	var out []ShownService
	axes := strings.Fields(o.point())
	may := func(s ShownService) bool { // a deployment is named after axes of its points
		for _, w := range strings.Fields(strings.TrimPrefix(s.Node, deployPrefix)) {
			if !slices.Contains(axes, w) {
				return false
			}
		}
		return true
	}
	if g := r.shape(); g != nil {
		if n := g.Node(o.node); n != nil {
			service := g.ServiceOf(n)
			may = func(s ShownService) bool { return service != nil && s.Node == service.ID }
		}
	}
	for _, s := range r.services {
		if may(s) {
			out = append(out, s)
		}
	}
	return out
}

// madeOf lists what the run made of a node's result, directly or through
// others, in the order of the run.
func (r *ran) madeOf(o *outcome, l *cache.Listing) []MadeOfIt {
	if r.imported != nil {
		m := MadeOfIt{Node: "analysis and figures", How: "made by the import"}
		for _, f := range append([]string{filepath.Join(r.dir, analysisFile)}, runs.FiguresIn(r.dir)...) {
			m.Files = append(m.Files, existing(f)...)
		}
		return []MadeOfIt{m}
	}
	var out []MadeOfIt
	seen := make(map[*outcome]bool)
	next := r.madeFrom(l)[o.node]
	for len(next) > 0 {
		other := next[0]
		next = next[1:]
		if seen[other] {
			continue
		}
		seen[other] = true
		next = append(next, r.madeFrom(l)[other.node]...)
		m := MadeOfIt{Node: other.node, How: other.state}
		if why := other.lastWhy(); why != "" && why != pipeline.NotDoneYet {
			m.How += ": " + why
		}
		if other.state == wasMade || other.state == wasReused {
			for _, name := range r.mainFiles(other.node) {
				m.Files = append(m.Files, existing(r.placeOf(other, name))...)
			}
		}
		out = append(out, m)
	}
	return out
}

// madeFrom is which results of the run were made from each directly, worked
// out once.
func (r *ran) madeFrom(l *cache.Listing) map[string][]*outcome {
	if r.made == nil {
		r.made = make(map[string][]*outcome)
		for _, o := range r.outcomes {
			if !o.isLoad() {
				for _, id := range r.needsOf(o, l) {
					r.made[id] = append(r.made[id], o)
				}
			}
		}
	}
	return r.made
}

// existing is path, if there is something.
func existing(path string) []string {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return []string{path}
}

// needsOf lists the nodes that a node needs: as the spec says, else as its
// stored result does.
func (r *ran) needsOf(o *outcome, l *cache.Listing) []string {
	if g := r.shape(); g != nil {
		if n := g.Node(o.node); n != nil {
			return n.Needs
		}
	}
	if l == nil {
		return nil
	}
	var ids []string
	for _, a := range l.Find(o.key) {
		if a.Attempt != o.attempt {
			continue
		}
		if m, err := a.Manifest(); err == nil {
			needs, _ := pipeline.NeedsOf(m)
			for _, n := range needs {
				ids = append(ids, n.ID)
			}
		}
	}
	return ids
}
