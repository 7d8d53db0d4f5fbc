package doctor

import (
	"math"
	"strings"
	"testing"
	"time"

	"vbp/stages/load/metronome"
	"vbp/stages/sample"
)

// start is when the point of the rows below began.
const start = int64(1_700_000_000_000_000_000)

// row is a complete answer of three tokens.
func row(id string, scheduled, sent, first, last int64) sample.Outcome {
	o := sample.NewOutcome(id)
	o.Scheduled, o.Sent, o.FirstToken, o.LastToken = scheduled, sent, first, last
	o.OutputTokens, o.Events, o.Outcome = 3, 3, sample.OK
	return o
}

func table3(rows ...sample.Outcome) *taken {
	t := &sample.Table{}
	for _, o := range rows {
		t.Append(o)
	}
	t.Meta.Start = start
	t.Meta.Facts = map[string]float64{"events_per_read": 1.5}
	return &taken{Table: t, CPU: 30 * time.Microsecond, Allocs: 12}
}

var three = trial{pace: metronome.Pace{Gap: time.Millisecond, Tokens: 3, Events: 1}, rate: 10, requests: 2}

// Every number below is worked out by hand from the instants, in ns.
func TestJudge(t *testing.T) {
	second := row("b", 1_000_000, 1_600_000, 6_000_000, 8_000_000)
	second.SlotWait = 0.0005 // 500 us of the 600 were spent waiting for a slot
	got, err := three.judge(table3(row("a", 0, 40_000, 5_100_000, 7_100_000), second), []metronome.Record{
		// It took 4,310 us, where the server's own time was 4,300; the gap of its
		// tokens was 1 ms, as that of the client.
		{ID: "b", Arrived: start + 1_650_000, First: start + 5_950_000, Last: start + 7_950_000, Late: 3000},
		{ID: "a", Arrived: start + 90_000, First: start + 5_050_000, Last: start + 7_048_000, Late: 7000},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Reading{
		Rate: 10, Sent: 2, Streams: 2,
		Events:   6 / 0.0029,                                         // six, from 5.1 ms to 8 ms
		TTFT:     Spread{P50: 100, P99: 100, Max: 100},               // a: 5060-4960; b: 4400-4300
		TPOT:     Spread{P50: 0, P99: 1, Max: 1},                     // a: (2000-1998)/2; b: (2000-2000)/2
		Lateness: Spread{P50: 40, P99: 100, Max: 100},                // a: 40; b: 600-500
		Arrival:  Spread{P50: 90, P99: 650, Max: 650},                // a: 90-0; b: 1650-1000
		Server:   Spread{P50: 3, P99: 7, Max: 7},                     //
		CPU:      5, Core: 0.00003 / 0.0029, Allocs: 2, PerRead: 1.5, // 30 us for six events
	}
	if math.Abs(got.Events-want.Events) > 1e-6 || math.Abs(got.Core-want.Core) > 1e-12 {
		t.Errorf("events/s %v, cores %v", got.Events, got.Core)
	}
	got.Events, got.Core = want.Events, want.Core
	if *got != want {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func TestJudgeRefuses(t *testing.T) {
	record := metronome.Record{ID: "a", Arrived: start, First: start + 1, Last: start + 2}
	short := row("a", 0, 0, 1, 2)
	short.OutputTokens = 2
	failed := sample.NewOutcome("a")
	failed.Outcome, failed.Error, failed.Sent, failed.Scheduled = sample.ConnectError, "connection refused", 0, 0
	for name, c := range map[string]struct {
		taken   *taken
		records []metronome.Record
		want    string
	}{
		"no record":   {table3(row("a", 0, 0, 1, 2)), nil, "has no record"},
		"lost events": {table3(short), []metronome.Record{record}, "saw 2 tokens in 3 events"},
		"no answers":  {table3(failed), nil, "not one request was answered: connection refused"},
	} {
		if _, err := three.judge(c.taken, c.records); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// One failure among answers is counted, not compared.
	failed.ID = "b"
	r, err := three.judge(table3(row("a", 0, 0, 1, 2), failed), []metronome.Record{record})
	if err != nil || r.Sent != 2 || r.Failed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Nearest rank: the p-th of n sorted values is number ceil(p n).
func TestSpread(t *testing.T) {
	var ns []float64
	for i := range 200 {
		ns = append(ns, float64(200-i)*1000)
	}
	if got := spread(ns); got != (Spread{P50: 100, P99: 198, Max: 200}) {
		t.Errorf("%+v", got)
	}
	if got := spread([]float64{5000}); got != (Spread{P50: 5, P99: 5, Max: 5}) {
		t.Errorf("%+v", got)
	}
	if got := spread(nil); got != (Spread{}) {
		t.Errorf("%+v", got)
	}
}
