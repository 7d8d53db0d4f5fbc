package analyze

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"vbp/stages/sample"
)

// table holds requests given as outcome, TTFT, TPOT, output tokens.
func table(rows ...sample.Outcome) *sample.Table {
	t := &sample.Table{Meta: sample.Meta{Rate: 1, Length: math.NaN(), Start: sample.Absent}}
	for _, o := range rows {
		t.Append(o)
	}
	return t
}

func request(outcome string, ttft, tpot float64, tokens int64) sample.Outcome {
	o := sample.NewOutcome("")
	o.Outcome, o.TTFT, o.TPOT, o.OutputTokens = outcome, ttft, tpot, tokens
	return o
}

// whole counts every request of a table.
func whole(t *sample.Table) counted { return counted{Table: t, n: t.Len(), whole: true} }

// naive is the definition: one pass over the requests at each scale.
func naive(t *sample.Table, slo objectives, scale float64) (h hits) {
	for i := range t.Len() {
		if t.Outcome[i] != sample.OK {
			continue
		}
		ttft := math.IsInf(slo.ttft, 1) || t.TTFT[i] <= slo.ttft*scale
		oneToken := math.IsNaN(t.TPOT[i]) && t.OutputTokens[i] != sample.Absent && t.OutputTokens[i] <= 1
		tpot := math.IsInf(slo.tpot, 1) || oneToken || t.TPOT[i] <= slo.tpot*scale
		if ttft {
			h.ttft++
		}
		if tpot {
			h.tpot++
		}
		if ttft && tpot {
			h.both++
		}
	}
	return h
}

// Sorted once, every scale gives exactly what the formula gives, at equality
// and one unit in the last place beside it too.
func TestScoreAgreesWithTheFormula(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		objective := rapid.OneOf(rapid.Just(math.Inf(1)), rapid.Just(0.125), rapid.Just(0.07), rapid.Float64Range(1e-4, 10), rapid.Float64Range(5e-324, 1e-300), rapid.Float64Range(1e300, math.MaxFloat64))
		slo := objectives{ttft: objective.Draw(rt, "ttft slo"), tpot: objective.Draw(rt, "tpot slo")}
		scales := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]float64{.1, .3, .4, .7, 1, 1.1, 1.2, 3, 1e-300, math.MaxFloat64}), rapid.Float64Range(1e-3, 10)), 1, 6).Draw(rt, "scales")
		// Values at a product of objective and scale, or a hair off.
		value := func(slo float64, name string) float64 {
			v := slo * rapid.SampledFrom(scales).Draw(rt, name+" scale")
			switch rapid.IntRange(0, 5).Draw(rt, name) {
			case 0:
				return math.NaN()
			case 1:
				return rapid.Float64Range(0, 10).Draw(rt, name+" free")
			case 2:
				return math.Nextafter(v, math.Inf(1))
			case 3:
				return math.Nextafter(v, 0)
			}
			return v
		}
		in := &sample.Table{}
		for range rapid.IntRange(1, 8).Draw(rt, "requests") {
			in.Append(request(
				rapid.SampledFrom([]string{sample.OK, sample.OK, sample.OK, sample.HTTPError}).Draw(rt, "outcome"),
				value(slo.ttft, "ttft"), value(slo.tpot, "tpot"),
				rapid.SampledFrom([]int64{0, 1, 2, sample.Absent}).Draw(rt, "tokens"),
			))
		}
		s := score(slo, whole(in))
		for _, scale := range append(scales, 1) {
			if got, want := s.at(scale), naive(in, slo, scale); got != want {
				rt.Fatalf("scale %v, objectives %v: got %+v, want %+v", scale, slo, got, want)
			}
		}
	})
}

func TestScoreOfEachKindOfRequest(t *testing.T) {
	nan := math.NaN()
	slo := objectives{ttft: 125.0 / 1000, tpot: 200.0 / 1000}
	for _, c := range []struct {
		name    string
		request sample.Outcome
		want    hits
	}{
		{"both at their limit", request(sample.OK, 0.125, 0.2, 5), hits{1, 1, 1}},
		{"TTFT a hair late", request(sample.OK, math.Nextafter(0.125, 1), 0.2, 5), hits{0, 0, 1}},
		{"TPOT a hair slow", request(sample.OK, 0.125, math.Nextafter(0.2, 1), 5), hits{0, 1, 0}},
		{"failed with TTFT 0", request(sample.HTTPError, 0, 0, 0), hits{}},
		{"failed in its stream", request(sample.StreamError, 0.1, 0.1, 3), hits{}},
		{"one token", request(sample.OK, 0.1, nan, 1), hits{1, 1, 1}},
		{"TPOT not known", request(sample.OK, 0.1, nan, 7), hits{0, 1, 0}},
		{"TPOT and tokens not known", request(sample.OK, 0.1, nan, sample.Absent), hits{0, 1, 0}},
		{"TTFT not known", request(sample.OK, nan, 0.1, 7), hits{0, 0, 1}},
	} {
		if got := score(slo, whole(table(c.request))).at(1); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	// Without an objective, every success meets it and no failure does.
	none := objectives{ttft: math.Inf(1), tpot: 0.2}
	if got := score(none, whole(table(request(sample.OK, nan, 0.1, 3), request(sample.Timeout, 0.1, 0.1, 3)))).at(0.5); got != (hits{1, 1, 1}) {
		t.Errorf("without a TTFT objective: %+v", got)
	}
}

// Pooled scores are those of all requests in one table.
func TestMergedScoresAreThoseOfAllRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slo := objectives{ttft: rapid.SampledFrom([]float64{0.2, math.Inf(1)}).Draw(rt, "ttft slo"), tpot: 0.1}
		value := rapid.SampledFrom([]float64{0.05, 0.1, 0.15, 0.2, 0.3, math.NaN()})
		all := &sample.Table{}
		var parts []*scored
		for range rapid.IntRange(1, 4).Draw(rt, "tables") {
			part := &sample.Table{}
			for range rapid.IntRange(0, 5).Draw(rt, "requests") {
				o := request(rapid.SampledFrom([]string{sample.OK, sample.OK, sample.Timeout}).Draw(rt, "outcome"),
					value.Draw(rt, "ttft"), value.Draw(rt, "tpot"), rapid.SampledFrom([]int64{1, 2, sample.Absent}).Draw(rt, "tokens"))
				part.Append(o)
				all.Append(o)
			}
			parts = append(parts, score(slo, whole(part)))
		}
		got, want := merge(parts), score(slo, whole(all))
		// Empty slices may be nil in one of them.
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *want) {
			rt.Fatalf("got %+v, want %+v", *got, *want)
		}
	})
}
