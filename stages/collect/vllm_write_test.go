package collect

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vbp/stages/sample"
)

func anyJudged(t *rapid.T, least int) Judged {
	p := Judged{Table: &sample.Table{Meta: anyMeta(t)}, Valid: rapid.Bool().Draw(t, "valid")}
	if !p.Valid {
		p.Reason = rapid.String().Draw(t, "reason")
	}
	for range rapid.IntRange(least, 5).Draw(t, "rows") {
		p.Table.Append(anyOutcome(t))
	}
	return p
}

func anyRun(t *rapid.T) *Run {
	if rapid.Bool().Draw(t, "no run") {
		return nil
	}
	v := rapid.Float64().Draw(t, "ttft")
	return &Run{Name: "n", Rules: []string{"sent > 0", `a < "b"`}, TTFT: &v, Scales: []float64{0.4, 1}}
}

// Whatever was measured, vLLM's form and back give the same table: instants
// to the nanosecond, null unlike 0, all metadata.
func TestVLLMFormLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in, run := anyJudged(rt, 1), anyRun(rt)
		object, err := vllmObject(in, run, "20260101-120000")
		if err != nil {
			rt.Fatal(err)
		}
		out, err := readVLLM(object, "vllm-1.0qps-m-20260101-120000.json", "other")
		if err != nil {
			rt.Fatalf("%v in\n%s", err, object)
		}
		if err := equalTables(in.Table, out.Table); err != nil {
			rt.Fatal(err)
		}
		if !out.Exact || out.Valid != in.Valid || out.Reason != in.Reason || !reflect.DeepEqual(out.Run, run) {
			rt.Fatalf("verdict or run differ: %+v, %+v", out, run)
		}
	})
}

// vllmNumbers is what another reader finds in a file that vbp wrote.
func vllmNumbers(t *testing.T, p Judged) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vllm-2.0qps-m-20260101-120000.json")
	if err := WriteVLLM(path, p, nil, "20260101-120000"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Worked out by hand: three requests, of which one failed after its first
// token and one has a single token.
func TestVLLMFormByHand(t *testing.T) {
	table := &sample.Table{Meta: sample.Meta{
		Rate: 2, Start: sample.Absent, Length: 4, Seed: 7, Model: "Qwen/Qwen3-0.6B", Dataset: "sharegpt",
		Axes: []sample.Axis{{Name: "mode", Value: "fast", Set: true}},
		Config: map[string]string{
			"deployment_mode": "nixl", "num_prefill_instances": "2", "num_decode_instances": "1",
			"prefiller_tp_size": "1", "decoder_tp_size": "2", "gpu_memory_utilization": "0.8", "engine": "simulated",
		},
		Extra: map[string]string{"arrivals": "poisson, as drawn"},
	}}
	row := func(outcome string, prompt, output, sent, first, last int64, gaps ...int32) {
		o := sample.NewOutcome("id")
		o.Outcome, o.PromptTokens, o.OutputTokens, o.Sent, o.FirstToken, o.LastToken = outcome, prompt, output, sent, first, last
		o.Gaps, o.E2E = gaps, float64(last-sent)/1e9+1 // the answer ends a second after its last token
		o.Derive()
		table.Append(o)
	}
	row(sample.OK, 10, 3, 0, 0.5e9, 1.5e9, 400_000, 600_000)
	row(sample.Truncated, 20, 2, 1e9, 1.25e9, 1.75e9, 500_000)
	row(sample.OK, 30, 1, 1e9, 2e9, 2e9)
	got := vllmNumbers(t, Judged{Table: table, Valid: true})
	for key, want := range map[string]any{
		"date": "20260101-120000", "backend": "vllm", "endpoint_type": "vllm", "label": nil, "engine": "simulated",
		"model_id": "Qwen/Qwen3-0.6B", "model_name": "Qwen3-0.6B", "dataset_name": "sharegpt", "deployment_mode": "nixl",
		"num_prefill_instances": 2.0, "num_decode_instances": 1.0, "prefiller_tp_size": 1.0, "decoder_tp_size": 2.0, "gpu_memory_utilization": 0.8,
		"num_prompts": 3.0, "request_rate": 2.0, "burstiness": 1.0, "max_concurrency": nil, "seed": 7.0,
		"duration": 4.0, "completed": 2.0, "failed": 1.0, "total_input_tokens": 40.0, "total_output_tokens": 4.0,
		"request_throughput": 0.5, "request_goodput": nil, "output_throughput": 1.0, "total_token_throughput": 11.0,
		"input_lens": []any{10.0, 20.0, 30.0}, "output_lens": []any{3.0, 0.0, 1.0},
		"ttfts": []any{0.5, 0.25, 1.0}, "tpots": []any{0.5, 0.5, 0.0}, "itls": []any{[]any{0.4, 0.6}, []any{0.5}, []any{}},
		"latencies": []any{1.5, 0.75, 1.0}, "start_times": []any{0.0, 1.0, 1.0},
		"generated_texts": []any{"", "", ""}, "errors": []any{"", "truncated", ""},
		"max_concurrent_requests": 2.0, "max_output_tokens_per_s": 2.0, // tokens at 0.5, 0.9 | 1.5 | 2.0
		"mean_ttft_ms": 750.0, "median_ttft_ms": 750.0, "std_ttft_ms": 250.0, "p99_ttft_ms": 995.0,
		"mean_tpot_ms": 500.0, "p90_tpot_ms": 500.0, "mean_itl_ms": 500.0, "std_itl_ms": 100.0, "median_e2el_ms": 1250.0,
	} {
		a, isNumber := got[key].(float64)
		if b, ok := want.(float64); isNumber && ok && near(a, b) {
			continue
		}
		if v, ok := got[key]; !ok || !reflect.DeepEqual(v, want) {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

// What is not known of every request is no list, rather than one of zeros.
func TestVLLMFormOfLittleKnown(t *testing.T) {
	table := &sample.Table{Meta: sample.Meta{Rate: 1, Start: sample.Absent, Length: math.NaN()}}
	for _, outcome := range []string{sample.OK, sample.HTTPError} {
		o := sample.NewOutcome("")
		o.Outcome, o.TTFT, o.TPOT = outcome, 0.1, 0.02
		table.Append(o)
	}
	got := vllmNumbers(t, Judged{Table: table, Valid: true})
	for _, key := range []string{"input_lens", "output_lens", "start_times", "latencies", "mean_e2el_ms"} {
		if v, ok := got[key]; ok {
			t.Errorf("%s is %v", key, v)
		}
	}
	for _, key := range []string{"duration", "request_throughput", "max_concurrent_requests", "burstiness"} {
		if v, ok := got[key]; !ok || v != nil {
			t.Errorf("%s is %v, want null", key, v)
		}
	}
	if got["mean_tpot_ms"] != 20.0 || fmt.Sprint(got["errors"]) != "[ http_error]" {
		t.Errorf("TPOT %v, errors %v", got["mean_tpot_ms"], got["errors"])
	}
	err := WriteVLLM(filepath.Join(t.TempDir(), "x.json"), Judged{Table: &sample.Table{}}, nil, "")
	if err == nil || !strings.Contains(err.Error(), "no request") {
		t.Errorf("an empty table: %v", err)
	}
}

// Without the member vbp, what others read is what was measured.
func TestVLLMFormIsReadWithoutOurMember(t *testing.T) {
	in := plainTable(4)
	in.Outcome[1], in.Error[1] = sample.Timeout, "Timeout: 120s"
	object, err := vllmObject(Judged{Table: in, Valid: true}, nil, "20260101-120000")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(object, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "vbp")
	if object, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	out, err := readVLLM(object, "vllm-2.0qps-m-20260101-120000.json", "mode")
	if err != nil {
		t.Fatal(err)
	}
	for i := range in.Len() {
		a, b := in.Row(i), out.Table.Row(i)
		if a.TTFT != b.TTFT || a.Outcome != b.Outcome || fmt.Sprint(a.Gaps) != fmt.Sprint(b.Gaps) || a.Sent != b.Sent || a.FirstToken != b.FirstToken ||
			i != 1 && (a.TPOT != b.TPOT || a.OutputTokens != b.OutputTokens) {
			t.Errorf("row %d is %+v, was %+v", i, b, a)
		}
	}
	if out.Exact || out.Table.Meta.Rate != 2 {
		t.Errorf("%+v", out)
	}
}

// A file that somebody changed is not read as if vbp had measured it so.
func TestChangedVLLMFormIsAnError(t *testing.T) {
	object, err := vllmObject(Judged{Table: plainTable(3), Valid: true}, nil, "20260101-120000")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"ttfts": [0.1,`, `"ttfts": [0.2,`, "its lists were changed"},
		{`"sent_ns": [0,`, `"sent_ns": [1,`, "member vbp is damaged: its content does not match"},
		{`"schema": "vbp.samples/v2"`, `"schema": "vbp.samples/v9"`, "vbp.samples/v9"},
		{`"sent_ns"`, `"sent"`, "no sent_ns"},
		{`"valid": true,`, ``, "whether the point is valid"},
		{`"request_id": ["r0","r1","r2"]`, `"request_id": ["r0","r1"]`, "damaged"},
		{`"request_id": ["r0"`, `"request_id": [0`, "request_id"},
	} {
		changed := strings.Replace(string(object), c.old, c.new, 1)
		if changed == string(object) {
			t.Fatalf("%q is not in\n%s", c.old, object)
		}
		_, err := readVLLM(json.RawMessage(changed), "vllm-2.0qps-m.json", "m")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	// A member of that name which is not ours means nothing.
	for _, other := range []string{`"yes"`, `{"a": 1}`, `null`, `[1]`} {
		p, err := readVLLM(json.RawMessage(strings.Replace(detailed("1"), "{", `{"vbp": `+other+`, `, 1)), "a.json", "m")
		if err != nil || p.Exact {
			t.Errorf("vbp is %s: %v, %+v", other, err, p)
		}
	}
}

// vLLM's own files, imported and written again: our statistics are vLLM's.
func TestRealFilesKeepTheirNumbers(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared")
	if v := os.Getenv("VBP_SHARED"); v != "" {
		dir = v
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "vllm-bench", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Skip("the real data set data/vllm-bench is missing (set VBP_SHARED to the folder that holds data/)")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		in, err := readVLLM(data, file, "m")
		if err != nil {
			t.Fatal(err)
		}
		got := vllmNumbers(t, Judged{Table: in.Table, Valid: true})
		n := 0
		for key, v := range want {
			w, ok := v.(float64)
			if !ok || key == "num_prompts" || strings.HasPrefix(key, "max_") { // 0, and without start times not known
				continue
			}
			slack := 1e-9
			switch {
			case strings.HasSuffix(key, "_itl_ms"):
				slack = 1e-3 // gaps are stored to the microsecond
			case strings.HasSuffix(key, "_tpot_ms"):
				slack = 1e-4 // vLLM's is from a latency that is not in these files, only the gaps are
			}
			g, ok := got[key].(float64)
			if !ok || math.Abs(g-w) > slack*math.Max(1, math.Abs(w)) {
				t.Errorf("%s: %s is %v, vLLM has %v", filepath.Base(file), key, got[key], w)
			}
			n++
		}
		if n < 20 {
			t.Errorf("%s: only %d numbers compared", file, n)
		}
		if !reflect.DeepEqual(got["ttfts"], want["ttfts"]) || !reflect.DeepEqual(got["output_lens"], want["output_lens"]) || got["model_id"] != want["model_id"] {
			t.Errorf("%s: lists differ", file)
		}
	}
}
