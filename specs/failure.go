package specs

import (
	"fmt"
	"strings"
)

// Failure says in words that facts do not meet the rule, with the values that
// it names: "send_lag_p99_ms < 5, it was 11.9".
func (r *Rule) Failure(facts map[string]any) string {
	var values []string
	for _, name := range r.x.names {
		if v, ok := facts[name]; ok {
			if f, isNumber := v.(float64); isNumber {
				v = fmt.Sprintf("%.3g", f)
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
