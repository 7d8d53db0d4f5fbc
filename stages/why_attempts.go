package stages

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// Attempt is one time that a point was measured, or that a result was made.
type Attempt struct {
	Attempt     string             `json:"attempt"`
	For         string             `json:"for"` // what it was made for: experiment and node
	Created     time.Time          `json:"created"`
	Seconds     float64            `json:"seconds"`
	Verdict     string             `json:"verdict,omitempty"` // of a point: "valid", or "not valid: " and the rule, by the rules of the run
	Rules       []CheckedRule      `json:"rules,omitempty"`   // of the run's spec
	Environment map[string]string  `json:"environment,omitempty"`
	Facts       map[string]float64 `json:"facts,omitempty"`
	Notes       []string           `json:"notes,omitempty"`
	NotShown    string             `json:"not_shown,omitempty"` // why the run does not show it
	Folder      string             `json:"folder,omitempty"`    // in the store; "" if it is no longer there
	Trouble     string             `json:"trouble,omitempty"`   // what is wrong with what is stored
	MadeBy      string             `json:"made_by,omitempty"`   // run that made it
	Runs        []string           `json:"shown_by,omitempty"`  // runs that show it

	rejected bool
	manifest *cache.Manifest
}

// CheckedRule is a rule of the spec and what it was applied to.
type CheckedRule struct {
	Rule   string             `json:"rule"`
	Facts  map[string]float64 `json:"facts"` // that it names, as far as they are known
	Broken string             `json:"broken,omitempty"`
}

// Verdicts begin so.
const (
	verdictValid    = "valid"
	verdictNotValid = "not valid: "
)

// attempts describes what there is of a node: what the run shows, nil if
// nothing, and all else under its key, oldest first.
func (r *ran) attempts(o *outcome, l *cache.Listing) (shown *Attempt, others []Attempt) {
	if l != nil && o.key != "" {
		for _, a := range l.Find(o.key) {
			d := r.describe(o, a)
			if a.Attempt == o.attempt {
				if o.digest != "" && a.Damage == nil && a.Digest != o.digest {
					d.Trouble = "it was made again since, and came out otherwise: " + a.Digest[:12] + ", not " + o.digest[:min(12, len(o.digest))]
				}
				shown = &d
				continue
			}
			others = append(others, d)
		}
	}
	if shown == nil && (o.attempt != "" || o.state == wasImported) {
		shown = r.remembered(o)
		if l != nil {
			shown.Trouble = "it is no longer in the store"
		}
	}
	for i := range others {
		others[i].NotShown = r.notShown(&others[i], shown)
	}
	return shown, others
}

// describe tells of an attempt in the store.
func (r *ran) describe(o *outcome, a *cache.Artefact) Attempt {
	d := Attempt{Attempt: a.Attempt, For: a.Slot, Created: a.Created, Seconds: a.Seconds, Folder: a.Dir}
	if a.Damage != nil {
		d.Trouble = a.Damage.Error()
		d.Created, _ = attemptTime(a.Attempt)
		return d
	}
	rec, err := pipeline.RecordOf(a)
	if err != nil {
		d.Trouble = err.Error()
	}
	r.fill(&d, o, rec)
	return d
}

// fill adds what was observed of a point, and what that is worth.
func (r *ran) fill(d *Attempt, o *outcome, rec pipeline.Record) {
	if !o.isLoad() {
		return
	}
	d.Facts, d.Environment, d.Notes = rec.Facts, rec.Environment, rec.Notes
	if r.imported != nil {
		d.Verdict = verdictValid
		if reason, ok := r.imported.Invalid[o.point()]; ok {
			d.Verdict, d.rejected = verdictNotValid+reason, true
		}
		return
	}
	v, err := r.judge(o.node, rec)
	switch {
	case err != nil:
		d.Verdict = "not known: " + err.Error()
	case v.Usable:
		d.Verdict = verdictValid
	default:
		d.Verdict, d.rejected = verdictNotValid+v.Reason, true
	}
	for _, rule := range r.rules {
		c := CheckedRule{Rule: rule.String(), Facts: make(map[string]float64), Broken: rule.Broken(rec.Facts)}
		for _, name := range rule.Names() {
			if v, ok := rec.Facts[name]; ok {
				c.Facts[name] = v
			}
		}
		d.Rules = append(d.Rules, c)
	}
}

// remembered is what the run's own folder tells of an attempt that is no
// longer in the store.
func (r *ran) remembered(o *outcome) *Attempt {
	d := Attempt{Attempt: o.attempt, Seconds: o.seconds, Created: o.at}
	if o.state != wasImported {
		if t, ok := attemptTime(o.attempt); ok {
			d.Created = t
		} else {
			d.Created = o.at.Add(-time.Duration(o.seconds * float64(time.Second)))
		}
		if o.state == wasReused {
			d.Seconds = 0 // nobody knows any more
		}
	}
	if e := r.entries[o.node]; e != nil && e.Path != "" {
		r.fill(&d, o, pipeline.Record{Facts: e.Facts, Environment: e.Environment, Notes: e.Notes})
	}
	return &d
}

// attemptTime is when an attempt began, which is its name.
func attemptTime(name string) (time.Time, bool) {
	stamp, _, _ := strings.Cut(name, "Z")
	if parts := strings.Split(stamp, "."); len(parts) > 2 { // .2 of two in one instant
		stamp = parts[0] + "." + parts[1]
	}
	t, err := time.Parse("20060102T150405.000000000", stamp)
	return t, err == nil
}

// notShown says why the run does not show an attempt.
func (r *ran) notShown(a, shown *Attempt) string {
	age := r.begun.Sub(a.Created)
	switch {
	case a.Trouble != "":
		return "damaged: " + a.Trouble
	case a.Created.After(r.ended):
		why := "made after this run"
		if a.rejected {
			why += ", and rejected: " + strings.TrimPrefix(a.Verdict, verdictNotValid)
		}
		return why
	case a.rejected:
		return "rejected: " + strings.TrimPrefix(a.Verdict, verdictNotValid)
	case r.exp != nil && r.exp.Reuse.MaxAge > 0 && age > r.exp.Reuse.MaxAge:
		return fmt.Sprintf("too old: measured %s before the run, and reuse.max_age is %s", age.Round(time.Second), r.exp.Reuse.MaxAge)
	}
	if shown != nil {
		if diff := pipeline.EnvironmentDiff(a.Environment, shown.Environment); diff != "" {
			return "another environment: " + diff
		}
	}
	switch {
	case shown == nil:
		return "the run shows none: see above"
	case a.Created.Before(shown.Created):
		return "older"
	case a.For != shown.For:
		return "made for another: " + a.For
	case a.Created.After(r.begun):
		return "made while this run had decided already"
	}
	return "not known: it was there when the run began, and is newer; what was chosen is told above"
}

// attemptID names an attempt of any key.
type attemptID struct {
	key     cache.Key
	attempt string
}

// use is which runs made and which show an attempt.
type use struct {
	madeBy string
	runs   []string
}

// usesIn looks through the journals of a results folder for runs that show
// what lies under some keys.
func usesIn(results string, keys map[cache.Key]bool) map[attemptID]use {
	out := make(map[attemptID]use)
	dirs, _ := runs.Below(results)
	for _, dir := range dirs {
		path := filepath.Join(dir, history.FileName)
		if !mentions(path, keys) {
			continue
		}
		records, _, err := history.Read(path)
		if err != nil {
			continue // it is another run's, and told there
		}
		var other ran
		other.read(records)
		for _, o := range other.outcomes {
			if !keys[o.key] {
				continue
			}
			made := func(attempt string) {
				id := attemptID{o.key, attempt}
				u := out[id]
				u.madeBy = dir
				out[id] = u
			}
			for _, t := range o.tries {
				if t.attempt != "" {
					made(t.attempt)
				}
			}
			if o.attempt == "" {
				continue
			}
			if o.state == wasMade {
				made(o.attempt)
			}
			id := attemptID{o.key, o.attempt}
			u := out[id]
			if !slices.Contains(u.runs, dir) { // twins have one key
				u.runs = append(u.runs, dir)
			}
			out[id] = u
		}
	}
	return out
}

// mentions reports whether a journal may be about some of keys, without taking
// it apart: most are about others. Of many keys nearly every journal is.
func mentions(path string, keys map[cache.Key]bool) bool {
	const few = 20
	if len(keys) > few {
		return true
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	text := string(data)
	return slices.ContainsFunc(slices.Collect(maps.Keys(keys)), func(k cache.Key) bool { return strings.Contains(text, string(k)) })
}
