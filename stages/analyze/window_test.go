package analyze

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vbp/stages/sample"
)

// due is a request that was due and sent at so many seconds and answered in a
// second with ten tokens.
func due(at float64) sample.Outcome {
	o := request(sample.OK, 0.1, 0.1, 10)
	o.Scheduled = int64(at * 1e9)
	o.Sent, o.E2E = o.Scheduled, 1
	return o
}

// dueAt is a point of requests that were due at so many seconds.
func dueAt(rate float64, instants ...float64) Point {
	p := at("simple", rate, 0, 0, 0)
	for _, at := range instants {
		p.Table.Append(due(at))
	}
	return p
}

func window(t *testing.T, text string) Window {
	t.Helper()
	w, err := ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindowsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Window{
		"30s..90%":    {Edge{At: 30 * time.Second, Set: true}, Edge{Share: 0.9, Set: true}},
		"7%..":        {From: Edge{Share: 0.07, Set: true}},
		"..1m30s":     {To: Edge{At: 90 * time.Second, Set: true}},
		"0s..0.1%":    {Edge{Set: true}, Edge{Share: 0.001, Set: true}},
		" 5% .. 50% ": {Edge{Share: 0.05, Set: true}, Edge{Share: 0.5, Set: true}},
		"99.9%..":     {From: Edge{Share: 0.999, Set: true}},
		"all":         {},
		"..":          {},
	} {
		got, err := ParseWindow(text)
		if err != nil || got != want {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
		if again, err := ParseWindow(got.String()); err != nil || again != want {
			t.Errorf("%q is written as %q and read back as %+v, %v", text, got, again, err)
		}
	}
	for text, want := range map[string]string{
		"30s":      "FROM..TO",
		"":         "FROM..TO",
		"a..b":     `"a" is neither`,
		"30..60":   `"30" is neither`,
		"-1s..":    "before the point's first",
		"..101%":   "not from 0% to 100%",
		"NaN%..":   "is neither",
		"1s..1s":   "holds no request",
		"1e3%..":   "is neither",
		"2m..1m":   "holds no request",
		"9%..9%":   "holds no request",
		"100%..":   "holds no request",
		"..0%":     "holds no request",
		"1s..2s..": "neither",
	} {
		if w, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, w, err, want)
		}
	}
	for _, w := range []Window{
		{From: Edge{At: -1, Set: true}},
		{To: Edge{Share: math.NaN(), Set: true}},
		{To: Edge{Share: 1.5, Set: true}},
		{To: Edge{At: 1, Share: 0.5, Set: true}},
	} {
		p := params()
		p.Window = w
		if _, err := Analyze([]Point{dueAt(1, 0)}, p); err == nil || !strings.Contains(err.Error(), "window") {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// Which requests count, worked out by hand: eleven, one a second, the first of
// them at 2 s.
func TestTheWindowIsRelativeToTheFirstRequest(t *testing.T) {
	var seconds []float64
	for i := range 11 {
		seconds = append(seconds, 2+float64(i))
	}
	for text, want := range map[string]string{
		"all":        "2 3 4 5 6 7 8 9 10 11 12",
		"0s..":       "2 3 4 5 6 7 8 9 10 11 12",
		"..100%":     "2 3 4 5 6 7 8 9 10 11 12", // the end is in it
		"..10s":      "2 3 4 5 6 7 8 9 10 11",
		"20%..90%":   "4 5 6 7 8 9 10",
		"2s..9s":     "4 5 6 7 8 9 10",
		"2500ms..":   "5 6 7 8 9 10 11 12",
		"8s..90%":    "10",
		"99%..":      "12",
		"1h..":       "",
		"9s..5%":     "", // which only the point's length tells
		"..2540400h": "2 3 4 5 6 7 8 9 10 11 12",
	} {
		p := dueAt(1, seconds...)
		c, err := window(t, text).on(p.Table)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range c.Len() {
			if c.has(i) {
				got = append(got, fmt.Sprint(seconds[i]))
			}
		}
		if strings.Join(got, " ") != want || c.n != len(got) || c.leftOut() != 11-len(got) {
			t.Errorf("%s: %v (%d, %d left out), want %s", text, got, c.n, c.leftOut(), want)
		}
	}
}

// An analysis of a window is the analysis of a table that holds nothing else,
// and the table itself is left as it was.
func TestAllThatIsAnalyzedIsOfTheWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first := rapid.Int64Range(-5, 5).Draw(rt, "first") * 1e9
		var all []Point
		var inside []Point
		left := 0
		from, length := rapid.Int64Range(0, 6).Draw(rt, "from"), rapid.Int64Range(1, 6).Draw(rt, "length")
		for repeat := range rapid.IntRange(1, 3).Draw(rt, "repeats") {
			p, q := at("simple", 2, repeat, 0, 0), at("simple", 2, repeat, 0, 0)
			for i := range rapid.Int64Range(1, 20).Draw(rt, "requests") {
				after := rapid.Int64Range(0, 10).Draw(rt, "after")
				if i == 0 {
					after = 0
				}
				o := due(float64(first+after*1e9) / 1e9)
				o.TTFT, o.TPOT = rapid.SampledFrom([]float64{0.05, 0.1, 0.2}).Draw(rt, "ttft"), rapid.SampledFrom([]float64{0.05, 0.1, 0.2}).Draw(rt, "tpot")
				o.E2E = rapid.Float64Range(0, 5).Draw(rt, "e2e")
				o.Sent += rapid.Int64Range(0, 3).Draw(rt, "late") * 1e9
				if rapid.Bool().Draw(rt, "failed") {
					o.Outcome, o.Error, o.E2E = sample.Timeout, fmt.Sprint("request ", i), math.NaN()
				}
				if rapid.Bool().Draw(rt, "foreign") {
					o.Sent, o.Scheduled = o.Scheduled, sample.Absent
				}
				p.Table.Append(o)
				if after >= from && after < from+length {
					q.Table.Append(o)
				} else {
					left++
				}
			}
			all, inside = append(all, p), append(inside, q)
		}
		before := fmt.Sprintf("%+v", all[0].Table)
		p := params()
		want, err := Analyze(inside, p)
		if err != nil {
			rt.Fatal(err)
		}
		p.Window = Window{Edge{At: time.Duration(from) * time.Second, Set: true}, Edge{At: time.Duration(from+length) * time.Second, Set: true}}
		got, err := Analyze(all, p)
		if err != nil {
			rt.Fatal(err)
		}
		if fmt.Sprintf("%+v", all[0].Table) != before {
			rt.Fatal("the samples were changed")
		}
		seen := 0
		for i := range got.Counts {
			seen += got.Counts[i].LeftOut
			got.Counts[i].LeftOut = 0
		}
		if seen != left {
			rt.Fatalf("%d left out, want %d", seen, left)
		}
		if !reflect.DeepEqual(got.Counts, want.Counts) {
			rt.Fatalf("counts %+v, want %+v", got.Counts, want.Counts)
		}
		// What of the two must differ: the window itself, how many it leaves
		// out, and why there is nothing in it.
		text := func(a *Analysis) string {
			for i := range a.Series {
				for j := range a.Series[i].Rates {
					r := &a.Series[i].Rates[j]
					r.LeftOut = 0
					for k := range r.Each {
						r.Each[k].LeftOut, r.Each[k].Reason = 0, ""
					}
				}
			}
			a.Window, a.Windowed, a.Warnings = Window{}, nil, nil
			var b bytes.Buffer
			if err := a.WriteJSON(&b); err != nil {
				rt.Fatal(err)
			}
			return b.String()
		}
		if a, b := text(got), text(want); a != b {
			rt.Fatalf("got %s\nwant %s", a, b)
		}
	})
}

// Output tokens per second are not those of the whole point's length.
func TestTheRateOfAWindowIsOfItsOwnSpan(t *testing.T) {
	p := dueAt(1, 0, 1, 2, 3, 4)
	p.Table.Meta.Length = 100 // of which the client was idle most
	q := params()
	for text, want := range map[string]float64{
		"all":     0.5, // 50 tokens in 100 s
		"..100%":  0.5, // a window that leaves nothing out changes nothing
		"1s..4s":  10,  // 30 tokens from 1 s to 4 s
		"50%..":   10,
		"..500ms": 10,
	} {
		q.Window = window(t, text)
		if got := analyze(t, q, p).Series[0].Rates[0].OutputTokens; got == nil || *got != want {
			t.Errorf("%s: %v tokens/s, want %v", text, *got, want)
		}
	}
}

func TestARateWithNothingInTheWindowIsNotMeasured(t *testing.T) {
	p := params()
	p.Window = window(t, "1m..")
	a := analyze(t, p, dueAt(1, 0, 60, 120), dueAt(2, 0, 30))
	s := a.Series[0]
	if len(s.Rates) != 1 || s.Rates[0].Sent != 2 || s.Rates[0].LeftOut != 1 || s.Rates[0].Each[0].LeftOut != 1 || !slices.Equal(s.Missing, []float64{2}) {
		t.Fatalf("got %+v", s)
	}
	warned(t, a, "not measured at rate 2", "none of its 2 requests lies in the window")
	if want := []Count{{Sent: 2, LeftOut: 1}, {LeftOut: 2}}; !slices.Equal(a.Counts, want) {
		t.Errorf("counts %+v, want %+v", a.Counts, want)
	}
	if got, want := a.WindowLine(), "Window 1m0s.. of each point's schedule: 3 of 5 requests were due outside it and do not count."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var b bytes.Buffer
	if err := a.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(squeeze(b.String()), `"window":{"from":"1m0s"}`) {
		t.Errorf("the window is not in %s", b.String())
	}
	if back, err := ReadJSON(&b); err != nil || back.Window != p.Window || back.Series[0].Rates[0].LeftOut != 1 {
		t.Errorf("read back as %+v, %v", back, err)
	}
	if line := analyze(t, params(), dueAt(1, 0)).WindowLine(); line != "" {
		t.Errorf("without a window: %q", line)
	}
}

// Requests of others' files have no schedule, and some not even the time at
// which they were sent.
func TestAWindowNeedsInstants(t *testing.T) {
	sent := at("simple", 1, 0, 0, 0)
	for i := range 4 {
		o := due(float64(i))
		o.Scheduled = sample.Absent
		sent.Table.Append(o)
	}
	p := params()
	p.Window = window(t, "1s..")
	if r := analyze(t, p, sent).Series[0].Rates[0]; r.Sent != 3 || r.LeftOut != 1 {
		t.Errorf("by the time of sending: %+v", r)
	}
	sent.Table.Sent[2] = sample.Absent
	_, err := Analyze([]Point{sent}, p)
	if !errors.Is(err, ErrNoInstant) || !strings.Contains(err.Error(), "mode=simple qps=1 repeat=0: ") || !strings.Contains(err.Error(), "1 of the 4 requests") {
		t.Errorf("got %v", err)
	}
	if a := analyze(t, params(), sent); a.Series[0].Rates[0].Sent != 4 {
		t.Errorf("without a window: %+v", a.Series[0])
	}
}

// Points whose rows are read when they are scored give what tables give, are
// read once, one at a time, and not at all if there is nothing to read.
func TestRowsAreReadWhenTheyAreScored(t *testing.T) {
	points := []Point{
		at("simple", 2, 1, 6, 4), at("simple", 1, 0, 9, 1), invalid(at("simple", 2, 0, 3, 7), "slow"), at("nixl", 2, 0, 5, 5),
		{Table: at("nixl", 3, 0, 0, 0).Table, Missing: true},
	}
	points[0].Table.Append(request(sample.Timeout, math.NaN(), math.NaN(), sample.Absent))
	points[0].Table.Error[10] = "no answer"
	want := analyze(t, params(), points...)
	if c := want.Counts[0]; c != (Count{Sent: 11, Failed: 1, Outcome: sample.Timeout, Error: "no answer"}) {
		t.Errorf("count %+v", c)
	}

	var lazy []Point
	reads := make([]int, len(points))
	for i, p := range points {
		rows := *p.Table
		rows.Meta = sample.Meta{Rate: 77} // not looked at
		p.Table = &sample.Table{Meta: p.Table.Meta}
		p.Read = func() (*sample.Table, error) { reads[i]++; return &rows, nil }
		lazy = append(lazy, p)
	}
	got := analyze(t, params(), lazy...)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !slices.Equal(reads, []int{1, 1, 1, 1, 0}) {
		t.Errorf("read %v times", reads)
	}

	lost := errors.New("the disk is gone")
	lazy[1].Read = func() (*sample.Table, error) { return nil, lost }
	if _, err := Analyze(lazy, params()); !errors.Is(err, lost) || !strings.Contains(err.Error(), "mode=simple qps=1 repeat=0") {
		t.Errorf("got %v", err)
	}
	lazy[1].Read = func() (*sample.Table, error) { return &sample.Table{ID: []string{"a"}}, nil }
	if _, err := Analyze(lazy, params()); err == nil || !strings.Contains(err.Error(), "equally long") {
		t.Errorf("got %v", err)
	}
}
