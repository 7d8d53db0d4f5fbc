package stages

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"vbp/pipeline"
	"vbp/specs"
)

// standard is what a point must meet to be used. It is applied to what is
// stored of the point, whenever it is asked for, and never part of a
// measurement's key.
type standard struct {
	rules  []*specs.Rule     // of the spec
	proof  []*specs.Rule     // of every point, and of its connector, but for those that the spec has rules about
	expect map[string]string // what the servers had to tell of themselves
}

// treatment are rules that hold for every point of a deployment with a
// connector: that the KV did go from prefill to decode instances. Else the
// point measures something else than its mode says. A rule of the spec about
// the same fact takes the place of one of these.
var treatment = map[string][]string{
	"nixl":    {"nixl_bytes > 0", "nixl_silent == 0", "nixl_failed == 0", "nixl_expired == 0", "fallbacks == 0"},
	"lmcache": {"external_hit_share > 0.5"}, // LMCache hands over whole chunks, and late ones not at all
}

// notAlwaysTold are facts that some points have not: versions of vLLM before
// 0.16 tell of no expiries though of the rest, and imported points have no
// facts. What is not told is held against nobody.
var notAlwaysTold = map[string]bool{"nixl_expired": true, "healthy_after": true}

// standardOf is the standard for a point whose configuration (see configOf)
// is config.
func standardOf(rules []*specs.Rule, config, expect map[string]string) (standard, error) {
	s := standard{rules: rules, expect: expect}
	always := []string{"healthy_after == 1"} // servers that died or hang: what they answered last is not what they can do
	if config["num_prefill_instances"] != "" {
		always = append(always, treatment[config["deployment_mode"]]...)
	}
	for _, src := range always {
		r, err := specs.CompileRule(src)
		if err != nil {
			return s, err
		}
		about := func(own *specs.Rule) bool { return slices.Contains(own.Names(), r.Names()[0]) }
		if !slices.ContainsFunc(rules, about) {
			s.proof = append(s.proof, r)
		}
	}
	return s, nil
}

// judge is the verdict on a point with these facts, measured in this
// environment.
func (s standard) judge(facts map[string]float64, environment map[string]string) pipeline.Verdict {
	if sent := facts["sent"]; sent > 0 && facts["failed"] >= sent {
		return pipeline.Verdict{Reason: "every request failed"}
	}
	if why := unmet(s.expect, environment); why != "" {
		return pipeline.Verdict{Reason: why}
	}
	values := make(map[string]any, len(facts))
	for k, v := range facts {
		if !math.IsNaN(v) {
			values[k] = v
		}
	}
	for _, r := range s.rules {
		if why := broken(r, values); why != "" {
			return pipeline.Verdict{Reason: why}
		}
	}
	for _, r := range s.proof {
		if fact := r.Names()[0]; notAlwaysTold[fact] && values[fact] == nil {
			continue
		}
		if why := broken(r, values); why != "" {
			return pipeline.Verdict{Reason: why}
		}
	}
	return pipeline.Verdict{Usable: true}
}

// broken says how facts break a rule; "" if they do not.
func broken(r *specs.Rule, facts map[string]any) string {
	ok, err := r.Holds(facts)
	switch {
	case err != nil:
		return err.Error()
	case !ok:
		return r.Failure(facts)
	}
	return ""
}

// equal compares numbers as numbers.
func equal(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return a == b || errX == nil && errY == nil && x == y
}

// unmet says what an environment has not of what is expected of it; "" if it
// has all. A value on which instances do not agree is met only if all have it.
func unmet(expect, environment map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(expect)) {
		want := expect[name]
		got, told := environment[name]
		if !told { // of one instance, while all agree
			all, _, _ := strings.Cut(name, ".")
			got, told = environment[all]
		}
		if told {
			if !equal(got, want) {
				return fmt.Sprintf("expect %s: %s, but the servers have %s", name, want, got)
			}
			continue
		}
		var each []string
		for _, k := range slices.Sorted(maps.Keys(environment)) {
			if strings.HasPrefix(k, name+".") {
				each = append(each, k+" "+environment[k])
			}
		}
		if len(each) > 0 {
			return fmt.Sprintf("expect %s: %s, but the servers differ: %s", name, want, strings.Join(each, ", "))
		}
		return fmt.Sprintf("expect %s: %s, but the servers do not tell it (they tell %s)", name, want,
			strings.Join(slices.Sorted(maps.Keys(environment)), ", "))
	}
	return ""
}
