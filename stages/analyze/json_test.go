package analyze

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"strings"
	"testing"
)

// small is an analysis whose numbers are worked out by hand.
func small(t *testing.T) *Analysis {
	t.Helper()
	one, two := at("simple", 1, 0, 4, 0), at("simple", 2, 0, 1, 3)
	for _, p := range []Point{one, two} {
		p.Table.Meta.Length = 4
		p.Table.Meta.Config = map[string]string{"model_name": "Qwen3-0.6B", "tensor_parallel_size": "1", "version": "0.10"}
	}
	p := params()
	p.Target = 0.625
	p.Scales = []float64{1, 2}
	return analyze(t, p, one, two)
}

const smallJSON = `{
  "schema": "vbp.analysis/v1",
  "slo": {"ttft_ms": 100, "tpot_ms": 100, "target": 0.625},
  "series": [{"name": "simple", "labels": {"mode": "simple"}, "gpus": 1,
    "config": {"model_name": "Qwen3-0.6B", "tensor_parallel_size": 1, "version": "0.10"},
    "rates": [
     {"qps": 1, "repeats": 1, "sent": 4, "failed": 0, "both": 1, "ttft": 1, "tpot": 1,
      "ci95": {"both": [L4, 1], "ttft": [L4, 1], "tpot": [L4, 1]},
      "latency_s": {"ttft": {"p50": 0.1, "p90": 0.1, "p99": 0.1}, "tpot": {"p50": 0.1, "p90": 0.1, "p99": 0.1}},
      "output_tokens_per_s": 2, "valid": true,
      "each": [{"repeat": 0, "sent": 4, "failed": 0, "both": 1, "ttft": 1, "tpot": 1, "valid": true}]},
     {"qps": 2, "repeats": 1, "sent": 4, "failed": 0, "both": 0.25, "ttft": 0.25, "tpot": 0.25,
      "ci95": {"both": [L1, H1], "ttft": [L1, H1], "tpot": [L1, H1]},
      "latency_s": {"ttft": {"p50": 0.2, "p90": 0.2, "p99": 0.2}, "tpot": {"p50": 0.2, "p90": 0.2, "p99": 0.2}},
      "output_tokens_per_s": 2, "valid": true,
      "each": [{"repeat": 0, "sent": 4, "failed": 0, "both": 0.25, "ttft": 0.25, "tpot": 0.25, "valid": true}]}],
    "scales": {"qps": 1, "points": [{"scale": 1, "both": 1, "ttft": 1, "tpot": 1}, {"scale": 2, "both": 1, "ttft": 1, "tpot": 1}]},
    "crossings": {"rate": {"both": [X], "ttft": [X], "tpot": [X]}, "scale": {"both": [], "ttft": [], "tpot": []}},
    "capacity": {"both": {"value": X, "bound": "exact"}, "ttft": {"value": X, "bound": "exact"}, "tpot": {"value": X, "bound": "exact"}}}]}`

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

func TestJSONHasTheDocumentedLayout(t *testing.T) {
	a := small(t)
	var b bytes.Buffer
	if err := a.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	r := a.Series[0].Rates
	want := strings.NewReplacer("L4", number(r[0].CI95.Both[0]), "L1", number(r[1].CI95.Both[0]), "H1", number(r[1].CI95.Both[1]),
		"X", "1.5").Replace(smallJSON)
	if got := squeeze(b.String()); got != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, squeeze(want))
	}
	back, err := ReadJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	a.Counts = nil // which are not stored
	if !reflect.DeepEqual(a, back) {
		t.Errorf("came back as %+v, want %+v", back, a)
	}
}

func TestWhatIsNoAnalysisIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "cut off",
		`{"schema": "vbp.analysis/v1"`:   "cut off",
		`{"schema": "vbp.analysis/v9"}`:  `layout "vbp.analysis/v9"`,
		`[]`:                             "not an analysis",
		`{"schema": "vbp.analysis/v1"} `: "",
	} {
		_, err := ReadJSON(strings.NewReader(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestCSVHasOneLineForEachShare(t *testing.T) {
	var b bytes.Buffer
	if err := small(t).WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines[0], ","); got != "series,mode,gpus,kind,x,reading,share,low,high,sent,failed,repeats,valid,reason,left_out" {
		t.Errorf("header %s", got)
	}
	if len(lines) != 1+2*3+2*3 {
		t.Errorf("%d lines, want 13", len(lines))
	}
	if l := lines[5]; strings.Join(append(l[:7:7], l[9:]...), ",") != "simple,simple,1,rate,2,ttft,0.25,4,0,1,true,,0" {
		t.Errorf("line %v", l)
	}
	if got := strings.Join(lines[10], ","); got != "simple,simple,1,scale,2,both,1,,,4,0,1,true,,0" {
		t.Errorf("line %s", got)
	}
}
