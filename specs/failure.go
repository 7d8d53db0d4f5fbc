package specs

import (
	"fmt"
	"math"
	"strings"
)

// Failure says in words that facts do not meet the rule, with the values that
// it names: "send_lag_p99_ms < 5, it was 11.9".
func (r *Rule) Failure(facts map[string]any) string {
	var values []string
	for _, name := range r.x.names {
		if v, ok := facts[name]; ok {
			if f, isNumber := v.(float64); isNumber {
				if v = fmt.Sprintf("%.3g", f); math.Abs(f) >= 1000 && math.Abs(f) < 1e15 {
					v = fmt.Sprintf("%.0f", f) // not 2.1e+03
				}
			}
			values = append(values, fmt.Sprintf("%v", v))
			if len(r.x.names) > 1 {
				values[len(values)-1] = fmt.Sprintf("%s %v", name, v)
			}
		}
	}
	if len(values) == 0 {
		return r.x.src + " does not hold"
	}
	return r.x.src + ", it was " + strings.Join(values, ", ")
}
