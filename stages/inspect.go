package stages

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/stages/analyze"
	"vbp/stages/runs"
)

// Shown is one run as show tells it.
type Shown struct {
	Path     string            `json:"path"`
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Begun    time.Time         `json:"begun"`
	Seconds  float64           `json:"seconds"`
	Command  string            `json:"command"`
	Services []ShownService    `json:"services"`
	Points   []ShownPoint      `json:"points"`
	Left     []ShownLeft       `json:"left"` // points that have no result, for none was tried
	Failures []string          `json:"failures"`
	Figures  []string          `json:"figures"`
	Analysis *analyze.Analysis `json:"analysis"`
}

// ShownService is one start of a deployment.
type ShownService struct {
	Node        string            `json:"node"`
	At          time.Time         `json:"at"`      // when it was up
	Seconds     float64           `json:"seconds"` // that it took to start; 0: not known
	Environment map[string]string `json:"environment"`
	Again       string            `json:"again,omitempty"` // of a restart: "again (1 of 2)"
	Why         string            `json:"why,omitempty"`   // it was started again
}

// ShownPoint is one load point of a run, as it ended.
type ShownPoint struct {
	Node    string             `json:"node"`
	How     string             `json:"how"` // measured, reused, failed, skipped, imported, not finished; with details
	Verdict string             `json:"verdict"`
	Facts   map[string]float64 `json:"facts"`
	Notes   []string           `json:"notes,omitempty"`
	Method  map[string]string  `json:"method,omitempty"` // how it was measured: client, arrivals, prompt_counting

	Attempts    int      `json:"attempts"`               // that stand behind it, of earlier runs too
	Rejected    int      `json:"rejected"`               // of Attempts: not valid
	RejectedFor []string `json:"rejected_for"`           // rules that they broke, each once
	FailedTries []string `json:"failed_tries,omitempty"` // of this run, that left nothing
}

// ShownLeft is why some points have no result though none of them failed.
type ShownLeft struct {
	Why    string   `json:"why"`
	Points []string `json:"points"`
}

// Show reads everything that a run's folder tells of it, and what the store
// beside it tells of earlier attempts.
func Show(dir string) (*Shown, error) {
	r, err := readRan(dir)
	if err != nil {
		return nil, err
	}
	s := &Shown{
		Path: dir, Name: r.name(), State: runs.StateOf(dir), Begun: r.begun, Seconds: r.ended.Sub(r.begun).Seconds(),
		Command: r.command, Services: r.services, Failures: r.failures, Figures: runs.FiguresIn(dir),
	}
	if r.torn {
		s.Failures = append(s.Failures, tornNote)
	}
	var listing *cache.Listing
	if store := r.store(""); store != nil && r.imported == nil {
		listing, _ = store.List() // without it, earlier runs' attempts are not told
	}
	left := make(map[string]int) // why -> index
	leave := func(why, point string) {
		i, ok := left[why]
		if !ok {
			i = len(s.Left)
			left[why] = i
			s.Left = append(s.Left, ShownLeft{Why: why})
		}
		s.Left[i].Points = append(s.Left[i].Points, point)
	}
	for _, o := range r.outcomes {
		if !o.isLoad() {
			continue
		}
		s.Points = append(s.Points, r.showPoint(o, listing))
		if o.state == wasSkipped {
			leave(o.lastWhy(), o.point())
		}
	}
	for _, point := range r.notReached() {
		leave("the run did not come to them, or was not asked for them (--only)", point)
	}
	if a, err := ReadAnalysis(dir); err == nil {
		s.Analysis = a
	}
	return s, nil
}

// showPoint tells what became of a point.
func (r *ran) showPoint(o *outcome, l *cache.Listing) ShownPoint {
	p := ShownPoint{Node: o.point()}
	shown, others := r.attempts(o, l)
	if e := r.entries[o.node]; e != nil && e.Path != "" {
		// What the figures were made from.
		shown = cmp.Or(shown, &Attempt{})
		r.fill(shown, o, pipeline.Record{Facts: e.Facts, Environment: e.Environment, Notes: e.Notes})
		p.Method = e.Method
	}
	if shown != nil {
		p.Verdict, p.Facts, p.Notes = shown.Verdict, shown.Facts, shown.Notes
	}
	r.countAttempts(&p, o, shown, others)
	p.How = howText(o, &p)
	return p
}

// countAttempts counts what stands behind a point: as it was collected, else
// as the store and the journal have it.
func (r *ran) countAttempts(p *ShownPoint, o *outcome, shown *Attempt, others []Attempt) {
	if r.imported != nil {
		return
	}
	reject := func(why string) {
		p.Rejected++
		if !slices.Contains(p.RejectedFor, why) {
			p.RejectedFor = append(p.RejectedFor, why)
		}
	}
	counted := make(map[string]bool)
	count := func(a *Attempt) {
		if a.Created.After(r.ended) || counted[a.Attempt] || shown != nil && shown.For != "" && a.For != "" && a.For != shown.For {
			return // later, or for another experiment
		}
		counted[a.Attempt] = true
		p.Attempts++
		if a.rejected {
			reject(strings.TrimPrefix(a.Verdict, verdictNotValid))
		}
	}
	for i := range others {
		count(&others[i])
	}
	if shown != nil && o.attempt != "" {
		count(shown)
	}
	for _, t := range o.tries {
		switch {
		case t.attempt == "":
			p.FailedTries = append(p.FailedTries, t.failed)
		case !counted[t.attempt]: // it is no longer in the store
			counted[t.attempt] = true
			p.Attempts++
			if t.rejected != "" {
				reject(t.rejected)
			}
		}
	}
	if e := r.entries[o.node]; e != nil && e.Attempts.Total > 0 {
		p.Attempts, p.Rejected = e.Attempts.Total, e.Attempts.Rejected
	}
}

// howText says how a point came to be, and what was tried besides.
func howText(o *outcome, p *ShownPoint) string {
	var parts []string
	switch o.state {
	case wasMeasured:
		text := o.state
		if p.Attempts > 1 {
			text += ", " + ordinal(p.Attempts) + " attempt"
		}
		parts = append(parts, text)
	case wasReused, wasSkipped:
		parts = append(parts, o.state+": "+o.lastWhy())
	default:
		parts = append(parts, o.state)
	}
	if p.Rejected > 0 && (p.Attempts > 1 || o.state != wasMeasured) {
		text := fmt.Sprintf("%d rejected", p.Rejected)
		if len(p.RejectedFor) > 0 {
			text += ": " + strings.Join(p.RejectedFor, "; ")
		}
		parts = append(parts, text)
	}
	if n := len(p.FailedTries); n > 1 || n == 1 && o.state != hasFailed {
		parts = append(parts, fmt.Sprintf("%d failed: %s", n, p.FailedTries[n-1]))
	}
	return strings.Join(parts, "; ")
}

// ordinal is 1st, 2nd, 3rd, 11th.
func ordinal(n int) string {
	suffix := "th"
	switch {
	case n%100/10 == 1:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return fmt.Sprint(n) + suffix
}

// Figures lists the figures of an applied spec, wherever they were put, one
// file of each.
func Figures(a *Applied) []string {
	var out []string
	for i, d := range a.Plan.Decisions {
		if d.Node.Stage != "plot" {
			continue
		}
		art := d.Artefact
		if a.Report != nil {
			art = a.Report.Results[i].Artefact // in the same order
		}
		if art == nil {
			continue
		}
		m, err := art.Manifest()
		if err != nil {
			continue
		}
		var files []string
		for _, f := range m.Files {
			files = append(files, filepath.Join(pipeline.PlaceIn(a.RunDir, d.Node.Place), filepath.FromSlash(f.Name)))
		}
		out = append(out, runs.FiguresOf(files)...)
	}
	return out
}
