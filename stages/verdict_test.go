package stages

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"vbp/specs"
)

// A point of a mode that hands KV over is only used if KV was handed over.
func TestTreatmentIsProven(t *testing.T) {
	nixl := map[string]string{"deployment_mode": "nixl", "num_prefill_instances": "1"}
	lmcache := map[string]string{"deployment_mode": "lmcache", "num_prefill_instances": "1"}
	good := map[string]float64{"nixl_bytes": 1e6, "nixl_failed": 0, "nixl_expired": 0, "nixl_silent": 0, "fallbacks": 0}
	with := func(name string, v float64) map[string]float64 {
		f := map[string]float64{name: v}
		for k, v := range good {
			if k != name {
				f[k] = v
			}
		}
		return f
	}
	for _, c := range []struct {
		name   string
		config map[string]string
		facts  map[string]float64
		valid  []string
		reason string // "": usable
	}{
		{"all went as it should", nixl, good, nil, ""},
		{"nothing was moved", nixl, with("nixl_bytes", 0), nil, "nixl_bytes > 0"},
		{"a transfer failed", nixl, with("nixl_failed", 1), nil, "nixl_failed == 0"},
		{"KV expired", nixl, with("nixl_expired", 2), nil, "nixl_expired == 0"},
		{"the servers tell nothing", nixl, map[string]float64{"sent": 3}, nil, "the fact nixl_bytes is missing"},
		{"the spec's own rule about it", nixl, with("nixl_failed", 1), []string{"nixl_failed <= 1"}, ""},
		{"only that one is replaced", nixl, with("nixl_bytes", 0), []string{"nixl_failed <= 1"}, "nixl_bytes > 0"},
		{"one instance moves nothing", map[string]string{"deployment_mode": "simple"}, nil, nil, ""},
		{"a mode that was called nixl", map[string]string{"deployment_mode": "nixl"}, nil, nil, ""},
		{"one decode instance fetched nothing", nixl, with("nixl_silent", 1), nil, "nixl_silent == 0"},
		{"one decode instance prefilled", nixl, with("fallbacks", 1), nil, "fallbacks == 0"},
		{"a vLLM that tells no expiries", nixl, map[string]float64{"nixl_bytes": 1, "nixl_silent": 0, "nixl_failed": 0, "fallbacks": 0}, nil, ""},
		{"LMCache delivered", lmcache, map[string]float64{"external_hit_share": .9}, nil, ""},
		{"LMCache delivered little", lmcache, map[string]float64{"external_hit_share": .1}, nil, "external_hit_share > 0.5"},
	} {
		rules, err := compileRules(c.valid)
		if err != nil {
			t.Fatal(err)
		}
		s, err := standardOf(rules, c.config, nil)
		if err != nil {
			t.Fatal(err)
		}
		v := s.judge(c.facts, nil)
		if v.Usable != (c.reason == "") || !strings.Contains(v.Reason, c.reason) {
			t.Errorf("%s: usable %v, %q; want %q", c.name, v.Usable, v.Reason, c.reason)
		}
	}
}

// What servers do to a point is judged without a rule of the spec, unless that
// has one about the same fact.
func TestAlways(t *testing.T) {
	good := map[string]float64{"sent": 9, "failed": 1, "planned": 9, "healthy_after": 1, "queue_before": 0, "warmup_slowdown": 1.1}
	for name, c := range map[string]struct {
		facts  map[string]float64 // in place of the good ones; NaN: not told
		valid  []string
		reason string // "": usable
	}{
		"all is well":            {nil, nil, ""},
		"nothing is told":        {map[string]float64{"planned": math.NaN(), "healthy_after": math.NaN(), "queue_before": math.NaN(), "warmup_slowdown": math.NaN()}, nil, ""},
		"it exits":               {map[string]float64{"sent": 4, "healthy_after": 0}, []string{"sent == 9"}, "healthy_after == 1, it was 0"},
		"it exits at once":       {map[string]float64{"sent": 1, "healthy_after": 0}, nil, "healthy_after == 1, it was 0"},
		"it exits at the end":    {map[string]float64{"healthy_after": 0}, nil, "healthy_after == 1, it was 0"},
		"it hangs":               {map[string]float64{"failed": 9, "healthy_after": 0}, nil, "healthy_after == 1, it was 0"},
		"it answers none":        {map[string]float64{"failed": 9}, []string{"failed < 2"}, "every request failed"},
		"fewer are sent":         {map[string]float64{"sent": 8}, nil, "sent == planned, it was planned 9, sent 8"},
		"it is slower":           {map[string]float64{"warmup_slowdown": 2.12}, nil, "warmup_slowdown < 1.5, it was 2.12"},
		"it is a bit slower":     {map[string]float64{"warmup_slowdown": 1.49}, nil, ""},
		"the client stood still": {map[string]float64{"client_stall_max_ms": 2100}, nil, "client_stall_max_ms < 500, it was 2100"},
		"the client was full":    {map[string]float64{"client_busy": 0.97}, nil, "client_busy < 0.9, it was 0.97"},
		"the client read late":   {map[string]float64{"read_lag_p99_us": 377487}, nil, "read_lag_p99_us < 100000, it was 377487"},
		"net/http was full":      {map[string]float64{"client_cpu_share": 0.95}, nil, "client_cpu_share < 0.9, it was 0.95"},
		"the client had no port": {map[string]float64{"client_starved": 2, "failed": 2}, nil, "client_starved == 0, it was 2"},
		"a well client":          {map[string]float64{"client_stall_max_ms": 40, "client_busy": 0.3, "client_cpu_share": 0.2, "client_starved": 0}, nil, ""},
		"it was not idle":        {map[string]float64{"queue_before": 3}, nil, "queue_before == 0, it was 3"},

		"death may be accepted":   {map[string]float64{"healthy_after": 0}, []string{"healthy_after >= 0"}, ""},
		"others may be there":     {map[string]float64{"queue_before": 3}, []string{"queue_before < 5"}, ""},
		"but not so many":         {map[string]float64{"queue_before": 5}, []string{"queue_before < 5"}, "queue_before < 5, it was 5"},
		"slowness may be bounded": {map[string]float64{"warmup_slowdown": 1.3}, []string{"warmup_slowdown < 1.2"}, "warmup_slowdown < 1.2, it was 1.3"},
		"a part may do":           {map[string]float64{"sent": 8}, []string{"sent >= 0.8 * planned"}, ""},
		"sent alone is another":   {map[string]float64{"sent": 8}, []string{"sent > 5"}, "sent == planned"},
		"an own rule wants facts": {map[string]float64{"queue_before": math.NaN()}, []string{"queue_before < 5"}, "the fact queue_before is missing"},
	} {
		facts := maps.Clone(good)
		for k, v := range c.facts {
			if facts[k] = v; math.IsNaN(v) {
				delete(facts, k)
			}
		}
		rules, err := compileRules(c.valid)
		if err != nil {
			t.Fatal(err)
		}
		s, err := standardOf(rules, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := s.judge(facts, nil); v.Usable != (c.reason == "") || !strings.Contains(v.Reason, c.reason) {
			t.Errorf("%s: usable %v, %q; want %q", name, v.Usable, v.Reason, c.reason)
		}
	}
	for _, own := range slices.Concat(append(slices.Collect(maps.Values(treatment)), always)...) {
		if r, err := specs.CompileRule(own.rule); err != nil || !slices.Contains(r.Names(), own.fact) || !knownFact(own.fact) {
			t.Errorf("%+v: %v", own, err)
		}
	}
}

// Every stored point is judged for a plan.
func BenchmarkJudge(b *testing.B) {
	rules, err := compileRules([]string{"schedule_kept > 0.97", "send_lag_p99_ms < 5"})
	if err != nil {
		b.Fatal(err)
	}
	s, err := standardOf(rules, map[string]string{"num_prefill_instances": "1", "deployment_mode": "nixl"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	facts := map[string]float64{
		"schedule_kept": 1, "send_lag_p99_ms": 1, "sent": 9, "planned": 9, "healthy_after": 1, "queue_before": 0, "warmup_slowdown": 1,
		"nixl_bytes": 1, "nixl_silent": 0, "nixl_failed": 0, "nixl_expired": 0, "fallbacks": 0,
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := s.judge(facts, nil); !v.Usable {
			b.Fatal(v)
		}
	}
}

func TestExpect(t *testing.T) {
	for _, c := range []struct{ name, expect, environment, want string }{
		{"nothing", "", "a=1", ""},
		{"met", "kv_connector=NixlConnector", "kv_connector=NixlConnector model=m", ""},
		{"another", "kv_connector=NixlConnector", "kv_connector=none", "expect kv_connector: NixlConnector, but the servers have none"},
		{"not told", "kv_connector=NixlConnector", "model=m engine=vllm", "expect kv_connector: NixlConnector, but the servers do not tell it (they tell engine, model)"},
		{"instances differ", "dtype=bfloat16", "dtype.decode-0=bfloat16 dtype.prefill-0=float16", "expect dtype: bfloat16, but the servers differ: dtype.decode-0 bfloat16, dtype.prefill-0 float16"},
		{"of one instance, while all agree", "kv_connector.prefill-0=NixlConnector", "kv_connector=NixlConnector", ""},
		{"a number", "gpu_memory_utilization=0.80", "gpu_memory_utilization=0.8", ""},
		{"of one instance", "kv_role.prefill-0=kv_producer", "kv_role.prefill-0=kv_producer kv_role.decode-0=kv_consumer", ""},
	} {
		if got := unmet(pairs(c.expect), pairs(c.environment)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// pairs reads "a=1 b=2".
func pairs(text string) map[string]string {
	m := make(map[string]string)
	for _, p := range strings.Fields(text) {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return m
}
