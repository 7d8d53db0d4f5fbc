package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/runs"
)

// ran is what a run's folder tells of the run: its journal, its spec, and what
// was collected. What is not there is left out: a run may have been killed.
type ran struct {
	dir      string
	torn     bool // the journal's last line
	begun    time.Time
	ended    time.Time // of the last record
	command  string
	closed   bool // the journal has an end
	exp      *specs.Experiment
	rules    []*specs.Rule
	imported *importRecord          // nil: the run was applied
	entries  map[string]*pointEntry // load node -> what was collected of it
	outcomes []*outcome             // of nodes that leave a result, as they came
	byNode   map[string]*outcome
	services []ShownService
	failures []string

	shape func() *pipeline.Graph // see outline
	made  map[string][]*outcome  // see madeFrom
}

// How a node ended, as show and why tell it.
const (
	wasMeasured = "measured"
	wasMade     = "made"
	wasReused   = "reused"
	hasFailed   = "failed"
	wasSkipped  = "skipped"
	wasImported = "imported"
	notFinished = "not finished"
	wasNotBegun = "not begun"
	triedInVain = "it failed: " // begins why a node that left nothing is tried again
)

// outcome is what became of a node in a run.
type outcome struct {
	node    string
	state   string // one of the above
	key     cache.Key
	attempt string // that the run shows; "" if none
	digest  string
	at      time.Time
	seconds float64  // that its work took here
	why     []string // it ran or was reused, as the journal says, or why not
	tries   []try    // that were made here
}

// try is one try at a measurement.
type try struct {
	attempt  string // "" if it left nothing
	at       time.Time
	seconds  float64
	rejected string // the rule; "" if it was usable
	failed   string // the error, if it left nothing
}

// isLoad reports whether the node is a point's.
func (o *outcome) isLoad() bool { return strings.HasPrefix(o.node, loadPrefix) }

// point is what show calls a load node.
func (o *outcome) point() string { return strings.TrimPrefix(o.node, loadPrefix) }

// leavesNothing tells deployments and warm-ups from what has results.
func leavesNothing(node string) bool {
	return strings.HasPrefix(node, deployPrefix) || strings.HasPrefix(node, warmupPrefix)
}

// readRan reads a run's folder.
func readRan(dir string) (*ran, error) {
	records, torn, err := history.Read(filepath.Join(dir, history.FileName))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not a run of vbp: it has no %s; vbp list shows what there is", dir, history.FileName)
		}
		return nil, err
	}
	r := &ran{dir: dir, torn: torn, entries: make(map[string]*pointEntry)}
	r.read(records)
	path := filepath.Join(dir, runs.SpecFile)
	if data, err := os.ReadFile(path); err == nil {
		if exp, err := specs.Parse(path, data, specs.Options{SkipFiles: true}); err == nil {
			r.exp = exp
			r.rules, _ = compileRules(exp.Valid) // the spec has been checked
		}
	}
	if rec, err := readImport(dir); err == nil {
		r.imported = rec
		for _, o := range r.outcomes {
			o.state = wasImported
		}
	}
	if entries, err := readEntries(dir); err == nil {
		for i := range entries {
			r.entries[loadPrefix+axesLabel(entries[i].Axes)] = &entries[i]
		}
	}
	r.shape = outlineOf(r)
	return r, nil
}

// name is what the run is a run of.
func (r *ran) name() string {
	switch {
	case r.imported != nil:
		return r.imported.Run.Name
	case r.exp != nil:
		return r.exp.Name
	}
	return ""
}

// read takes from the records what became of nodes and services.
func (r *ran) read(records []history.Record) {
	r.byNode = make(map[string]*outcome)
	lost := make(map[string]string) // service -> why it was stopped
	for i, rec := range records {
		if i == 0 {
			r.begun = rec.At
		}
		r.ended = rec.At
		switch rec.Kind {
		case history.RunBegun:
			r.command = rec.Text
		case history.RunDone:
			r.closed = true
		case history.ServiceStarted:
			s := ShownService{Node: rec.Node, At: rec.At, Seconds: rec.Seconds, Again: rec.Text}
			_ = json.Unmarshal(rec.Data, &s.Environment)
			if s.Again != "" {
				s.Why = lost[rec.Node]
			}
			r.services = append(r.services, s)
		case history.ServiceStopped:
			lost[rec.Node] = rec.Text
			if rec.Error != "" {
				r.failures = append(r.failures, rec.Node+": it did not stop: "+rec.Error)
			}
		case history.NodeFailed:
			r.failures = append(r.failures, rec.Node+": "+rec.Error)
		}
		if rec.Node == "" || leavesNothing(rec.Node) {
			continue
		}
		o := r.byNode[rec.Node]
		if o == nil {
			o = &outcome{node: rec.Node}
			r.byNode[rec.Node] = o
			r.outcomes = append(r.outcomes, o)
		}
		o.read(rec)
	}
}

// read goes on with a record about the node: the last one says how it ended.
func (o *outcome) read(rec history.Record) {
	o.at = rec.At
	if rec.Key != "" {
		o.key = cache.Key(rec.Key)
	}
	switch rec.Kind {
	case history.NodeBegun:
		o.state, o.attempt, o.digest, o.seconds = notFinished, "", "", 0
		o.say(rec.Text)
	case history.NodeDone:
		o.state, o.attempt, o.digest, o.seconds = wasMade, rec.Attempt, rec.Digest, rec.Seconds
		if o.isLoad() {
			o.state = wasMeasured
			o.tries = append(o.tries, try{attempt: rec.Attempt, at: rec.At, seconds: rec.Seconds, rejected: rec.Text})
		}
	case history.NodeReused:
		o.state, o.attempt, o.digest, o.seconds = wasReused, rec.Attempt, rec.Digest, 0
		o.say(rec.Text)
	case history.NodeAgain:
		if why, ok := strings.CutPrefix(rec.Text, triedInVain); ok {
			o.tries = append(o.tries, try{at: rec.At, failed: why})
		}
	case history.NodeFailed:
		o.state, o.attempt = hasFailed, ""
		o.say(rec.Error)
		o.tries = append(o.tries, try{at: rec.At, failed: firstLine(rec.Error)})
	case history.NodeSkipped:
		o.state = wasSkipped
		o.say(rec.Text)
	}
}

// say adds why something was done, once.
func (o *outcome) say(why string) {
	if n := len(o.why); why != "" && (n == 0 || o.why[n-1] != why) {
		o.why = append(o.why, why)
	}
}

// lastWhy is why what happened last did.
func (o *outcome) lastWhy() string {
	if len(o.why) == 0 {
		return ""
	}
	return o.why[len(o.why)-1]
}

// judge is the run's verdict on an attempt at a point. An error says that it
// cannot be told.
func (r *ran) judge(node string, rec pipeline.Record) (pipeline.Verdict, error) {
	if e := r.entries[node]; e != nil {
		of := *e
		of.Facts, of.Environment = rec.Facts, rec.Environment
		return of.judge(r.rules)
	}
	if g := r.shape(); g != nil {
		if n := g.Node(node); n != nil && n.Judge != nil {
			return n.Judge(rec), nil
		}
	}
	return pipeline.Verdict{}, errors.New("the run's spec cannot be read")
}

// notReached lists the points of the spec that the journal does not mention.
func (r *ran) notReached() []string {
	if r.exp == nil || r.imported != nil {
		return nil
	}
	points, err := r.exp.Points()
	if err != nil {
		return nil
	}
	var out []string
	for i := range points {
		if label := pointLabel(points[i].Axes); r.byNode[loadPrefix+label] == nil {
			out = append(out, label)
		}
	}
	return out
}

// store is that of the results folder that the run lies in, else that of
// results. It is nil if neither is there.
func (r *ran) store(results string) *cache.Store {
	beside := filepath.Join(resultsOf(r.dir), runs.StoreDir)
	for _, dir := range []string{beside, filepath.Join(results, runs.StoreDir)} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return cache.At(dir)
		}
	}
	return nil
}

// resultsOf is the results folder that a run's folder lies in, named as the
// run was if that can be.
func resultsOf(dir string) string {
	real := runs.Absolute(dir)
	if followed, err := filepath.EvalSymlinks(real); err == nil {
		real = followed
	}
	real = filepath.Dir(filepath.Dir(real))
	named := filepath.Dir(filepath.Dir(filepath.Clean(dir)))
	a, errA := os.Stat(real)
	b, errB := os.Stat(named)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return named
	}
	return real
}
