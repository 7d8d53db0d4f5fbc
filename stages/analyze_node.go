package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/sample"
)

// analyzeInput is one way of judging the samples.
type analyzeInput struct {
	Code      string    `json:"code"`
	SLO       sloInput  `json:"slo"`
	Scales    []float64 `json:"slo_scales"`
	ScaleRate *float64  `json:"scale_rate"`
	Valid     []string  `json:"valid"`
	Series    []string  `json:"series"` // axes that tell series apart; null: all
	Where     string    `json:"where"`  // condition on the axes of points; "": all
	Need      string    `json:"need"`   // the collect node

	Window analyze.Window `json:"window,omitzero"` // of requests that count; zero: all
}

// newWindow is the window that a spec asks for.
func newWindow(w specs.Window) analyze.Window {
	return analyze.Window{From: analyze.Edge(w.From), To: analyze.Edge(w.To)}
}

type sloInput struct {
	TTFT   string  `json:"ttft"`
	TPOT   string  `json:"tpot"`
	Target float64 `json:"target"`
}

func newSLOInput(s specs.SLO) sloInput {
	return sloInput{s.TTFT.String(), s.TPOT.String(), s.Target}
}

func (s sloInput) seconds() (ttft, tpot float64, err error) {
	a, errA := time.ParseDuration(s.TTFT)
	b, errB := time.ParseDuration(s.TPOT)
	return seconds(a), seconds(b), errors.Join(errA, errB)
}

// seconds divides once: Duration.Seconds adds two parts and can be a bit off,
// and the comparison with an objective is exact.
func seconds(d time.Duration) float64 { return float64(d) / 1e9 }

// Files of an analysis.
const (
	analysisFile = "analysis.json"
	tableFile    = "analysis.csv"
)

func analyzeWork(_ context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in analyzeInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	ttft, tpot, err := in.SLO.seconds()
	if err != nil {
		return err
	}
	points, err := collectedPoints(rt.Needs[in.Need], in.Valid, openToAsk)
	if err != nil {
		return err
	}
	if points, err = choosePoints(points, in.Where); err != nil {
		return err
	}
	params := analyze.Params{TTFT: ttft, TPOT: tpot, Target: in.SLO.Target, Scales: in.Scales, ScaleRate: math.NaN(), Series: in.Series, Window: in.Window}
	if in.ScaleRate != nil {
		params.ScaleRate = *in.ScaleRate
	}
	a, err := analyzeThriftily(points, params)
	if err != nil {
		return err
	}
	a.Warnings = append(a.Warnings, observed(points, a.Counts)...)
	return writeAnalysis(rt.Dir, a)
}

// choosePoints returns the points that a condition on their axes lets through.
func choosePoints(points []analyze.Point, where string) ([]analyze.Point, error) {
	match, err := matcher(where)
	if err != nil {
		return nil, err
	}
	var out []analyze.Point
	for _, p := range points {
		ok, err := match(labelsOf(seriesAxes(p.Table.Meta.Axes, nil)))
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// failures folds the failed requests of a series into one line.
type failures struct {
	points, failed, sent int
	first                string
}

// observed says what was seen of the points that speaks against taking them
// at face value: requests that failed, of those that count (counts has one for
// each point), work that was not done where the mode says it is, caches that
// may have been warm, and the notes of their loads. A line begins with the axes
// that it is about.
func observed(points []analyze.Point, counts []analyze.Count) []string {
	var out, series, notes []string
	unreset, why := 0, ""
	failed := make(map[string]*failures) // by series
	at := make(map[string][]string)      // note -> points
	for i, p := range points {
		m := p.Table.Meta
		if n := m.Facts["fallbacks"]; n > 0 {
			out = append(out, fmt.Sprintf("%s: %.0f of %.0f requests fell back to local prefill: their decode instance got no KV and prefilled itself",
				axesLabel(m.Axes), n, m.Facts["sent"]))
		}
		if reset, known := m.Facts["cache_reset"]; known && reset == 0 {
			unreset++
		}
		if c := counts[i]; c.Failed > 0 {
			label := axesLabel(seriesAxes(m.Axes, nil))
			f := failed[label]
			if f == nil {
				f = &failures{first: firstFailure(c)}
				failed[label] = f
				series = append(series, label)
			}
			f.points, f.failed, f.sent = f.points+1, f.failed+c.Failed, f.sent+c.Sent
		}
		if m.Extra[notesKey] == "" {
			continue
		}
		for _, n := range strings.Split(m.Extra[notesKey], "\n") {
			if reason, ok := strings.CutPrefix(n, resetNote); ok {
				why = cmp.Or(why, reason)
				continue
			}
			if at[n] == nil {
				notes = append(notes, n)
			}
			at[n] = append(at[n], axesLabel(m.Axes))
		}
	}
	for _, label := range series {
		f := failed[label]
		where := ""
		if f.points > 1 {
			where = fmt.Sprintf(" at %d points", f.points)
		}
		out = append(out, fmt.Sprintf("%s: %d of %d requests failed%s, the first with %s", label, f.failed, f.sent, where, f.first))
	}
	if unreset > 0 {
		line := fmt.Sprintf("prefix caches could not be reset before %d of %d points: repeated prompts may have hit them", unreset, len(points))
		if why != "" {
			line += " (" + why + ")"
		}
		out = append(out, line)
	}
	for _, n := range notes {
		where := at[n][0]
		if more := len(at[n]) - 1; more > 0 {
			where += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, where+": "+n)
	}
	return out
}

// firstFailure says how the first request that failed did.
func firstFailure(c analyze.Count) string {
	if c.Error == "" {
		return c.Outcome
	}
	return c.Outcome + ": " + firstLine(c.Error)
}

// pointOf is a point with its verdict, and how many attempts it took.
func pointOf(t *sample.Table, valid bool, reason string) analyze.Point {
	p := analyze.Point{Table: t, Valid: valid, Reason: reason}
	p.Attempts, p.Rejected = attemptsOf(t.Meta)
	return p
}

// reading is what of a run's rows is read when it is opened.
type reading int

const (
	openWhole reading = iota // all of it
	openToAsk                // nothing: an analysis reads what it needs of a point when it comes to it
)

// analyzedColumns are those of a samples file that an analysis looks at: a
// quarter of a point, of which each in the run may have a million rows.
var analyzedColumns = []string{"output_tokens", "scheduled_ns", "sent_ns", "ttft_s", "tpot_s", "e2e_s", "outcome", "error"}

// collectedPoints opens a collected tree and gives each point its verdict.
func collectedPoints(dir string, valid []string, how reading) ([]analyze.Point, error) {
	rules, err := compileRules(valid)
	if err != nil {
		return nil, err
	}
	read := collect.ReadSamples
	if how == openToAsk {
		read = readMeta
	}
	entries, tables, err := readPointsWith(dir, read)
	if err != nil {
		return nil, err
	}
	points := make([]analyze.Point, len(entries))
	for i, e := range entries {
		p := pointOf(tables[i], false, "")
		if e.Path == "" {
			p.Missing, p.Reason = true, "the journal tells why"
			fillFromAxes(&tables[i].Meta)
		} else {
			v, err := e.judge(rules)
			if err != nil {
				return nil, err
			}
			p.Valid, p.Reason = v.Usable, v.Reason
		}
		if e.Path != "" && how == openToAsk {
			path := e.samples(dir)
			p.Read = func() (*sample.Table, error) { return collect.ReadColumns(path, analyzedColumns...) }
		}
		points[i] = p
	}
	return points, nil
}

// analyses is held by the analysis that is under way. Each may have a point of
// a million requests in memory.
var analyses sync.Mutex

// Where a point has that many requests, which are 14 MB or more, only so many
// percent of what is in use may pile up before it is collected: by default as
// much again would.
const (
	manyRows = 100_000
	thrift   = 20
)

// analyzeThriftily is analyze.Analyze in the memory that one point takes.
func analyzeThriftily(points []analyze.Point, p analyze.Params) (*analyze.Analysis, error) {
	analyses.Lock()
	defer analyses.Unlock()
	if slices.ContainsFunc(points, func(p analyze.Point) bool { return p.Table.Meta.Facts["sent"] >= manyRows }) {
		defer debug.SetGCPercent(debug.SetGCPercent(thrift))
	}
	return analyze.Analyze(points, p)
}

// fillFromAxes gives a point without a record its rate and repeat.
func fillFromAxes(m *sample.Meta) {
	if s, ok := m.Axis("qps"); ok {
		m.Rate, _ = strconv.ParseFloat(s, 64)
	}
	if s, ok := m.Axis("repeat"); ok {
		m.Repeat, _ = strconv.Atoi(s)
	}
}

func compileRules(valid []string) ([]*specs.Rule, error) {
	rules := make([]*specs.Rule, len(valid))
	for i, src := range valid {
		r, err := specs.CompileRule(src)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", src, err)
		}
		rules[i] = r
	}
	return rules, nil
}

func writeAnalysis(dir string, a *analyze.Analysis) error {
	return errors.Join(
		writeWith(filepath.Join(dir, analysisFile), a.WriteJSON),
		writeWith(filepath.Join(dir, tableFile), a.WriteCSV),
	)
}

func writeWith(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// ReadAnalysis reads dir/analysis.json.
func ReadAnalysis(dir string) (*analyze.Analysis, error) {
	f, err := os.Open(filepath.Join(dir, analysisFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return analyze.ReadJSON(f)
}

// addAnalyze adds the analysis of a stage.
func (b *builder) addAnalyze(s specs.Stage) error {
	place := s.Name
	if s.Name == "analyze" {
		place = "."
	}
	b.made[s.Name] = []made{{id: s.Name}}
	return b.addAnalysis(s.Name, place, s, nil, "")
}

// addAnalysis adds a node that judges the samples as stage s says; axes are
// those that tell series apart, nil: all.
func (b *builder) addAnalysis(id, place string, s specs.Stage, axes []string, where string) error {
	need := b.made[s.Needs[0]][0].id
	raw, err := pipeline.NewInput(analyzeInput{
		Code: b.site.Code, SLO: newSLOInput(s.Analyze.SLO), Scales: s.Analyze.SLOScales,
		ScaleRate: s.Analyze.ScaleRate, Valid: b.exp.Valid, Series: axes, Where: where, Need: need,
		Window: newWindow(s.Analyze.Window),
	})
	if err != nil {
		return err
	}
	return b.addNode(&pipeline.Node{
		ID: id, Stage: "analyze", Group: s.Name, Kind: pipeline.Pure, Input: raw, Needs: []string{need},
		Work: analyzeWork, Place: place,
	})
}
