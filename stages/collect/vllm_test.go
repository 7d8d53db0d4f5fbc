package collect

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"vbp/stages/sample"
)

func open(t *testing.T, path ...string) *Results {
	t.Helper()
	r, err := OpenResults(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The expected values are worked out by hand from testdata/detailed.
func TestDetailedResult(t *testing.T) {
	r := open(t, "testdata", "detailed")
	if r.Kind != VLLM || r.Name != "detailed" || len(r.Points) != 3 {
		t.Fatalf("got %s %s with %d points", r.Kind, r.Name, len(r.Points))
	}
	got := r.Points[0].Table
	m := got.Meta
	if m.Rate != 1 || m.Model != "org/tiny" || m.Config["model_name"] != "tiny" || m.Length != 6.5 || m.GPUs != 0 || m.Extra["date"] != "20260101-000000" || m.Start != sample.Absent {
		t.Errorf("meta %+v", m)
	}
	if mode, ok := m.Axis("mode"); !ok || mode != "detailed" {
		t.Errorf("mode %q", mode)
	}
	nan := math.NaN()
	for i, want := range []struct {
		outcome         string
		ttft, tpot, e2e float64
		tokens, sent    int64
		first, last     int64
	}{
		{sample.OK, 0.125, 0.1, 0.325, 3, 0, 125e6, 325e6},
		{sample.OK, 0.1, nan, 0.1, 1, 1e9, 1.1e9, 1.1e9},
		{sample.HTTPError, nan, nan, nan, 0, 2e9, sample.Absent, sample.Absent}, // TTFT 0.0, no text
		{sample.HTTPError, nan, nan, nan, 4, 3e9, sample.Absent, sample.Absent},
		{sample.StreamError, 0.1, nan, nan, 2, 4e9, 4.1e9, 4.6e9}, // broke after its first token
		{sample.OK, 0.2, 0.1, 0.4, 3, 5.5e9, 5.7e9, 5.9e9},
	} {
		o := got.Row(i)
		close := func(a, b float64) bool { return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-12 }
		if o.Outcome != want.outcome || !close(o.TTFT, want.ttft) || !close(o.TPOT, want.tpot) || !close(o.E2E, want.e2e) ||
			o.OutputTokens != want.tokens || o.Sent != want.sent || o.FirstToken != want.first || o.LastToken != want.last {
			t.Errorf("request %d: %+v, want %+v", i, o, want)
		}
	}
	if fmt.Sprint(got.Gaps[0]) != "[50000 150000]" || got.Events[0] != 3 || got.Error[3] != "Service Unavailable" || got.Error[2] != "" {
		t.Errorf("gaps %v, events %d, errors %q", got.Gaps[0], got.Events[0], got.Error)
	}
}

func TestAppendedResults(t *testing.T) {
	r := open(t, "testdata", "detailed")
	// By date: the second line was measured first.
	first, second := r.Points[1], r.Points[2]
	if filepath.Base(first.File) != "rate_2.jsonl#2" || filepath.Base(second.File) != "rate_2.jsonl" {
		t.Errorf("order %s, %s", first.File, second.File)
	}
	if second.Table.Meta.Repeat != 1 || second.Table.Len() != 2 {
		t.Errorf("second repeat %+v", second.Table.Meta)
	}
	// With latencies these count, not the gaps: (0.4-0.1)/2.
	if got := second.Table.TPOT[0]; math.Abs(got-0.15) > 1e-12 {
		t.Errorf("TPOT %v, want 0.15", got)
	}
	if got := second.Table.E2E[1]; got != 0.6 {
		t.Errorf("end to end %v, want 0.6", got)
	}
	if len(r.Warnings) != 2 {
		t.Fatalf("warnings %q", r.Warnings)
	}
	contains(t, r.Warnings[0], "rate_2.jsonl#3 is left out", "inf")
	contains(t, r.Warnings[1], "rate_2.jsonl#2, rate_2.jsonl")
}

func TestScriptsForm(t *testing.T) {
	r := open(t, "testdata", "scripts", "nixl_20260409_111645")
	if r.Name != "nixl" || len(r.Points) != 2 || len(r.Warnings) != 0 {
		t.Fatalf("got %+v", r)
	}
	for i, rate := range []float64{2, 10} { // the second from its name only
		m := r.Points[i].Table.Meta
		if m.Rate != rate || m.GPUs != 2*1+3*2 || m.Config["num_decode_instances"] != "3" || m.Model != "Qwen/Qwen3-0.6B" || m.Dataset != "sharegpt" {
			t.Errorf("meta %+v", m)
		}
	}
	slow := r.Points[1].Table
	if slow.TTFT[1] != 0.125 || slow.TPOT[1] != 0.25 || slow.OutputTokens[1] != 5 || slow.Failed() != 0 {
		t.Errorf("row %+v", slow.Row(1))
	}
	if fast := r.Points[0].Table; fast.OutputTokens[0] != sample.Absent || fast.TPOT[3] != 0 {
		t.Errorf("row %+v", fast.Row(3))
	}
}

func TestGPUsOfAResult(t *testing.T) {
	for _, c := range []struct {
		about map[string]string
		want  int
	}{
		{map[string]string{}, 0},
		{map[string]string{"tensor_parallel_size": "4"}, 4},
		{map[string]string{"deployment_mode": "simple", "tensor_parallel_size": "2", "num_prefill_instances": "2", "num_decode_instances": "2"}, 2},
		{map[string]string{"num_prefill_instances": "2", "num_decode_instances": "3", "prefiller_tp_size": "1", "decoder_tp_size": "2"}, 8},
		{map[string]string{"num_prefill_instances": "2", "num_decode_instances": "3"}, 0},
		{map[string]string{"deployment_mode": "nixl", "tensor_parallel_size": "2"}, 0},
		{map[string]string{"tensor_parallel_size": "-1"}, 0},
	} {
		if got := vllmGPUs(c.about); got != c.want {
			t.Errorf("%v: got %d, want %d", c.about, got, c.want)
		}
	}
}

func TestRatesInNames(t *testing.T) {
	for name, want := range map[string]float64{
		"vllm-5.0qps-Qwen3-0.6B-20260409-111645.json":            5,
		"vllm-infqps-Qwen3-0.6B-20260409-111645.json":            math.Inf(1),
		"openai-chat-0.5qps-concurrency8-m-20260409-111645.json": 0.5,
		"rate_2.5.json": 2.5,
		"rate-4.json":   4,
		"x.json":        math.NaN(),
	} {
		if got := namedRate(name); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if _, err := vllmRate(map[string]string{}, "vllm-ramp-up-linear-1qps-10qps-m-20260409-111645.json"); err == nil {
		t.Error("a ramp-up has no rate")
	}
}
