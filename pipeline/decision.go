package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

	// What the store held when it was listed; nil: look each time.
	keys  map[cache.Key]bool
	slots map[string]bool

	// observed says that o.Environment is the whole of what a running service
	// shows, so that what is missing in it counts as well.
	observed bool
	// check says that whatever is chosen is read before it is.
	check bool
	read  map[string]error // artefact's folder -> nil or what is wrong with its content

	known map[*Node]identity     // of measurements, which need nothing for it
	twins map[cache.Key][]string // keys that several nodes have -> their slots
	taken map[string]bool        // artefact's folder: a twin shows it in this pass
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

// decide fills in d: Reuse with an artefact, or Run, and why.
func (pl *planner) decide(d *Decision, needs []need) error {
	n := d.Node
	k, ok := pl.known[n]
	if !ok {
		var err error
		if k, err = identify(n, needs); err != nil {
			return err
		}
	}
	key, behind := k.key, k.behind
	d.Key, d.Action, d.Artefact, d.Why, d.behind = key, Run, nil, "", behind
	if pl.keys == nil || pl.keys[key] {
		attempts, err := pl.store.Find(key)
		if err != nil {
			return err
		}
		if err := pl.choose(d, attempts); err != nil {
			return err
		}
		if d.Why != "" {
			return nil
		}
	}
	var err error
	d.Why, err = pl.changed(n, behind)
	return err
}

// identity is a key and the value that it is the hash of.
type identity struct {
	key    cache.Key
	behind json.RawMessage
}

func identify(n *Node, needs []need) (identity, error) {
	key, behind, err := keyed{Stage: n.Stage, Input: n.Input.JSON(), Needs: needs}.key()
	if err != nil {
		return identity{}, fmt.Errorf("%s: %w", n.ID, err)
	}
	return identity{key, behind}, nil
}

// changed says how the value behind n's key differs from the one whose result
// was made last.
func (pl *planner) changed(n *Node, behind json.RawMessage) (string, error) {
	slot := pl.g.slot(n)
	if pl.slots != nil && !pl.slots[cache.SlotName(slot)] {
		return NotDoneYet, nil
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
	if why := difference(last.Input, behind); why != "" {
		return why, nil
	}
	return cache.ErrGone.Error(), nil
}

// choose takes the latest attempt that may be reused, of those that candidates
// leaves. If there are attempts and none may be reused, d.Why says what is
// wrong with the latest.
func (pl *planner) choose(d *Decision, attempts []*cache.Artefact) error {
	attempts, err := pl.candidates(d, attempts)
	if err != nil {
		return err
	}
	latest := ""
	for i := len(attempts) - 1; i >= 0; i-- {
		a := attempts[i]
		why, against := pl.against(d.Node, a)
		if !against {
			d.Action, d.Artefact, d.Why, d.behind = Reuse, a, why, nil
			if latest != "" {
				d.Why += " (a later attempt: " + latest + ")"
			}
			if pl.twins[d.Key] != nil {
				pl.taken[a.Dir] = true
			}
			return nil
		}
		if latest == "" {
			latest = why
		}
		if d.Artefact == nil && a.Damage == nil {
			d.Artefact = a
		}
	}
	if strings.HasPrefix(latest, notUsable) {
		latest = "the last attempt is " + latest
	}
	d.Why = latest
	return nil
}

const notUsable = "not usable: "

// against says why a cannot be reused for n, or, if nothing is against it,
// why it can.
func (pl *planner) against(n *Node, a *cache.Artefact) (why string, against bool) {
	if err := pl.sound(a); err != nil {
		return err.Error(), true
	}
	if n.Kind == Pure {
		return "same inputs", false
	}
	rec, err := RecordOf(a)
	if err != nil {
		return err.Error(), true
	}
	if n.Judge != nil {
		if v := n.Judge(rec); !v.Usable {
			return notUsable + v.Reason, true
		}
	}
	if s := pl.g.service(pl.g.index[n.ID]); s >= 0 {
		if live, known := pl.o.Environment[pl.g.Nodes[s].ID]; known {
			if diff := environmentDiff(rec.Environment, live, pl.observed); diff != "" {
				return "the environment differs: " + diff, true
			}
		}
	}
	return "measured " + provenance(rec, a, pl.o.Now), false
}

func (pl *planner) sound(a *cache.Artefact) error {
	if pl.check {
		return a.Verify()
	}
	if err := pl.read[a.Dir]; err != nil {
		return err
	}
	return a.CheckSizes()
}

// provenance says under what and when something was measured.
func provenance(r Record, a *cache.Artefact, now time.Time) string {
	where := ""
	if v := r.Environment["engine_version"]; v != "" {
		where = "under " + v + ", "
	}
	return where + ago(now.Sub(a.Created))
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
