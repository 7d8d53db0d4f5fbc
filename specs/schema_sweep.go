package specs

import (
	"maps"
	"slices"
)

func sweepSchema() *schema {
	s := closed(sweepKeys, forms{
		"mode":    words(`\S`, "the name of a mode").notEmpty().says("Modes to run", "Names of the modes that are run. Default: all, in their order."),
		"qps":     listOf(qpsSchema()).notEmpty().says("Request rates", `Request rates per second, numbers and ranges such as "8..16/4" for 8, 12, 16.`).such([]any{1, 2, 4, "8..16/4"}),
		"repeat":  count(1, maxCount).says("Repeats", "How often each point is measured; with three or more, intervals are over repeats.").or(1),
		"order":   choice(sweepOrders...).says("Order", "Order of measuring. blocks: repeat by repeat, every deployment once in random order and its rates shuffled, by workload.seed; as_written: as the spec lists modes, other axes and rates.").or(sweepOrders[0]),
		"exclude": words(`\S`, "an expression").says("Excluded points", "Expressions over mode, qps, repeat and axis[\"PATH\"]; points for which one holds are left out.").such([]string{"mode == 'simple' && qps > 12"}),
	}, "qps")
	s.Type = []string{"object"}
	// Any other key is a dotted path of the spec. Those that stored samples
	// answer, or that cannot differ between points, are no axes.
	axis := (&schema{Type: []string{"string", "number", "boolean", "array"}, MinItems: size(1), UniqueItems: true}).
		says("Axis", "Values of this place in the spec; every combination of all axes is measured. A path below modes.NAME multiplies that mode only.")
	s.PatternProperties = properties{
		{`^model$`, axis}, {`^workload\.[^.]`, axis}, {`^modes\.[^.]+\..`, axis}, {`^stages\.[^.]+\.[^.]`, axis},
	}
	for _, use := range slices.Sorted(maps.Keys(stageEffort)) {
		s.PatternProperties = append(s.PatternProperties, property{`^stages\.` + use + `\.` + stageEffort[use] + `$`, nothing})
	}
	return s.says("Sweep", "What is measured: axes multiply. Any dotted path of the spec, such as modes.simple.args.max-num-seqs, is a further axis.").
		such(map[string]any{"qps": []any{1, 2, 4}})
}

// qpsSchema is one rate, or a range of them.
func qpsSchema() *schema {
	s := positive()
	s.ExclusiveMinimum, s.Minimum, s.Maximum = nil, limit(leastQPS), limit(mostQPS)
	s.Pattern += "|" + rangeForm.String()
	s.PatternErrorMessage = `must be a rate above 0, a range such as "8..16/4", or ${NAME:-default}`
	return s
}
