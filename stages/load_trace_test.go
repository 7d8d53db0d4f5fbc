package stages

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Traces of four requests at 0, 10, 25 and 30 ms: a rate of 3 gaps in 30 ms,
// 100 requests per second.
const (
	azureTrace = `TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,40,3
2023-11-16 18:17:03.9899600,50,2
2023-11-16 18:17:04.0049600,60,5
2023-11-16 18:17:04.0099600,70,4
`
	// The third row is one that failed.
	burstTrace = `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,40,3,43,Conversation log
5.01,GPT-4,50,2,52,API log
5.02,GPT-4,99,0,99,API log
5.025,ChatGPT,60,5,65,Conversation log
5.03,ChatGPT,70,4,74,API log
`
	// The first two blocks of 512 tokens are those of all but the third row.
	mooncakeTrace = `{"timestamp": 0, "input_length": 1034, "output_length": 3, "hash_ids": [1, 2, 3]}
{"timestamp": 10, "input_length": 1044, "output_length": 2, "hash_ids": [1, 2, 4]}
{"timestamp": 25, "input_length": 600, "output_length": 5, "hash_ids": [5, 2]}
{"timestamp": 30, "input_length": 1100, "output_length": 4, "hash_ids": [1, 2, 3]}
`
)

// traceSpec is oneMode with a trace at its own times.
func traceSpec(t *testing.T, changes ...string) string {
	return changed(t, oneMode, append([]string{
		"requests: 4, dataset: {kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0}",
		"requests: 4, arrivals: trace, rescale: false, dataset: {kind: trace, path: trace}", "qps: [1000]", "qps: [100]",
	}, changes...)...)
}

// TestLoadTraces holds that requests of a trace are sent at its times and with
// its lengths, whatever format it has.
func TestLoadTraces(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		prompts []int
		notes   string
	}{
		"azure":    {azureTrace, []int{40, 50, 60, 70}, ""},
		"burstgpt": {burstTrace, []int{40, 50, 60, 70}, "1 of 5 rows are left out"},
		"mooncake": {mooncakeTrace, []int{1034, 1044, 600, 1100}, ""},
	} {
		for _, format := range []string{"", ", format: " + name} {
			w := newWorld(t)
			w.write("trace", c.file)
			srv := newServer(t)
			p := w.point(srv, traceSpec(t, "path: trace", "path: trace"+format))
			if got := p.node.Expect; got != 30*time.Millisecond {
				t.Errorf("%s: it is expected to take %v", name, got)
			}
			if err := p.work(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			table := p.samples(t)
			for i, ms := range []int64{0, 10, 25, 30} {
				if i >= table.Len() || table.Scheduled[i] != table.Scheduled[0]+ms*int64(time.Millisecond) {
					t.Errorf("%s: of %d requests, number %d is due at %v, not at %d ms", name, table.Len(), i, table.Scheduled, ms)
				}
			}
			// They arrive 5 ms and more from each other, but may be overtaken:
			// an answer's length tells which is which.
			lengths := map[int]int{3: 0, 2: 1, 5: 2, 4: 3}
			for _, b := range srv.bodies {
				if got, want := len(b.Prompt.([]any)), c.prompts[lengths[b.MaxTokens]]; got != want {
					t.Errorf("%s: a prompt of %d tokens for an answer of %d, not %d", name, got, b.MaxTokens, want)
				}
			}
			if got := table.Meta.Extra[notesKey]; !strings.Contains(got, c.notes) || c.notes == "" && got != "" {
				t.Errorf("%s: notes %q", name, got)
			}
			if got := table.Meta.Extra["arrivals"]; got != "trace, at its own times" {
				t.Errorf("%s: arrivals %q", name, got)
			}
		}
	}
}

// TestLoadSharedPrefixes holds that what a trace or a spec says is shared is
// sent as the same tokens, and the rest as others.
func TestLoadSharedPrefixes(t *testing.T) {
	w := newWorld(t)
	w.write("trace", mooncakeTrace)
	prompts := func(spec string) map[string][]string { // by the length of the answer
		srv := newServer(t)
		p := w.point(srv, spec)
		if err := p.work(t.Context()); err != nil {
			t.Fatal(err)
		}
		out := make(map[string][]string)
		for i, b := range srv.bodies {
			key := fmt.Sprint(b.MaxTokens)
			if out[key] != nil {
				key = fmt.Sprint("number ", i)
			}
			for _, id := range b.Prompt.([]any) {
				out[key] = append(out[key], fmt.Sprint(id))
			}
		}
		return out
	}
	alike := func(a, b []string) int {
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		return n
	}
	// Rows 0, 1 and 3 begin alike; 0 and 3 do so to the end of the shorter.
	p := prompts(traceSpec(t))
	for _, c := range []struct {
		a, b        string
		least, most int
	}{{"3", "2", 1024, 1026}, {"3", "4", 1034, 1034}, {"3", "5", 0, 2}} {
		if n := alike(p[c.a], p[c.b]); n < c.least || n > c.most {
			t.Errorf("prompts of answers of %s and %s tokens share %d, not %d to %d", c.a, c.b, n, c.least, c.most)
		}
	}
	if n := alike(p["5"][512:], p["2"][512:1024]); n != 88 {
		t.Errorf("the second block of the third row is alike for %d tokens, not for all 88", n)
	}

	all := prompts(changed(t, oneMode, "range_ratio: 0", "range_ratio: 0, prefix_tokens: 32"))
	var each [][]string
	for _, ids := range all {
		each = append(each, ids)
	}
	if len(each) != 4 {
		t.Fatalf("%d prompts", len(each))
	}
	for i, a := range each {
		if len(a) != 40 {
			t.Errorf("a prompt has %d tokens, not 32 shared and 8 of its own", len(a))
		}
		for _, b := range each[:i] {
			if n := alike(a, b); n < 32 || n > 34 {
				t.Errorf("two prompts share %d tokens, not 32", n)
			}
		}
	}
}

// TestLoadOfTraceAtOtherRates holds what becomes of a trace at a rate that is
// not its own: scaled if that is wanted, else refused before any server starts.
func TestLoadOfTraceAtOtherRates(t *testing.T) {
	w := newWorld(t)
	w.write("trace", azureTrace)
	spec := traceSpec(t, "rescale: false", "rescale: true", "qps: [100]", "qps: [300]")
	p := w.point(newServer(t), spec)
	if p.node.Expect != 10*time.Millisecond {
		t.Errorf("at three times its rate it is expected to take %v", p.node.Expect)
	}
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := p.samples(t)
	var at []int64
	for _, ns := range table.Scheduled {
		at = append(at, (ns-table.Scheduled[0]+500)/1000)
	}
	if !slices.Equal(at, []int64{0, 3333, 8333, 10000}) {
		t.Errorf("at three times its rate they are due at %v us", at)
	}
	if got := table.Meta.Extra["arrivals"]; got != "trace, its times scaled to the rate" {
		t.Errorf("arrivals %q", got)
	}

	for _, build := range []string{"rescale: false", "rescale: false, duration: 1s"} {
		_, err := Build(w.parse(traceSpec(t, "rescale: false", build, "qps: [100]", "qps: [300]")), w.site)
		mustContain(t, err, "load mode=simple qps=300 repeat=0", "100 requests per second", "write qps: 100, or rescale: true")
	}
	if len(w.started()) > 0 {
		t.Error("a server was started for it")
	}
}

// TestLoadOfShortTrace holds that a trace with fewer rows than asked for says
// that it ended the point.
func TestLoadOfShortTrace(t *testing.T) {
	w := newWorld(t)
	w.write("trace", azureTrace)
	for ends, want := range map[string]string{
		"requests: 4":                 "",
		"requests: 9":                 "the trace has 4 rows for 9 requests, and ends the point",
		"duration: 1s":                "the trace has 4 rows, the last of them at 30ms, and ends the point before its duration of 1s",
		"duration: 35ms":              "",
		"requests: 4, duration: 1s":   "",
		"requests: 900, duration: 1s": "the trace has 4 rows for 900 requests, and ends the point",
	} {
		table := w.measure(traceSpec(t, "requests: 4", ends, "sent == 4", "sent > 0"))
		if got := table.Meta.Extra[notesKey]; got != want || table.Len() != 4 {
			t.Errorf("%s: %d rows, notes %q, not %q", ends, table.Len(), got, want)
		}
	}
	// As prompts for other arrivals it begins again.
	table := w.measure(traceSpec(t, "requests: 4, arrivals: trace, rescale: false", "requests: 6", "sent == 4", "sent > 0"))
	if got := table.Meta.Extra[notesKey]; table.Len() != 6 || !strings.Contains(got, "has 4 rows for 6 requests") {
		t.Errorf("%d rows, notes %q", table.Len(), got)
	}
}
