package specs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestExcludes leaves out by rules that read different coordinates, in any
// order; what must be left is worked out by Go conditions of the same meaning.
func TestExcludes(t *testing.T) {
	type point struct {
		mode   string
		x      int // 0: the mode has no such axis
		qps    float64
		repeat int
	}
	rules := []struct {
		src   string
		match func(p point) bool
	}{
		{"mode == 'a'", func(p point) bool { return p.mode == "a" }},
		{`axis["modes.a.args.x"] == 2`, func(p point) bool { return p.x == 2 }},
		{`axis["modes.a.args.x"] > 1 && qps < 2`, func(p point) bool { return p.x > 1 && p.qps < 2 }},
		{"qps > 1.5", func(p point) bool { return p.qps > 1.5 }},
		{"repeat == 1", func(p point) bool { return p.repeat == 1 }},
		{"repeat == 2 || qps == 3", func(p point) bool { return p.repeat == 2 || p.qps == 3 }},
		{"let r = repeat; r == 0 && mode == 'b'", func(p point) bool { return p.repeat == 0 && p.mode == "b" }},
	}
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(rules)-1), 1, 4, rapid.ID[int]).Draw(t, "rules")
		var spec strings.Builder
		spec.WriteString("modes: {a: {}, b: {}}\nsweep:\n  qps: [1, 2, 3]\n  repeat: 3\n  modes.a.args.x: [1, 2, 3]\n  exclude:\n")
		for _, i := range chosen {
			fmt.Fprintf(&spec, "    - %s\n", rules[i].src)
		}
		var want []string
		for _, mode := range []string{"a", "b"} {
			xs := []int{1, 2, 3}
			if mode == "b" {
				xs = []int{0}
			}
			for _, x := range xs {
				for _, qps := range []float64{1, 2, 3} {
					for repeat := range 3 {
						p := point{mode, x, qps, repeat}
						if !slices.ContainsFunc(chosen, func(i int) bool { return rules[i].match(p) }) {
							want = append(want, strings.ReplaceAll(fmt.Sprint(mode, " ", x, " ", qps, " ", repeat), " 0 ", " - "))
						}
					}
				}
			}
		}
		e, err := Parse("x.yaml", []byte(spec.String()), Options{Env: noEnv})
		if len(want) == 0 {
			if err == nil || !strings.Contains(err.Error(), "leaves no point") {
				t.Fatalf("%s: %v", spec.String(), err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", spec.String(), err)
		}
		points, err := e.Points()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range points {
			x := p.Axes[1].Value
			if !p.Axes[1].Set {
				x = "-"
			}
			got = append(got, fmt.Sprint(p.Mode, " ", x, " ", p.QPS, " ", p.Repeat))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s leaves\n%s\nwant\n%s", spec.String(), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
