package specs

import (
	"fmt"
	"testing"
)

// benchRules are rules as specs and vbp itself have them.
var benchRules = []string{
	"schedule_kept > 0.97", "send_lag_p99_ms < 5", "healthy_after == 1", "sent == planned",
	"warmup_slowdown < 1.5", "queue_before == 0", "failed == 0", "failed <= 0.01 * sent && nixl_bytes > 0",
}

func benchFacts() map[string]float64 {
	facts := map[string]float64{
		"schedule_kept": 0.998, "send_lag_p99_ms": 1.25, "healthy_after": 1, "sent": 300, "planned": 300,
		"warmup_slowdown": 1.01, "queue_before": 0, "failed": 0, "nixl_bytes": 1e9,
	}
	for i := range 20 {
		facts[fmt.Sprintf("other_%d", i)] = float64(i)
	}
	return facts
}

// BenchmarkRule judges one point by eight rules, as a plan does for every
// measurement that is stored: an op is one rule.
func BenchmarkRule(b *testing.B) {
	var rules []*Rule
	for _, src := range benchRules {
		r, err := CompileRule(src)
		if err != nil {
			b.Fatal(err)
		}
		rules = append(rules, r)
	}
	facts := benchFacts()
	boxed := make(map[string]any, len(facts))
	for k, v := range facts {
		boxed[k] = v
	}
	b.Run("Broken", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if why := rules[i%len(rules)].Broken(facts); why != "" {
				b.Fatal(why)
			}
		}
	})
	b.Run("Holds", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if ok, err := rules[i%len(rules)].Holds(boxed); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Compile", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := CompileRule(benchRules[i%len(benchRules)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
