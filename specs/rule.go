package specs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

// Rule is a compiled rule of valid: a boolean expr over the facts of a point.
// It may be used by several goroutines at once.
type Rule struct{ x *expression }

// CompileRule compiles a rule. It may name any fact; its syntax, its calls and
// that it is boolean are checked here as far as they can be.
func CompileRule(src string) (*Rule, error) {
	x, err := compileExpr(src, map[string]any{}, true)
	if err != nil {
		return nil, err
	}
	return &Rule{x}, nil
}

// String is the rule as it was written.
func (r *Rule) String() string { return r.x.src }

// Names are the facts that the rule names.
func (r *Rule) Names() []string { return r.x.names }

// Holds tells whether the facts meet the rule. A fact that is missing, nil or
// NaN fails every rule that names it: the error says which. An error for
// another reason (a comparison of a text with a number, a result that is not
// boolean) fails the rule too.
func (r *Rule) Holds(facts map[string]any) (bool, error) {
	for _, name := range r.x.names {
		switch v := facts[name].(type) {
		case nil:
			return false, fmt.Errorf("%s: the fact %s is missing", r.x.src, name)
		case float64:
			if math.IsNaN(v) {
				return false, fmt.Errorf("%s: the fact %s is missing", r.x.src, name)
			}
		}
	}
	return r.x.holdsIn(facts)
}

// Broken says how the facts break the rule, in the words of Holds and Failure;
// "" if they meet it. It is for judging many points: it looks only at the
// facts that the rule names, and makes nothing else of them.
func (r *Rule) Broken(facts map[string]float64) string {
	env := envs.Get().(map[string]any)
	defer func() {
		clear(env)
		envs.Put(env)
	}()
	for _, name := range r.x.reads {
		if v, ok := facts[name]; ok {
			env[name] = v
		}
	}
	switch ok, err := r.Holds(env); {
	case err != nil:
		return err.Error()
	case !ok:
		return r.Failure(env)
	}
	return ""
}

// envs are maps of facts that Broken has used and emptied.
var envs = sync.Pool{New: func() any { return map[string]any{} }}

// Where is a compiled figures.where: a boolean expr over the labels of a
// series. It may be used by several goroutines at once.
type Where struct{ x *expression }

// CompileWhere compiles a condition on series: mode is a text, axis["PATH"]
// the value of another axis.
func CompileWhere(src string) (*Where, error) {
	x, err := compileExpr(src, whereEnv("", nil), false)
	if err != nil {
		return nil, err
	}
	return &Where{x}, nil
}

// compileWhere is CompileWhere that knows the axes of the sweep.
func compileWhere(src string, axes []string) (*Where, *exprError) {
	x, err := compileExpr(src, whereEnv("", nil), false)
	if err == nil {
		err = x.knowsAxes(axes)
	}
	if err != nil {
		return nil, err
	}
	return &Where{x}, nil
}

func whereEnv(mode string, axis map[string]any) map[string]any {
	return map[string]any{"mode": mode, "axis": axis}
}

// String is the condition as it was written.
func (w *Where) String() string { return w.x.src }

// Matches tells whether a series with these labels, by name of the axis, is
// meant. A label that reads as a number or as true or false is one. A
// comparison with an axis that the series does not have does not match.
func (w *Where) Matches(labels map[string]string) (bool, error) {
	axis := make(map[string]any, len(labels))
	for name, text := range labels {
		axis[name] = labelValue(text)
	}
	ok, err := w.x.holdsIn(whereEnv(labels["mode"], axis))
	if err != nil && lacks(axis, w.x.axes) {
		return false, nil
	}
	return ok, err
}

// lacks tells whether one of names is not in axis.
func lacks(axis map[string]any, names []string) bool {
	for _, n := range names {
		if _, ok := axis[n]; !ok {
			return true
		}
	}
	return false
}

// labelValue is the value whose canonical text is s.
func labelValue(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	}
	if decimal.MatchString(s) && !leadingZero(s) && !strings.HasPrefix(s, "+") {
		if v, err := strconv.ParseFloat(s, 64); err == nil {
			return v
		}
	}
	return s
}

// defaultRules are the rules of a spec that has none. 0.97: a generator that
// stretched its schedule by 3 % did not offer the rate that is on the axis.
// 5 ms: a small share of any TTFT objective that people set.
var defaultRules = []string{"schedule_kept > 0.97", "send_lag_p99_ms < 5"}
