package stages

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/specs"
)

// rule is a rule on facts. Nearly all are one comparison ("send_lag_p99_ms <
// 5"): whether such a one holds is found without the interpreter, which takes
// a hundred times as long, and a plan asks for every rule and point.
type rule struct {
	*specs.Rule
	mayLack bool // it holds where a fact that it names is not told

	left, right operand
	comparison  string // "": it is more than one
}

// operand is a fact or a number.
type operand struct {
	fact   string // "": a number
	number float64
}

func newRule(r *specs.Rule) rule {
	out := rule{Rule: r}
	words := strings.Fields(r.String())
	if len(words) != 3 || !slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, words[1]) {
		return out
	}
	operandOf := func(word string) (operand, bool) {
		if slices.Contains(r.Names(), word) {
			return operand{fact: word}, true
		}
		v, err := strconv.ParseFloat(word, 64)
		return operand{number: v}, err == nil && strings.Trim(word, "0123456789.") == ""
	}
	left, ok := operandOf(words[0])
	right, okToo := operandOf(words[2])
	if ok && okToo {
		out.left, out.comparison, out.right = left, words[1], right
	}
	return out
}

// in is an operand's value; NaN if it is a fact that is missing.
func (o operand) in(facts map[string]float64) float64 {
	if o.fact == "" {
		return o.number
	}
	if v, ok := facts[o.fact]; ok {
		return v
	}
	return math.NaN()
}

// plainly tells that the rule holds, if it is one comparison; false says
// nothing.
func (r *rule) plainly(facts map[string]float64) bool {
	if r.comparison == "" {
		return false
	}
	a, b := r.left.in(facts), r.right.in(facts)
	switch r.comparison {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	case ">=":
		return a >= b
	case "==":
		return a == b
	}
	return a < b || a > b // not where one is missing
}

// broken says how facts break the rule; "" if they do not.
func (r *rule) broken(facts map[string]float64) string {
	if r.plainly(facts) {
		return ""
	}
	values := make(map[string]any, len(r.Names()))
	for _, name := range r.Names() {
		if v, ok := facts[name]; ok && !math.IsNaN(v) {
			values[name] = v
		} else if r.mayLack {
			return ""
		}
	}
	switch ok, err := r.Holds(values); {
	case err != nil:
		return err.Error()
	case !ok:
		return r.Failure(values)
	}
	return ""
}

// firstBroken says how facts break the first of some rules that they break.
func firstBroken(rules []rule, facts map[string]float64) string {
	for i := range rules {
		if why := rules[i].broken(facts); why != "" {
			return why
		}
	}
	return ""
}
