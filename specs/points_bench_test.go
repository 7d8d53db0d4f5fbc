package specs

import (
	"fmt"
	"strings"
	"testing"
)

func numbers(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprint(i + 1)
	}
	return strings.Join(words, ", ")
}

// sweeps are specs of n points, n a power of ten from a thousand up: many
// repeats, a further axis, rules that leave some out, and as many combinations
// of other axes as points.
var sweeps = []struct {
	name string
	spec func(n int) string
}{
	{"repeats", func(n int) string {
		return fmt.Sprintf(`
modes: {simple: {}, nixl: {disaggregated: {}}}
sweep: {qps: ["1..500/1"], repeat: %d}
`, n/1000)
	}},
	{"axis", func(n int) string {
		return fmt.Sprintf(`
modes: {simple: {}, nixl: {disaggregated: {}}}
sweep: {qps: ["1..10/1"], repeat: %d, workload.requests: [%s]}
figures: []
`, n/1000, numbers(50))
	}},
	{"excludes", func(n int) string {
		return fmt.Sprintf(`
modes: {simple: {}, nixl: {disaggregated: {}}}
sweep:
  qps: ["1..100/1"]
  repeat: %d
  workload.requests: [1, 2, 3, 4, 5]
  exclude: [mode == 'simple' && qps > 90, 'axis["workload.requests"] == 3 && repeat > 80', qps > 99]
valid: []
`, n/1000)
	}},
	{"combinations", func(n int) string {
		return fmt.Sprintf(`
modes: {simple: {args: {a: 1, b: 2, c: 3}}}
sweep: {qps: [1], modes.simple.args.a: [%s], workload.requests: [%s]}
figures: []
`, numbers(n/100), numbers(100))
	}},
}

// BenchmarkParseAndPoints reads a spec and expands it. ns/point must not grow
// with the number of points.
func BenchmarkParseAndPoints(b *testing.B) {
	for _, s := range sweeps {
		for _, n := range []int{1_000, 10_000, 100_000} {
			spec := s.spec(n)
			if s.name == "excludes" && n < 100_000 {
				spec = strings.Replace(spec, "repeat > 80", "qps > 50", 1)
			}
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				b.ReportAllocs()
				count := 0
				for b.Loop() {
					points, err := parse(b, spec).Points()
					if err != nil {
						b.Fatal(err)
					}
					count = len(points)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/point")
				b.ReportMetric(float64(count), "points")
			})
		}
	}
}
