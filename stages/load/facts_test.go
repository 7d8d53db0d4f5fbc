package load

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"vbp/stages/sample"
)

func TestFacts(t *testing.T) {
	table := &sample.Table{}
	// Scheduled every 100 ms, sent with growing lag: spans .4 s and .5 s.
	for i, o := range []struct {
		lag      int64 // ms
		outcome  string
		events   int64
		fallback int64
		wait     float64 // s
	}{
		{0, sample.OK, 8, 0, 0},
		{10, sample.OK, 8, 1, 0},
		{20, sample.Timeout, 3, sample.Absent, 0.25},
		{40, sample.HTTPError, 0, sample.Absent, 0},
		{100, sample.OK, 5, 1, 0.5},
	} {
		row := sample.NewOutcome("")
		row.Scheduled, row.SlotWait = int64(i)*100e6, o.wait
		row.Sent = row.Scheduled + o.lag*1e6 + int64(o.wait*1e9)
		row.Outcome, row.Events, row.Fallback = o.outcome, o.events, o.fallback
		table.Append(row)
	}
	got := factsOf(table, machine{Wall: 2 * time.Second, CPU: 0.3, Cores: 2, Stall: 7 * time.Millisecond, Stats: Stats{
		Reads: 12, Resent: 3, Streams: 4, Conns: 5, Busy: 0.25, ReadLag: Lags{Count: 9, P50: 1500, P99: 2500, Max: 4000},
	}})
	want := map[string]float64{
		"sent": 5, "failed": 2, "ok": 3, "timeout": 1, "http_error": 1, "stream_error": 0, "truncated": 0, "connect_error": 0,
		"resent": 3, "fallbacks": 2, "schedule_kept": 0.8, "scheduled_qps": 10, "achieved_qps": 4, // due from 0 to .4 s, sent from 0 to 1 s
		"slot_waited": 0.4, "slot_wait_p99_ms": 490, "slot_wait_max_ms": 500, // 250 + 250 x .96
		"send_lag_p50_ms": 20, "send_lag_p99_ms": 97.6, "send_lag_max_ms": 100, // 40 + 60 x .96
		"client_cpu_share": 0.075, "events_per_read": 2, "client_stall_max_ms": 7, "client_busy": 0.25,
		"streams_max": 4, "open_files_max": 5, "read_lag_p50_us": 1.5, "read_lag_p99_us": 2.5,
	}
	for name, v := range want {
		if math.Abs(got[name]-v) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	// The list of names is the whole of them.
	named := map[string]bool{}
	for _, f := range FactNames {
		named[f.Name] = true
		ofRun := []string{"planned", "dropped", "stopped_early", "tokens_per_event"}
		if _, ok := got[f.Name]; !ok && !slices.Contains(ofRun, f.Name) {
			t.Errorf("%s is listed, but not a fact", f.Name)
		}
	}
	for name := range maps.Keys(got) {
		if !named[name] {
			t.Errorf("%s is a fact, but not listed", name)
		}
	}
}

func TestFactsThatCannotBeKnownAreAbsent(t *testing.T) {
	got := factsOf(&sample.Table{}, machine{CPU: math.NaN(), Stall: -1, Stats: Stats{Busy: math.NaN()}})
	for _, name := range []string{
		"schedule_kept", "send_lag_p99_ms", "achieved_qps", "client_cpu_share", "events_per_read", "slot_waited", "slot_wait_p99_ms",
		"client_stall_max_ms", "client_busy", "streams_max", "open_files_max", "read_lag_p50_us",
	} {
		if v, ok := got[name]; ok {
			t.Errorf("nothing was sent, yet %s is %v", name, v)
		}
	}
	one := sample.NewOutcome("")
	one.Scheduled, one.Sent = 5e6, 6e6
	table := &sample.Table{}
	table.Append(one)
	got = factsOf(table, machine{CPU: math.NaN()})
	if got["schedule_kept"] != 1 || got["send_lag_p99_ms"] != 1 {
		t.Errorf("one request: %v", got)
	}
	if v, ok := got["slot_waited"]; ok {
		t.Errorf("no limit, yet slot_waited is %v", v)
	}
	if v, ok := got["achieved_qps"]; ok {
		t.Errorf("one request has a rate: %v", v)
	}
}

// factsOf is what a tally tells of a table.
func factsOf(t *sample.Table, m machine) map[string]float64 {
	y := newTally(t.Len())
	for i := range t.Len() {
		o := t.Row(i)
		y.add(&o)
	}
	return y.facts(m)
}
