package specs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Patterns are written for Go and for JavaScript with its flag u alike: no
// lookahead, no flags inside.
const (
	// env is what makes a text one whose value only the environment knows.
	env = `\$\{`

	// A decimal number above 0: a digit other than 0 before or behind the point.
	above0 = `(?:\d*[1-9]\d*(?:\.\d*)?|\d*\.\d*[1-9]\d*)`
	unit   = `(?:ns|us|µs|μs|ms|s|m|h|d)`
	some   = `(?:\d+(?:\.\d*)?|\.\d+)` // one that may be 0
	power  = `(?:[eE][-+]?\d+)?`
)

func limit(v float64) *float64 { return &v }

func size(n int) *int { return &n }

// text is a text that pattern matches; hint says what such a text is. YAML
// reads 5 as a number, which is as good a text.
func text(pattern, hint string) *schema {
	return &schema{Type: []string{"string", "number"}, Pattern: orEnv(pattern), PatternErrorMessage: "must be " + hint}
}

// word is text that no number can be.
func word(pattern, hint string) *schema {
	s := text(pattern, hint)
	s.Type = []string{"string"}
	return s
}

// anyText is any single value.
func anyText() *schema { return &schema{Type: []string{"string", "number", "boolean"}} }

// orEnv lets pattern match, or a reference to the environment.
func orEnv(pattern string) string {
	if pattern == `\S` {
		return pattern // which ${ matches
	}
	return pattern + "|" + env
}

// choice is one of a few words.
func choice(of ...string) *schema {
	return &schema{AnyOf: []*schema{
		{Enum: slices.Clone(of)},
		{Type: []string{"string"}, Pattern: env, PatternErrorMessage: "must be one of " + strings.Join(of, ", ")},
	}}
}

// count is a whole number from least (0 or 1) to most.
func count(least, most int) *schema {
	digits := `\d+`
	if least > 0 {
		digits = `0*[1-9]\d*`
	}
	return &schema{
		Type: []string{"integer", "string"}, Minimum: limit(float64(least)), Maximum: limit(float64(most)),
		Pattern: orEnv(`^\+?` + digits + `$`), PatternErrorMessage: fmt.Sprintf("must be a whole number from %d, or ${NAME:-default}", least),
	}
}

// whole is any whole number.
func whole() *schema {
	return &schema{
		Type: []string{"integer", "string"}, Pattern: orEnv(`^[-+]?\d+$`),
		PatternErrorMessage: "must be a whole number, or ${NAME:-default}",
	}
}

// positive is a number above 0.
func positive() *schema {
	return &schema{
		Type: []string{"number", "string"}, ExclusiveMinimum: limit(0),
		Pattern: orEnv(`^\+?` + above0 + power + `$`), PatternErrorMessage: "must be a number above 0, or ${NAME:-default}",
	}
}

// below1 is a number from 0 to below 1.
func below1() *schema {
	return &schema{
		Type: []string{"number", "string"}, Minimum: limit(0), ExclusiveMaximum: limit(1),
		Pattern: orEnv(`^\+?(?:0+(?:\.\d*)?|0*\.\d+)$`), PatternErrorMessage: "must be a number from 0 to below 1, or ${NAME:-default}",
	}
}

// Shares above 0 and at most 1, as percent and as a number, and below 100 %.
const (
	percentAbove0   = `\+?0*(?:100(?:\.0*)?|[1-9]\d?(?:\.\d*)?|\.\d*[1-9]\d*)\s*%`
	numberAbove0    = `\+?0*(?:1(?:\.0*)?|\.\d*[1-9]\d*)`
	percentBelow100 = `[-+]?(?:0*\d{1,2}(?:\.\d*)?|0*\.\d+)\s*%`
	zero            = `[-+]?(?:0+(?:\.0*)?|\.0+)`
)

// share is more than 0 and at most 1, also as percent.
func share() *schema {
	return &schema{
		Type: []string{"number", "string"}, ExclusiveMinimum: limit(0), Maximum: limit(1),
		Pattern: orEnv("^" + percentAbove0 + "$|^" + numberAbove0 + "$"),

		PatternErrorMessage: "must be a share such as 90% or 0.9, above 0 and at most 100%, or ${NAME:-default}",
	}
}

// shareFrom0 is a share that may be none.
func shareFrom0() *schema {
	return &schema{
		Type: []string{"number", "string"}, Minimum: limit(0), Maximum: limit(1),
		Pattern: orEnv("^" + percentAbove0 + "$|^" + numberAbove0 + "$|^" + zero + `\s*%?$`),

		PatternErrorMessage: "must be a share such as 10% or 0.1, at most 100%, or ${NAME:-default}",
	}
}

// edge is an instant of a point: a duration, or a share in percent. The first
// may be 0 and not 100 %, the last the other way round.
func edge(last bool) *schema {
	s := duration(0)
	s.Pattern += "|^" + percentBelow100 + "$"
	if last {
		s = duration(1)
		s.Pattern += "|^" + percentAbove0 + "$"
	}
	s.PatternErrorMessage = "must be a duration such as 10s, or a share of the schedule such as 10%, or ${NAME:-default}"
	return s
}

// duration is a length of time with its unit; least is 0 or 1: whether none at
// all is allowed.
func duration(least int) *schema {
	s := &schema{Type: []string{"string"}, PatternErrorMessage: "must be a duration with its unit, such as 125ms, 2s, 1m30s or 7d, or ${NAME:-default}ms"}
	if least > 0 {
		s.Pattern = orEnv(fmt.Sprintf(`^\+?(?:%s%s)*%s%s(?:%s%s)*$`, some, unit, above0, unit, some, unit))
		return s
	}
	// 0 is the only number that needs no unit.
	s.Type, s.Minimum, s.Maximum = []string{"string", "integer"}, limit(0), limit(0)
	s.Pattern = orEnv(fmt.Sprintf(`^\+?(?:%s%s)+$|^[-+]?0$`, some, unit))
	return s
}

// boolean is true or false.
func boolean() *schema {
	return &schema{
		Type: []string{"boolean", "string"}, Pattern: orEnv(`^(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$`),
		PatternErrorMessage: "must be true or false, or ${NAME:-default}",
	}
}

// listOf is a list of items, or one alone. A single item must be told from a
// list by its type, so items are no lists.
func listOf(item *schema) *schema {
	if len(item.AnyOf) > 0 {
		list := &schema{Type: []string{"array"}, Items: item, UniqueItems: true}
		// ${...} stays last, see orNull.
		return &schema{AnyOf: append([]*schema{list}, item.AnyOf...)}
	}
	s := *item
	s.Type = append(slices.Clip(item.Type), "array")
	s.Items, s.UniqueItems = item, true
	return &s
}

// notEmpty refuses a list without items.
func (s *schema) notEmpty() *schema {
	if len(s.AnyOf) > 0 {
		s.AnyOf[0].MinItems = size(1)
	} else {
		s.MinItems = size(1)
	}
	return s
}

// words is a list of texts, none twice.
func words(pattern, hint string) *schema { return listOf(text(pattern, hint)) }

// choices is a list of some words, none twice.
func choices(of ...string) *schema { return listOf(choice(of...)) }

// texts is a mapping of names to single values.
func texts(name, value *schema) *schema {
	return &schema{Type: []string{"object"}, PropertyNames: name, AdditionalProperties: value}
}

// names are keys of the user's own.
func names(form *regexp.Regexp, hint string) *schema {
	return &schema{Pattern: form.String(), PatternErrorMessage: "must be " + hint}
}

// open is a mapping of any names to anything, but for names that have a key of
// their own elsewhere.
func open(taken ...string) *schema {
	s := &schema{Type: []string{"object"}}
	slices.Sort(taken)
	for _, name := range taken {
		s.Properties = append(s.Properties, property{name, nothing})
	}
	return s
}

// sloSchema is objectives; those that are not said are d.
func sloSchema(d SLO) *schema {
	return closed(sloKeys, forms{
		"ttft":   duration(1).says("Time to first token", "Objective for the time from the actual send of a request to its first token, a duration such as 125ms.").or(d.TTFT.String()).such("${TTFT_SLO:-125}ms"),
		"tpot":   duration(1).says("Time per output token", "Objective for the mean time between output tokens of a request, a duration such as 200ms.").or(d.TPOT.String()).such("${TPOT_SLO:-200}ms"),
		"target": share().says("Target attainment", "Share of all sent requests that should meet both objectives, as 90% or 0.9; crossings and capacity are found for it.").or(percent(d.Target)).such("${TARGET_ATTAINMENT:-90}%"),
	})
}

func percent(share float64) string { return canonical(share*100) + "%" }

func scalesSchema() *schema {
	return listOf(positive()).notEmpty().says("SLO scales", "Factors that both objectives are multiplied by for the right panel, at one rate; they are scored from stored samples.")
}

func scaleRateSchema() *schema {
	return positive().says("Rate of the scale panel", "Request rate, per second, whose samples the SLO scales re-score. Default: the median rate that all series share, the lower of two.").such(4)
}

// gpuWords are what gpus may be beside a count and a list.
var gpuWords = []string{"auto", "none"}

func gpusSchema() *schema {
	return (&schema{AnyOf: []*schema{
		{Enum: gpuWords},
		{Type: []string{"integer"}, Minimum: limit(0), Maximum: limit(maxCount)},
		{Type: []string{"array"}, Items: &schema{Type: []string{"string", "number"}, Pattern: `\S`}, MinItems: size(1), UniqueItems: true},
		{
			Type: []string{"string"}, Pattern: orEnv(`^\+?\d+$|^(?:GPU|MIG)-[^,]*$|^[\[ ]*[^,\[\] ][^,]*(?:,[^,]*[^,\[\] ])+[\] ]*$`),
			PatternErrorMessage: "must be auto, none, a count, or a list of indices or UUIDs",
		},
	}}).says("GPUs", "Accelerators of this host that deployments share: auto (CUDA_VISIBLE_DEVICES, else nvidia-smi), none, a count, or a list of indices or UUIDs.").
		or("auto").such("${VBP_GPUS:-auto}", 4, []any{0, 1})
}
