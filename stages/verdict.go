package stages

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"vbp/pipeline"
	"vbp/specs"
)

// Verdicts. A point is judged by what is stored of it, whenever that is asked
// for; a verdict is never part of a measurement's key. What servers can do to a
// point, and what becomes of it:
//
//   - A server that exits while the point is loaded ends the point. The
//     requests sent until then are its rows; those in flight failed (see
//     load.Measure). Verdict: "healthy_after == 1, it was 0", and a note says how
//     it exited and when. If nothing had been sent there is no result at all,
//     and the point is an error. Between points the executor notices it, and
//     starts it again.
//   - One that hangs lets requests time out, which are misses. If it does not
//     answer /health afterwards, or answers that but none of some further
//     requests: "healthy_after == 1, it was 0", the note says which. If it
//     answers these, it had too much to do: that is what the point measured.
//   - One that comes back slower than it was: the warm-up of the start took
//     half as long again as that of the deployment's first start in the
//     apply. "warmup_slowdown < 1.5, it was 2.1", for every point of it.
//   - One that comes back as another version is not taken: no figure mixes
//     two. The points that are left are errors ("it came back as another
//     server: engine_version: A -> B"); the next apply compares what was
//     measured with the server that it finds, and measures again what differs.
//     An attached server that is replaced spoils the point in which that is
//     noticed: "healthy_after == 1, it was 0", and the note says "it is
//     another server now: ...".
//   - One that still has requests when the cool-down is over:
//     "queue_before == 0, it was 3", and a note.
//
// And what the client can do to it:
//
//   - It has no local port or no open file left for a request, which fails
//     then: "client_starved == 0, it was 12". Limits that are known to be too
//     low refuse the point before it begins (loadWork.room).
//   - It does not run for a while, being stopped or starved of processors:
//     "client_stall_max_ms < 500, it was 2000".
//   - It is at its limit, so that instants are when it came to do things and
//     not when they were due: "client_busy < 0.9" of its busiest event loop,
//     "client_cpu_share < 0.9" of all its processors.
//   - It stopped before all was sent: "sent == planned, it was 120".
//
// Before these comes what the mode expects of its servers and they do not have;
// after them "every request failed", the rules of the spec, and the proofs of
// treatment.

// standard is what a point must meet to be used.
type standard struct {
	always []rule            // of every point, but for those that the spec has rules about
	rules  []rule            // of the spec
	proof  []rule            // of the connector, likewise
	expect map[string]string // what the servers had to tell of themselves
}

// ownRule is a rule that holds though no spec says so, about a fact. A rule of
// the spec about that fact takes its place.
type ownRule struct {
	fact, rule string
	mayLack    bool // what is not told is not held against the point
}

// always are rules that hold for every point. Imported points have none of
// these facts, and not every server tells of its queue.
var always = []ownRule{
	{"healthy_after", "healthy_after == 1", true}, // what dead or hanging servers answered last is not what they can do
	{"queue_before", "queue_before == 0", true},   // else it is partly the load of others
	{"warmup_slowdown", "warmup_slowdown < 1.5", true},
	{"planned", "sent == planned", true},

	// Of the client: what it could not do is not the server's doing. Half a
	// second of not running is what a suspended or starved process has, and
	// a busy machine has not; a tenth is what every measurement leaves free
	// that is not at its limit.
	{"client_starved", "client_starved == 0", true},
	{"client_stall_max_ms", "client_stall_max_ms < 500", true},
	{"client_busy", "client_busy < 0.9", true},
	{"read_lag_p99_us", "read_lag_p99_us < 100000", true}, // gaps between tokens come together by then
	{"client_cpu_share", "client_cpu_share < 0.9", true},
}

// treatment are rules that hold for every point of a deployment with a
// connector: that the KV did go from prefill to decode instances. Else the
// point measures something else than its mode says.
var treatment = map[string][]ownRule{
	"nixl": {
		{"nixl_bytes", "nixl_bytes > 0", false},
		{"nixl_silent", "nixl_silent == 0", false},
		{"nixl_failed", "nixl_failed == 0", false},
		{"nixl_expired", "nixl_expired == 0", true}, // vLLM before 0.16 tells of the rest, but not of expiries
		{"fallbacks", "fallbacks == 0", false},
	},
	// LMCache hands over whole chunks, and late ones not at all.
	"lmcache": {{"external_hit_share", "external_hit_share > 0.5", false}},
}

// ownRules are the compiled rules of always and treatment, by their text.
var ownRules = sync.OnceValues(func() (map[string]rule, error) {
	compiled := make(map[string]rule)
	for _, own := range slices.Concat(append(slices.Collect(maps.Values(treatment)), always)...) {
		r, err := specs.CompileRule(own.rule)
		if err != nil {
			return nil, err
		}
		c := newRule(r)
		c.mayLack = own.mayLack
		compiled[own.rule] = c
	}
	return compiled, nil
})

// standardOf is the standard for a point whose configuration (see configOf)
// is config.
func standardOf(rules []*specs.Rule, config, expect map[string]string) (standard, error) {
	compiled, err := ownRules()
	if err != nil {
		return standard{}, err
	}
	s := standard{expect: expect}
	for _, r := range rules {
		s.rules = append(s.rules, newRule(r))
	}
	but := func(own []ownRule) (out []rule) {
		for _, o := range own {
			about := func(r *specs.Rule) bool { return slices.Contains(r.Names(), o.fact) }
			if !slices.ContainsFunc(rules, about) {
				out = append(out, compiled[o.rule])
			}
		}
		return out
	}
	s.always = but(always)
	if config["num_prefill_instances"] != "" {
		s.proof = but(treatment[config["deployment_mode"]])
	}
	return s, nil
}

// judge is the verdict on a point with these facts, measured in this
// environment. It may be called by several goroutines at once, and is cheap
// for a point that meets all: a plan judges every point that is stored.
func (s *standard) judge(facts map[string]float64, environment map[string]string) pipeline.Verdict {
	why := unmet(s.expect, environment)
	if why == "" {
		why = firstBroken(s.always, facts)
	}
	if sent := facts["sent"]; why == "" && sent > 0 && facts["failed"] >= sent {
		why = "every request failed"
	}
	if why == "" {
		why = firstBroken(s.rules, facts)
	}
	if why == "" {
		why = firstBroken(s.proof, facts)
	}
	// What is known of a start holds for all points on it.
	lasting := strings.Contains(why, "warmup_slowdown") || strings.HasPrefix(why, "expect ")
	return pipeline.Verdict{Usable: why == "", Reason: why, Lasting: lasting}
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
	if len(expect) == 0 {
		return ""
	}
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
