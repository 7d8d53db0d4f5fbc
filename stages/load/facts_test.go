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
	}{
		{0, sample.OK, 8, 0},
		{10, sample.OK, 8, 1},
		{20, sample.Timeout, 3, sample.Absent},
		{40, sample.HTTPError, 0, sample.Absent},
		{100, sample.OK, 5, 1},
	} {
		row := sample.NewOutcome("")
		row.Scheduled = int64(i) * 100e6
		row.Sent = row.Scheduled + o.lag*1e6
		row.Outcome, row.Events, row.Fallback = o.outcome, o.events, o.fallback
		table.Append(row)
	}
	got := Facts(table, Machine{Wall: 2 * time.Second, CPU: 0.3, Cores: 2, Reads: 12, Resent: 3})
	want := map[string]float64{
		"sent": 5, "failed": 2, "ok": 3, "timeout": 1, "http_error": 1, "stream_error": 0, "truncated": 0, "connect_error": 0,
		"resent": 3, "fallbacks": 2, "schedule_kept": 0.8, "achieved_qps": 8,
		"send_lag_p50_ms": 20, "send_lag_p99_ms": 97.6, "send_lag_max_ms": 100, // 40 + 60 x .96
		"client_cpu_share": 0.075, "events_per_read": 2,
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
		ofRun := []string{"planned", "stopped_early", "tokens_per_event"}
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
	got := Facts(&sample.Table{}, Machine{CPU: math.NaN()})
	for _, name := range []string{"schedule_kept", "send_lag_p99_ms", "achieved_qps", "client_cpu_share", "events_per_read"} {
		if v, ok := got[name]; ok {
			t.Errorf("nothing was sent, yet %s is %v", name, v)
		}
	}
	one := sample.NewOutcome("")
	one.Scheduled, one.Sent = 5e6, 6e6
	table := &sample.Table{}
	table.Append(one)
	got = Facts(table, Machine{CPU: math.NaN()})
	if got["schedule_kept"] != 1 || got["send_lag_p99_ms"] != 1 {
		t.Errorf("one request: %v", got)
	}
	if v, ok := got["achieved_qps"]; ok {
		t.Errorf("one request has a rate: %v", v)
	}
}
