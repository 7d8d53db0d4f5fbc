package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"vbp/pipeline/cache"
)

// NotDoneYet is why a node runs that never did.
const NotDoneYet = "not done yet"

// planner decides about single nodes by what the store holds.
type planner struct {
	g     *Graph
	store *cache.Store
	o     PlanOptions

	listing *cache.Listing // what the store held when it was listed; nil: look each time
	slots   func() (map[string]bool, error)

	// observed says that o.Environment is the whole of what a running service
	// shows, so that what is missing in it counts as well.
	observed bool
	// check says that whatever is chosen is read before it is.
	check   bool
	checked *cache.Artefact  // the last that was, and is sound
	read    map[string]error // artefact's folder -> nil or what is wrong with its content

	keys  []cache.Key            // of measurements, which need nothing for it; "" for other nodes
	twins map[cache.Key][]string // keys that several nodes have -> their slots
	taken map[string]bool        // artefact's folder: a twin shows it in this pass

	first   map[cache.Key]int // the first measurement of each key
	reasons map[provenance]string
}

// verify reads artefacts that were not read yet and reports whether all of
// them are what was written.
func (pl *planner) verify(artefacts []*cache.Artefact) bool {
	sound := true
	for _, a := range artefacts {
		if err, done := pl.read[a.Dir]; done {
			sound = sound && err == nil
			continue
		}
		err := a.Verify()
		pl.read[a.Dir] = err
		sound = sound && err == nil
	}
	return sound
}

// present reports whether the files of artefacts that were not read yet are
// there, in their sizes.
func (pl *planner) present(artefacts []*cache.Artefact) bool {
	all := true
	for _, a := range artefacts {
		if _, done := pl.read[a.Dir]; done {
			continue
		}
		if err := a.CheckSizes(); err != nil {
			pl.read[a.Dir] = err
			all = false
		}
	}
	return all
}

// decide fills in d, about node i: Reuse with an artefact, or Run, and why.
func (pl *planner) decide(d *Decision, i int, needs []need) error {
	n := d.Node
	key := d.Key
	if pl.keys != nil && pl.keys[i] != "" {
		key = pl.keys[i]
	} else if n.Kind == Pure || key == "" {
		var err error
		if key, err = keyOf(n, needs); err != nil {
			return err
		}
	}
	*d = Decision{Node: n, Action: Run, Key: key, needs: needs}
	attempts, err := pl.find(key)
	if err != nil {
		return err
	}
	if len(attempts) > 0 {
		if err := pl.choose(d, attempts); err != nil {
			return err
		}
	}
	switch {
	case pl.o.rerun(n):
		if d.Action == Reuse && !pl.o.RerunSince.IsZero() && d.Artefact.Created.After(pl.o.RerunSince) {
			d.Why += ", again as asked for"
		} else if d.Action == Reuse || d.Why == "" {
			d.Action, d.Why = Run, "to be made again, as asked for"
		}
	case d.Why == "":
		d.Why, err = pl.changed(n, needs)
	}
	if d.Action == Run && pl.o.leavesOut(n) {
		d.Action, d.Why = Skip, "left out, as asked for ("+d.Why+")"
	}
	return err
}

// find lists the attempts under a key.
func (pl *planner) find(k cache.Key) ([]*cache.Artefact, error) {
	if pl.listing != nil {
		return pl.listing.Find(k), nil
	}
	return pl.store.Find(k)
}

// changed says how the value behind n's key differs from the one whose result
// was made last.
func (pl *planner) changed(n *Node, needs []need) (string, error) {
	slot := pl.g.slot(n)
	if pl.slots != nil {
		if some, err := pl.slots(); err != nil || len(some) == 0 || !some[cache.SlotName(slot)] {
			return NotDoneYet, err
		}
	}
	last, err := pl.store.Last(slot)
	switch {
	case errors.Is(err, cache.ErrDamaged), errors.Is(err, cache.ErrGone):
		return err.Error(), nil
	case err != nil:
		return "", err
	case last == nil:
		return NotDoneYet, nil
	}
	m, err := last.Manifest()
	if err != nil {
		return err.Error(), nil
	}
	behind, err := valueOf(n, needs)
	if err != nil {
		return "", err
	}
	if why := difference(m.Input, behind); why != "" {
		return why, nil
	}
	return cache.ErrGone.Error(), nil
}

// choose takes the latest attempt that may be reused, of those that candidates
// leaves. If there are attempts and none may be reused, d.Why says what is
// wrong with the latest.
func (pl *planner) choose(d *Decision, attempts []*cache.Artefact) error {
	d.seen = attempts
	attempts, err := pl.candidates(d, slices.Clone(attempts))
	if err != nil {
		return err
	}
	var rejected []*cache.Artefact
	latest, chosen := "", false
	for i := len(attempts) - 1; i >= 0; i-- {
		a := attempts[i]
		if err := pl.sound(a); err != nil && !cache.Lost(err) {
			return fmt.Errorf("%s: %w", d.Node.ID, err)
		}
		why, ok := pl.against(d.Node, a)
		if why.rejected {
			rejected = append(rejected, a)
		}
		if pl.g.isSlot(d.Node, a.Slot) {
			d.own.add(why.rejected)
		}
		switch {
		case chosen:
		case ok:
			chosen = true
			d.Action, d.Artefact, d.Why = Reuse, a, why.text
			d.Verdict.Usable = d.Node.Kind == Measurement
			if latest != "" {
				d.Why += " (a later attempt: " + latest + ")"
			}
			if pl.twins[d.Key] != nil {
				pl.taken[a.Dir] = true
			}
		case latest == "":
			latest = why.text
		}
		if d.Artefact == nil && a.Damage == nil {
			d.Artefact = a
		}
	}
	switch {
	case d.Node.Kind != Measurement:
		d.own = Attempts{}
	case d.own.Total > 0:
		d.Attempts = d.own
	case d.Artefact != nil:
		for _, a := range attempts {
			if a.Slot == d.Artefact.Slot {
				d.Attempts.add(slices.Contains(rejected, a))
			}
		}
	}
	if chosen {
		return nil
	}
	if strings.HasPrefix(latest, notUsable) {
		latest = "the last attempt is " + latest
	}
	d.Why = latest
	return nil
}

const notUsable = "not usable: "

// reason is why an attempt can be reused, or why not.
type reason struct {
	text     string
	rejected bool // by Node.Judge
}

// against says why a cannot be reused for n, or, if it can, since when it is
// there.
func (pl *planner) against(n *Node, a *cache.Artefact) (why reason, ok bool) {
	if err := pl.sound(a); err != nil {
		return reason{text: err.Error()}, false
	}
	if n.Kind == Pure {
		return reason{text: "same inputs"}, true
	}
	j, seen := a.Seen.(*judged)
	if !seen {
		rec, err := RecordOf(a)
		one := judge(n, rec, err)
		j = &one
	}
	if j.err != nil {
		return reason{text: j.err.Error()}, false
	}
	if !j.verdict.Usable {
		return reason{notUsable + j.verdict.Reason, true}, false
	}
	if age := pl.o.Now.Sub(a.Created); age < -time.Hour {
		return reason{text: fmt.Sprintf("measured %s after now, by this machine's clock", ageText(-age.Truncate(time.Minute)))}, false
	}
	if n.MaxAge > 0 && pl.o.Now.Sub(a.Created) > n.MaxAge {
		return reason{text: fmt.Sprintf("measured %s, and only what is younger than %s is reused", ago(pl.o.Now.Sub(a.Created)), ageText(n.MaxAge))}, false
	}
	if s := pl.g.service(pl.g.index[n.ID]); s >= 0 && len(pl.o.Environment) > 0 {
		if live, known := pl.o.Environment[pl.g.Nodes[s].ID]; known {
			if diff := environmentDiff(j.environment, live, pl.observed); diff != "" {
				return reason{text: "the environment differs: " + diff}, false
			}
		}
	}
	return reason{text: pl.measured(j.environment, a)}, true
}

// judged is what a plan keeps of an artefact's record.
type judged struct {
	verdict     Verdict
	environment map[string]string
	err         error // the record cannot be read
}

func judge(n *Node, rec Record, err error) judged {
	j := judged{verdict: Verdict{Usable: true}, environment: rec.Environment, err: err}
	if n.Judge != nil && err == nil {
		j.verdict = n.Judge(rec)
	}
	return j
}

// same reports whether two records are alike, in one environment that was read
// once.
func (j *judged) same(k *judged) bool {
	return j.err == nil && k.err == nil && j.verdict == k.verdict && len(j.environment) == len(k.environment) &&
		reflect.ValueOf(j.environment).Pointer() == reflect.ValueOf(k.environment).Pointer()
}

// sound says what is wrong with a's content, as far as that was looked at: a
// plan of 100,000 points touches no file of theirs.
func (pl *planner) sound(a *cache.Artefact) error {
	switch {
	case a.Damage != nil:
		return a.Damage
	case pl.check && a != pl.checked:
		if err := a.Verify(); err != nil {
			return err
		}
		pl.checked = a
	}
	return pl.read[a.Dir]
}

// provenance is under what and how long ago something was measured.
type provenance struct{ version, ago string }

func provenanceOf(environment map[string]string, a *cache.Artefact, now time.Time) provenance {
	return provenance{environment["engine_version"], ago(now.Sub(a.Created))}
}

func (p provenance) String() string {
	if p.version != "" {
		return "measured under " + p.version + ", " + p.ago
	}
	return "measured " + p.ago
}

// measured says under what and how long ago a was measured: of 100,000 points,
// in few texts.
func (pl *planner) measured(environment map[string]string, a *cache.Artefact) string {
	p := provenanceOf(environment, a, pl.o.Now)
	text, known := pl.reasons[p]
	if !known {
		if text = p.String(); pl.reasons != nil {
			pl.reasons[p] = text
		}
	}
	return text
}

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}

// ageText prints an age as a spec would have it.
func ageText(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// environmentDiff names what differs between the environment in which
// something was measured and a live one; "" if nothing does. Unless live is
// the whole of it, only what is in it counts.
func environmentDiff(measured, live map[string]string, whole bool) string {
	all := maps.Clone(live)
	if all == nil {
		all = make(map[string]string)
	}
	if whole {
		maps.Copy(all, measured)
	}
	var diffs []string
	for _, k := range sortedNames(all) {
		if was, is := measured[k], live[k]; was != is {
			was, is = shortenPair(orNone(was), orNone(is))
			diffs = append(diffs, fmt.Sprintf("%s: %s -> %s", k, was, is))
		}
	}
	return strings.Join(diffs, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
