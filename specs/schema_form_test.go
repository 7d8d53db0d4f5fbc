package specs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// places are all places of a spec that something can be said at: the spec
// around it, and the keys that are tried there. They name every key list of
// the language and some keys that are none.
func places() []place {
	const simple = "modes: {m: {engine: simulated}}, sweep: {qps: [1]}"
	mode := func(inside string) string { return "{modes: {m: {" + inside + "%s}}, sweep: {qps: [1]}}" }
	at := func(section, inside string) string { return "{" + simple + ", " + section + ": {" + inside + "%s}}" }
	names := []string{"a", "a-b", "a_b", "a.b", "A", "a b", "-a", "--a", "1a", "a=b", "samples", "logs", "model", "tensor_parallel_size", "tensor-parallel-size", "stream", "seed", "é"}
	all := []place{
		{"{" + simple + ", %s}", topKeys},
		{"{sweep: {qps: [1]}, %s}", []string{"modes"}},
		{"{modes: {m: {engine: simulated}}, %s}", []string{"sweep"}},
		{"{sweep: {qps: [1]}, modes: {m: , %s}}", names},
		{mode(""), modeKeys},
		{mode("engine: vllm, "), modeKeys},
		{mode("engine: simulated, "), modeKeys},
		{mode(`engine: command, run: "x {port}", `), modeKeys},
		{mode("engine: command, port: 1, "), modeKeys},
		{mode(`endpoint: "http://h:1", `), modeKeys},
		{mode("disaggregated: {}, "), modeKeys},
		{mode("disaggregated: {prefill: {tensor_parallel: 2}}, engine: simulated, "), modeKeys},
		{"{modes: {m: {args: {%s}}}, sweep: {qps: [1]}}", names},
		{"{modes: {m: {env: {%s}}}, sweep: {qps: [1]}}", names},
		{"{modes: {m: {expect: {%s}}}, sweep: {qps: [1]}}", names},
		{"{modes: {m: {headers: {%s}}}, sweep: {qps: [1]}}", names},
		{"{modes: {m: {disaggregated: {%s}}}, sweep: {qps: [1]}}", disaggregatedKeys},
		{"{modes: {m: {disaggregated: {connector: lmcache, %s}}}, sweep: {qps: [1]}}", disaggregatedKeys},
		{"{modes: {m: {disaggregated: {prefill: {%s}}}}, sweep: {qps: [1]}}", poolKeys},
		{"{modes: {m: {disaggregated: {decode: {%s}}}}, sweep: {qps: [1]}}", poolKeys},
		{at("workload", ""), workloadKeys},
		{at("workload", "arrivals: gamma, "), workloadKeys},
		{at("workload", "arrivals: ramp, "), workloadKeys},
		{at("workload", "arrivals: trace, dataset: {kind: trace, path: x}, "), workloadKeys},
		{at("workload", "arrivals: trace, "), workloadKeys},
		{"{" + simple + ", workload: {arrivals: ramp, ramp: {%s}}}", rampKeys},
		{"{" + simple + ", workload: {arrivals: ramp, ramp: {shape: exponential, %s}}}", rampKeys},
		{"{" + simple + ", workload: {arrivals: trace, dataset: {path: x, %s}}}", []string{"kind"}},
		{"{" + simple + ", workload: {body: {%s}}}", slices.Concat(names, slices.Sorted(maps.Keys(bodyHasKey)))},
		{"{" + simple + ", workload: {dataset: {%s}}}", datasetKeys},
		{"{" + simple + ", workload: {dataset: {kind: random, %s}}}", datasetKeys},
		{"{" + simple + ", workload: {dataset: {kind: sharegpt, path: x, %s}}}", datasetKeys},
		{"{" + simple + ", workload: {dataset: {kind: jsonl, path: x, %s}}}", datasetKeys},
		{"{" + simple + ", workload: {dataset: {kind: trace, path: x, %s}}}", datasetKeys},
		{"{" + simple + ", stages: {load: {transport: net/http, %s}}}", []string{"loops"}},
		{"{" + simple + ", stages: {analyze: {window: {%s}}}}", windowKeys},
		{"{" + simple + ", stages: {a: {uses: analyze, window: {from: 95%%, %s}}}}", windowKeys},
		{at("slo", ""), sloKeys},
		{at("reuse", ""), reuseKeys},
		{"{modes: {m: {engine: simulated}}, sweep: {%s}}", []string{"qps"}},
		{"{modes: {m: {engine: simulated}}, sweep: {qps: [1, 2], %s}}", append(slices.Clone(sweepKeys), "model", "workload.seed", "modes.m.args.x", "modes.m", "stages.load", "stages.load.timeout", "stages.load.retries", "reuse.max_age", "slo.ttft", "name", "workload", "x")},
		{at("stages", ""), slices.Concat(stageUses, names)},
		{"{" + simple + ", figures: [{kind: comparison, %s}]}", figureKeys},
		{"{" + simple + ", figures: [{kind: attainment, %s}]}", figureKeys},
		{"{" + simple + ", figures: [{%s}]}", figureKeys},
	}
	for _, use := range stageUses {
		settings := slices.Concat(stageCommonKeys, stageKinds[use].keys, []string{"cooldown", "dir"})
		inside := ""
		if use == "command" {
			inside = "run: x, "
		}
		all = append(all, place{"{" + simple + ", stages: {" + use + ": {" + inside + "%s}}}", settings})
		if stageKinds[use].again {
			all = append(all, place{"{" + simple + ", stages: {other: {uses: " + use + ", " + inside + "%s}}}", settings})
		}
	}
	return append(all, place{"{" + simple + ", stages: {other: {%s}}}", stageCommonKeys}, place{"{" + simple + ", stages: {command: {%s}}}", append(slices.Clone(stageCommonKeys), "run")})
}

type place struct {
	around string // YAML with %s where the key and its value stand
	keys   []string
}

// values are tried at every place.
func values() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat([]string{
		"", "~", "0", "1", "2", "-1", "+1", "007", "1.0", ".5", "0.9", "1e3", "70000", "5000", "1000000001",
		"true", "yes", `"True"`, `""`, `" "`, `"0"`, `"+2"`, `"-3"`, `"1.5"`, `"0.0"`, `"1e-1"`, `".25"`, ".nan", "inf",
		"90%", "100.0%", "101%", "0%", "0.5%", "99.9 %",
		"125ms", "1.5s", "1m30s", "0s", "0s1ms", "-1s", `"5"`, "3 s", "1d", "1.5d", "0d", "1d12h", "d", "1d5",
		"m", "a/b", ".a", `"a b"`, "a.pdf", "../x", "/x", "x.yaml",
		`"http://h:1"`, `"https://h/x/"`, `"h:1"`, `"http://h?x"`, `"http://u@h"`, `"ftp://h"`,
		`"1..3/1"`, `"1..3"`, `"0,1"`, `"[0,1]"`, "GPU-1a", "qps > 0", "x {port}",
		"[]", "[1, 2]", "[1, 1]", "[0.5, x]", "[a]", "[a, a]", "[null]", "[[1]]", "[{}]", "[deploy]", "[warmup]", "[analyze]", "[analyze, load]", "[pdf, svg]", "[parquet]",
		"{}", "{a: 1}", "{a: {}}", "{A: true}", "{qps: 1}", "{kind: jsonl}", "{uses: analyze}", "{uses: command, run: x}", "{run: x}", "{m: }",
		"0.0%", "50%", "::1", "127.0.0.2", "127.0.0.256", "fe80::1%eth0", "[127.0.0.2, 127.0.0.2]", "{shape: exponential, from: 0}", "{from: 0, over: 1s}", "{from: 5s, to: 90%}", "{to: 0}",
		"[{kind: attainment}]", "[{kind: comparison, xs: shared}]",
	}, enumWords(specSchema())))))
}

// TestSchemaAgrees tries every value at every place of the language and holds
// that the schema and the decoder give the same answer. Where they do not,
// it must be for one of the reasons below.
func TestSchemaAgrees(t *testing.T) {
	t.Parallel()
	check := compileSchema(t)
	all := values()
	few := []string{"", "1", "true", "m", "90%", "125ms", ".nan", `"http://h:1"`, "[]", "[analyze]", "{}", "{a: 1}", "{m: }"}
	seen := map[string]bool{} // keys with their schemas
	tried := 0
	used := map[string]bool{}
	for _, p := range places() {
		for _, key := range append(slices.Clone(p.keys), "nosuchkey") {
			values := all
			what := ""
			if s := schemaAt(t, fmt.Sprintf(p.around, quoteYAML(key)+": MARK")); s != nil {
				what = key + s.json()
			}
			if what == "" || seen[what] {
				// Whether the key is taken here is the question; its values
				// are tried elsewhere.
				values = few
			}
			seen[what] = true
			for _, value := range values {
				spec := fmt.Sprintf(p.around, quoteYAML(key)+": "+value)
				_, err := Parse("testdata/x.yaml", []byte(spec), Options{Env: noEnv, SkipFiles: true})
				if err != nil && strings.Contains(err.Error(), "is already on line") {
					continue // the place has that key
				}
				tried++
				refusal := check(t, []byte(spec))
				if (err == nil) == (refusal == nil) {
					continue
				}
				reasons, subject := semantic, ""
				if err == nil {
					reasons, subject = stricter, spec
				} else {
					subject = err.Error()
				}
				if i := slices.IndexFunc(reasons, func(r reason) bool { return regexp.MustCompile(r.pattern).MatchString(subject) }); i >= 0 {
					used[reasons[i].pattern] = true
					continue
				}
				t.Errorf("%s\nthe decoder says: %v\nthe schema says: %v", spec, err, refusal)
			}
		}
	}
	for _, r := range slices.Concat(semantic, stricter) {
		if !used[r.pattern] {
			t.Errorf("no value needs the exception %q any more", r.pattern)
		}
	}
	t.Logf("%d values tried", tried)
	if tried < 10_000 {
		t.Errorf("only %d values were tried", tried)
	}
}

// reason is why the schema and the decoder may differ.
type reason struct{ pattern, why string }

// semantic are errors of the decoder that no schema can find.
var semantic = []reason{
	{`there is no mode "`, "names refer to each other"},
	{`which is no stage`, "names refer to each other"},
	{`which leaves no result`, "names refer to each other"},
	{`stages need each other`, "names refer to each other"},
	{`draws an analysis, and .* is none`, "names refer to each other"},
	{`the sweep has no axis`, "names refer to each other"},
	{`(valid|sweep\.exclude|figures\.where): `, "the language of expressions is not JSON Schema's"},
	{`: axis \S+ = `, "a value of an axis is typed by the place that its path leads to"},
	{`must be a whole number, not "(1\.0|1e3)"`, "in JSON a whole number may be written so"},
	{`is shorter than the cooldown`, "two values are compared"},
	{`window is empty`, "two values are compared"},
	{`leaves no point to measure`, "axes multiply"},
	{`"(\+1|\.5)" cannot name a folder`, "an editor has read a number"},
	{`(cannot be|base name, not) "\.5"`, "an editor has read a number"},
	{`has no extension: "a\.pdf"`, "what a text may not end with takes a lookahead, which not every validator has"},
	{`leaves it \(outputs`, "folders of a path are followed, not matched"},
	{`which no request and no command line can say`, "JSON cannot say it either: an editor has read a text or a number"},
}

// stricter are specs that the decoder reads and the schema refuses.
var stricter = []reason{
	{`": (~|null|)}`, "a key that does not go with its block and says nothing"},
	{`: true[}\]]`, "an unquoted true where a word is wanted"},
	{`"1e-1"|"-0"`, "a share or a ratio in quotes with a power of ten"},
}

func enumWords(s *schema) []string {
	var out []string
	walk(s, func(s *schema) { out = append(out, s.Enum...) })
	slices.Sort(out)
	return slices.Compact(out)
}

// walk visits s and all schemas inside it.
func walk(s *schema, visit func(*schema)) {
	visit(s)
	s.mapped(func(_ string, of *schema) *schema {
		walk(of, visit)
		return of
	})
}
