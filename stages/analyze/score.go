package analyze

import (
	"math"
	"slices"
	"sort"

	"vbp/stages/sample"
)

// objectives are the two SLOs in seconds; +Inf is no objective.
type objectives struct{ ttft, tpot float64 }

// hits counts the requests that meet the objectives, in each reading.
type hits struct{ both, ttft, tpot int }

// shares divides hits by the requests sent.
func (h hits) shares(sent int) Shares {
	n := float64(sent)
	return Shares{Both: float64(h.both) / n, TTFT: float64(h.ttft) / n, TPOT: float64(h.tpot) / n}
}

// scored is the counted requests of one or more tables, sorted once, from which the
// attainment at any SLO scale is three binary searches.
//
// A request meets an objective if its value is at most objective*scale, the
// product in double precision and the comparison inclusive, without any
// tolerance. A failed request meets none. A successful request of at most one
// token has no TPOT and meets that objective; a successful request whose value
// is not known otherwise meets it only where there is no such objective.
type scored struct {
	slo          objectives
	sent, failed int

	ttft []float64 // s, ascending: successful requests that have one
	tpot []float64 // s, ascending: likewise
	free int       // successful requests that need no TPOT: at most one token
	both []float64 // ascending: the smallest scale at which each request meets both objectives; those that never do are left out

	unknownTTFT, unknownTPOT int // successful requests that miss because a value is not known
}

// score sorts the requests that count.
func score(slo objectives, c counted) *scored {
	s := &scored{slo: slo, sent: c.n}
	for i := range c.Len() {
		if c.has(i) && c.Outcome[i] != sample.OK {
			s.failed++
		}
	}
	ok := s.sent - s.failed
	s.ttft, s.tpot, s.both = make([]float64, 0, ok), make([]float64, 0, ok), make([]float64, 0, ok)
	for i := range c.Len() {
		if c.has(i) && c.Outcome[i] == sample.OK {
			s.add(c.TTFT[i], c.TPOT[i], c.OutputTokens[i])
		}
	}
	s.sort()
	return s
}

func (s *scored) sort() {
	slices.Sort(s.ttft)
	slices.Sort(s.tpot)
	slices.Sort(s.both)
}

// merge is all requests of several tables. It empties them: a table of a
// million requests is 24 MB here, and nobody looks at the parts any more.
func merge(parts []*scored) *scored {
	if len(parts) == 1 {
		return parts[0]
	}
	all := &scored{slo: parts[0].slo}
	for _, p := range parts {
		all.sent, all.failed, all.free = all.sent+p.sent, all.failed+p.failed, all.free+p.free
		all.unknownTTFT, all.unknownTPOT = all.unknownTTFT+p.unknownTTFT, all.unknownTPOT+p.unknownTPOT
	}
	for _, column := range []func(*scored) *[]float64{
		func(s *scored) *[]float64 { return &s.ttft },
		func(s *scored) *[]float64 { return &s.tpot },
		func(s *scored) *[]float64 { return &s.both },
	} {
		n := 0
		for _, p := range parts {
			n += len(*column(p))
		}
		*column(all) = make([]float64, 0, n)
		for _, p := range parts {
			*column(all) = append(*column(all), *column(p)...)
			*column(p) = nil
		}
	}
	all.sort()
	return all
}

// add takes in one successful request.
func (s *scored) add(ttft, tpot float64, tokens int64) {
	first, rest, never := 0.0, 0.0, false
	switch {
	case !math.IsNaN(ttft):
		s.ttft = append(s.ttft, ttft)
		first = critical(ttft, s.slo.ttft)
	case !math.IsInf(s.slo.ttft, 1):
		s.unknownTTFT++
		never = true
	}
	switch {
	case !math.IsNaN(tpot):
		s.tpot = append(s.tpot, tpot)
		rest = critical(tpot, s.slo.tpot)
	case tokens != sample.Absent && tokens <= 1:
		s.free++
	case !math.IsInf(s.slo.tpot, 1):
		s.unknownTPOT++
		never = true
	}
	if !never {
		s.both = append(s.both, max(first, rest))
	}
}

// at counts the requests that meet the objectives multiplied by scale.
func (s *scored) at(scale float64) hits {
	h := hits{ttft: s.sent - s.failed, tpot: s.sent - s.failed, both: atMost(s.both, scale)}
	if !math.IsInf(s.slo.ttft, 1) {
		h.ttft = atMost(s.ttft, s.slo.ttft*scale)
	}
	if !math.IsInf(s.slo.tpot, 1) {
		h.tpot = s.free + atMost(s.tpot, s.slo.tpot*scale)
	}
	return h
}

// atMost counts the values of an ascending slice that do not exceed limit.
func atMost(ascending []float64, limit float64) int {
	return sort.Search(len(ascending), func(i int) bool { return ascending[i] > limit })
}

// critical is the smallest scale >= 0 for which x <= slo*scale holds in double
// precision. That product never decreases with scale, so comparing a scale
// with the critical one gives exactly the answer of the formula itself, which
// comparing with the rounded quotient x/slo would not.
func critical(x, slo float64) float64 {
	if x <= 0 || math.IsInf(slo, 1) {
		return 0
	}
	meets := func(scale float64) bool { return x <= slo*scale }

	// The quotient is off by a few units in the last place at most: walk up
	// to the answer from just below it.
	s := x / slo
	for range 4 {
		s = math.Nextafter(s, 0)
	}
	if !meets(s) {
		for range 8 {
			if s = math.Nextafter(s, math.Inf(1)); meets(s) {
				return s
			}
		}
	}

	// Overflow and subnormal numbers: bisect. The bits of doubles >= 0 are in
	// the order of their values.
	lo, hi := uint64(0), math.Float64bits(math.Inf(1))
	for lo < hi {
		mid := (lo + hi) / 2
		if meets(math.Float64frombits(mid)) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return math.Float64frombits(lo)
}
