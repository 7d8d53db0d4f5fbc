package specs

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rates outside of these are slips of the pen; nothing serves or waits so long.
const (
	leastQPS = 1e-6
	mostQPS  = 1e6
)

// sweepKeys are reserved; any other key of sweep is a dotted path.
var sweepKeys = []string{"mode", "qps", "repeat", "order", "exclude"}

// sweepOrders are the orders of measuring, the default first. A block is one
// repeat: every deployment once in random order, its rates shuffled, so that
// what drifts with time (heat, other tenants) falls on all modes and rates
// alike.
var sweepOrders = []string{"blocks", "as_written"}

// maxPoints is the most points a sweep may have: a year of measuring at half
// a minute each.
const maxPoints = 1_000_000

func (r *reader) decodeSweep(n *node) Sweep {
	var s Sweep
	if n.isNull() {
		return s
	}
	if n.kind != mapping {
		r.errorf(n.pos, "write sweep: {qps: [1, 2, 4]}", "sweep must be a mapping, not %v", n.kind)
		return s
	}
	for _, e := range n.entries {
		v := e.value
		switch {
		case v.isNull():
			if !slices.Contains(sweepKeys, e.key) {
				r.errorf(e.at, "", "the axis %s has no values", e.key)
			}
		case e.key == "mode":
			s.Modes = r.words(v, "sweep.mode")
		case e.key == "qps":
			s.QPS = r.decodeQPS(v)
		case e.key == "repeat":
			s.Repeat = r.count(v, "sweep.repeat", 1)
		case e.key == "order":
			s.Order = r.choice(v, "sweep.order", sweepOrders...)
		case e.key == "exclude":
			s.Exclude = r.words(v, "sweep.exclude")
		default:
			s.Axes = append(s.Axes, r.decodeAxis(e))
		}
	}
	return s
}

// rangeForm is FROM..TO/STEP in plain decimals, short enough that their sums
// are exact and cheap.
var rangeForm = regexp.MustCompile(`^\s*(\d{1,9}(?:\.\d{1,9})?)\s*\.\.\s*(\d{1,9}(?:\.\d{1,9})?)\s*/\s*(\d{1,9}(?:\.\d{1,9})?)\s*$`)

// decodeQPS reads rates and ranges of rates.
func (r *reader) decodeQPS(n *node) []float64 {
	const hint = `write "8..16/4" for 8, 12, 16`
	var out []float64
	seen := map[float64]bool{}
	for _, item := range r.list(n, "sweep.qps") {
		var rates []float64
		if item.kind == scalar && strings.Contains(item.text, "..") {
			var wrong string
			if rates, wrong = expandRange(item.text); wrong != "" {
				r.errorf(item.pos, hint, "sweep.qps: %s %s", item.text, wrong)
			}
		} else if before := len(r.errs); true {
			if slices.Contains([]string{"inf", "+inf", ".inf", "+.inf"}, strings.ToLower(item.text)) {
				r.errorf(item.pos, "for a closed loop, as vLLM's --request-rate inf with --max-concurrency: a rate above what the server carries, and workload.max_concurrency", "sweep.qps: %s is no rate", item.text)
				continue
			}
			rate := r.positive(item, "sweep.qps")
			if rate > mostQPS || rate > 0 && rate < leastQPS {
				r.errorf(item.pos, "", "sweep.qps: %s is out of range: from one request in 11 days to a million a second", item.text)
				continue
			}
			if len(r.errs) > before {
				continue
			}
			rates = []float64{rate}
		}
		for _, rate := range rates {
			if seen[rate] {
				r.errorf(item.pos, "", "sweep.qps: %s is there twice", canonical(rate))
			}
			seen[rate] = true
			out = append(out, rate)
		}
	}
	return out
}

// expandRange gives FROM, FROM+STEP, ... TO. It calculates in fractions, so
// that each rate is the float nearest to its decimal: 0.1..0.3/0.1 holds 0.3,
// not 0.30000000000000004.
func expandRange(s string) ([]float64, string) {
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return nil, "is not a range"
	}
	var parts [3]*big.Rat
	for i := range parts {
		parts[i], _ = new(big.Rat).SetString(m[i+1])
	}
	from, to, step := parts[0], parts[1], parts[2]
	switch {
	case step.Sign() <= 0:
		return nil, "has a step of 0"
	case from.Sign() <= 0:
		return nil, "begins at 0, and a rate must be more"
	case from.Cmp(to) > 0:
		return nil, "runs backwards"
	}
	steps := new(big.Rat).Sub(to, from)
	steps.Quo(steps, step)
	if !steps.IsInt() {
		last := new(big.Rat).SetInt(new(big.Int).Quo(steps.Num(), steps.Denom()))
		last.Add(from, last.Mul(last, step))
		f, _ := last.Float64()
		return nil, fmt.Sprintf("does not land on its end: the last step is at %s", canonical(f))
	}
	if !steps.Num().IsInt64() || steps.Num().Int64() >= maxPoints {
		return nil, "has too many steps"
	}
	out := make([]float64, steps.Num().Int64()+1)
	at := new(big.Rat).Set(from)
	for i := range out {
		out[i], _ = at.Float64()
		at.Add(at, step)
	}
	return out, ""
}

// decodeAxis reads one axis; what its path means is checked by validateAxes.
func (r *reader) decodeAxis(e entry) Axis {
	a := Axis{Path: e.key}
	seen := map[string]bool{}
	items := r.list(e.value, "the axis "+e.key)
	if e.value.kind == list && len(items) == 0 {
		r.errorf(e.value.pos, "", "the axis %s has no values", e.key)
	}
	for _, item := range items {
		v := r.value(item, "the axis "+e.key)
		text := canonical(v)
		if seen[text] {
			r.errorf(item.pos, "", "the axis %s has %s twice", e.key, text)
		}
		seen[text] = true
		a.Values = append(a.Values, v)
	}
	return a
}

// canonical is the text of an axis value: numbers without trailing zeros,
// lists and mappings as JSON.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// validateSweep checks modes and rates; axes and excludes need more, and come
// when all else is right.
func (r *reader) validateSweep(e *Experiment, root *node) {
	names := root.find("modes").keys()
	if len(names) == 0 {
		r.missing(root.where("modes"), "modes: {simple: {engine: vllm}}", "there are no modes: say how the model is served")
	}
	n := root.find("sweep", "mode")
	for i, name := range e.Sweep.Modes {
		if slices.Contains(names, name) {
			continue
		}
		at := root.where("sweep", "mode")
		if n != nil && n.kind == list && i < len(n.items) {
			at = n.items[i].pos
		}
		r.errorf(at, didYouMean(name, names), "sweep.mode: there is no mode %q", name)
	}
	if root.has("sweep", "mode") && len(e.Sweep.Modes) == 0 {
		r.errorf(root.where("sweep", "mode"), "leave it away for all modes", "sweep.mode is empty")
	}
	for _, name := range names {
		if !slices.Contains(e.Sweep.Modes, name) && len(e.Sweep.Modes) > 0 {
			r.warnf("the mode %s is not in sweep.mode: it is not run", name)
		}
	}
	switch {
	case !root.has("sweep", "qps"):
		r.missing(root.where("sweep", "qps"), "sweep: {qps: [1, 2, 4]}", "sweep.qps is missing: say which request rates to measure")
	case len(e.Sweep.QPS) == 0 && r.emptyList(root.find("sweep", "qps")):
		r.errorf(root.where("sweep", "qps"), "sweep: {qps: [1, 2, 4]}", "sweep.qps is empty")
	}
	rates := []*float64{e.ScaleRate}
	for _, s := range e.Stages {
		if s.Analyze != nil {
			rates = append(rates, s.Analyze.ScaleRate)
		}
	}
	for _, rate := range rates {
		if rate == nil || slices.Contains(e.Sweep.QPS, *rate) {
			continue
		}
		w := fmt.Sprintf("scale_rate %s is not a rate of sweep.qps: there is nothing to re-score at it", canonical(*rate))
		if !slices.Contains(r.warned, w) {
			r.warnf("%s", w)
		}
	}
}

// emptyList reports whether a list has nothing in it: one in which everything
// is wrong was told of already.
func (r *reader) emptyList(n *node) bool { return n.isNull() || n.kind == list && len(n.items) == 0 }
