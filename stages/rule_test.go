package stages

import (
	"fmt"
	"math"
	"testing"

	"vbp/specs"
)

// What a rule is found to be without the interpreter is what the interpreter
// finds.
func TestRuleIsAsTheInterpreterHasIt(t *testing.T) {
	values := []float64{-1, 0, 0.5, 1, 3, 1e15, math.Inf(1)}
	plain := 0
	for _, op := range []string{"<", "<=", ">", ">=", "==", "!="} {
		for _, form := range []string{"a %s 1", "a %s 0.5", "1 %s a", "a %s b", "a %s a", "a %s -1", "a %s 1e15", "(a) %s 1", "a + 0 %s b", "not (a %s b)", "a%s1"} {
			compiled, err := specs.CompileRule(fmt.Sprintf(form, op))
			if err != nil {
				t.Fatal(err)
			}
			r := newRule(compiled)
			if r.comparison != "" {
				plain++
			}
			for _, a := range values {
				for _, b := range values {
					want, err := compiled.Holds(map[string]any{"a": a, "b": b})
					if err != nil {
						t.Fatal(err)
					}
					if got := r.broken(map[string]float64{"a": a, "b": b}) == ""; got != want {
						t.Errorf("%s with a = %v, b = %v: %v, want %v", r, a, b, got, want)
					}
				}
			}
			// What is missing breaks every rule, but one that may lack it.
			for _, facts := range []map[string]float64{{}, {"a": math.NaN()}} {
				if r.broken(facts) != r.String()+": the fact a is missing" {
					t.Errorf("%s without facts: %q", r, r.broken(facts))
				}
				lenient := r
				lenient.mayLack = true
				if why := lenient.broken(facts); why != "" {
					t.Errorf("%s may lack its facts: %q", r, why)
				}
			}
		}
	}
	if plain != 6*5 { // the first five forms
		t.Errorf("%d rules need no interpreter", plain)
	}
	for _, src := range []string{"true == true", "1 < 2", "len([1]) == 1"} {
		compiled, err := specs.CompileRule(src)
		if err != nil {
			t.Fatal(err)
		}
		r := newRule(compiled)
		if why := r.broken(nil); why != "" {
			t.Errorf("%s: %q", src, why)
		}
	}
}
