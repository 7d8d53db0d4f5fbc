package analyze

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"vbp/stages/sample"
)

// Window is the part of each point whose requests count, so that neither its
// ramp-up nor its drain does. A request lies in it if the instant for which it
// was scheduled does, or, where no schedule is known, the instant at which it
// was sent: a slow server moves no request out of it. The edges are relative
// to the first such instant of the point, From is part of the window and To is
// not, so that two windows that share an edge share no request.
//
// The zero value is the whole point.
type Window struct {
	From Edge `json:"from,omitzero"`
	To   Edge `json:"to,omitzero"`
}

// Edge is one end of a Window: a time after the point's first instant, or a
// share of the span from the first to the last. The share 1 is the end of the
// point, its last request included. One that is not Set is the end of the
// point on its side.
type Edge struct {
	At    time.Duration // not negative
	Share float64       // in [0, 1]; At is 0 then
	Set   bool
}

// ErrNoInstant is wrapped by the errors of points that a window cannot be laid
// on, since nothing says when their requests were due or sent.
var ErrNoInstant = errors.New("nothing says when they were due or sent")

var (
	_ encoding.TextMarshaler   = Edge{}
	_ encoding.TextUnmarshaler = (*Edge)(nil)
)

// ParseWindow reads FROM..TO as people write it: 30s..90%, 10%.., ..2m. An
// edge is a duration or a percentage, and may be left out; "all" is the whole
// point.
func ParseWindow(text string) (Window, error) {
	var w Window
	if strings.TrimSpace(text) == "all" {
		return w, nil
	}
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return w, fmt.Errorf("a window is FROM..TO, such as 30s..90%%, or all, not %q", text)
	}
	for _, e := range []struct {
		text string
		edge *Edge
	}{{from, &w.From}, {to, &w.To}} {
		if err := e.edge.UnmarshalText([]byte(strings.TrimSpace(e.text))); err != nil {
			return Window{}, fmt.Errorf("window %q: %w", text, err)
		}
	}
	if err := w.Check(); err != nil {
		return Window{}, err
	}
	return w, nil
}

// Check tells of edges that make no sense, and of a window that can hold no
// request.
func (w Window) Check() error {
	for _, e := range []struct {
		name string
		Edge
	}{{"from", w.From}, {"to", w.To}} {
		switch {
		case e.At < 0:
			return fmt.Errorf("the window's %s is %v: give a time after the point's first request, not before it", e.name, e.At)
		case !(e.Share >= 0 && e.Share <= 1):
			return fmt.Errorf("the window's %s is %v of the schedule: give a share from 0 to 1", e.name, e.Share)
		case e.At != 0 && e.Share != 0:
			return fmt.Errorf("the window's %s is both %v and %v of the schedule: give one of the two", e.name, e.At, e.Share)
		}
	}
	empty := w.To.Set && w.To.At == 0 && w.To.Share == 0
	if w.From.Set && w.To.Set {
		switch {
		case w.From.At == 0 && w.To.At == 0: // both shares, or the start
			empty = w.From.Share >= w.To.Share
		case w.From.Share == 0 && w.To.Share == 0: // both times
			empty = w.From.At >= w.To.At
		}
	}
	if empty || w.From.Set && w.From.Share == 1 {
		return fmt.Errorf("the window %s holds no request: let it end after it begins", w)
	}
	return nil
}

// IsZero reports whether the window is every point as a whole.
func (w Window) IsZero() bool { return !w.From.Set && !w.To.Set }

// String writes the window as ParseWindow reads it.
func (w Window) String() string {
	if w.IsZero() {
		return "all"
	}
	return w.From.String() + ".." + w.To.String()
}

// String is 1m30s, 90%, or, if the edge is not set, "".
func (e Edge) String() string {
	switch {
	case !e.Set:
		return ""
	case e.Share != 0:
		// The rounding takes back what the product adds to 0.07.
		return strconv.FormatFloat(math.Round(e.Share*1e14)/1e12, 'f', -1, 64) + "%"
	}
	return e.At.String()
}

// MarshalText implements encoding.TextMarshaler.
func (e Edge) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a duration or a percentage; no text is an edge that is
// not set.
func (e *Edge) UnmarshalText(text []byte) error {
	s := string(text)
	*e = Edge{}
	if s == "" {
		return nil
	}
	out := Edge{Set: true}
	var err error
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		// Shifting the decimal point in the text keeps 99.9% exactly 0.999.
		out.Share, err = strconv.ParseFloat(strings.TrimSpace(percent)+"e-2", 64)
		if err == nil && !(out.Share >= 0 && out.Share <= 1) {
			return fmt.Errorf("%q is not from 0%% to 100%%", s)
		}
	} else {
		out.At, err = time.ParseDuration(s)
		if err == nil && out.At < 0 {
			return fmt.Errorf("%q lies before the point's first request", s)
		}
	}
	if err != nil {
		return fmt.Errorf("%q is neither a duration such as 30s nor a share such as 10%%", s)
	}
	*e = out
	return nil
}

// instant is when request i was due, else when it was sent; Absent if neither
// is known.
func instant(t *sample.Table, i int) int64 {
	if t.Scheduled[i] != sample.Absent {
		return t.Scheduled[i]
	}
	return t.Sent[i]
}

// on lays the window on the rows of a point.
func (w Window) on(t *sample.Table) (counted, error) {
	c := counted{Table: t, n: t.Len(), whole: true}
	if w.IsZero() || t.Len() == 0 {
		return c, nil
	}
	first, last, unknown := int64(math.MaxInt64), int64(math.MinInt64), 0
	for i := range t.Len() {
		at := instant(t, i)
		if at == sample.Absent {
			unknown++
			continue
		}
		first, last = min(first, at), max(last, at)
	}
	if unknown > 0 {
		return c, fmt.Errorf("a window was asked for, but of %d of the %d requests %w: leave the window out, or give results that record it", unknown, t.Len(), ErrNoInstant)
	}
	c.whole, c.from, c.to = false, math.MinInt64, math.MaxInt64
	if w.From.Set {
		c.from = w.From.after(first, last)
	}
	if w.To.Set && w.To.Share < 1 {
		c.to = w.To.after(first, last)
	}
	c.n = 0
	for i := range t.Len() {
		if c.has(i) {
			c.n++
		}
	}
	return c, nil
}

// after is the instant of the edge in a point whose instants are from first to
// last.
func (e Edge) after(first, last int64) int64 {
	at := int64(e.At)
	if e.Share != 0 {
		at = int64(math.Round(e.Share * float64(last-first)))
	}
	if at > math.MaxInt64-max(first, 0) {
		return math.MaxInt64
	}
	return first + at
}

// counted is the rows of a point that lie in the window.
type counted struct {
	*sample.Table
	n        int   // that do
	from, to int64 // ns: instants of [from, to)
	whole    bool  // all do, whatever their instants
}

// has reports whether request i is one of them.
func (c *counted) has(i int) bool {
	if c.whole {
		return true
	}
	at := instant(c.Table, i)
	return c.from <= at && at < c.to
}

// leftOut is how many requests do not count.
func (c *counted) leftOut() int { return c.Len() - c.n }

// WindowLine says in a sentence which requests count and how many do not; ""
// if all do because nothing else was asked.
func (a *Analysis) WindowLine() string {
	if a.Windowed == nil {
		return ""
	}
	return fmt.Sprintf("Window %s of each point's schedule: %d of %d requests were due outside it and do not count.", a.Window, a.Windowed.LeftOut, a.Windowed.Sent)
}
