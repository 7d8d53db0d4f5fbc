package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/stages/collect"
	"vbp/stages/deploy"
	"vbp/stages/load"
	"vbp/stages/sample"
)

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		rules  []string
		facts  map[string]float64
		reason string // "": usable
	}{
		"all hold":            {[]string{"a > 1", "b < 2"}, map[string]float64{"a": 2, "b": 1}, ""},
		"no rules":            {nil, map[string]float64{"sent": 3, "failed": 2}, ""},
		"one does not":        {[]string{"a > 1", "b < 2"}, map[string]float64{"a": 2, "b": 11.94}, "b < 2, it was 11.9"},
		"the first that does": {[]string{"a > 1", "b < 2"}, map[string]float64{"a": 1, "b": 3}, "a > 1, it was 1"},
		"a missing fact":      {[]string{"lag < 5"}, map[string]float64{"sent": 1}, "lag < 5: the fact lag is missing"},
		"a fact that is NaN":  {[]string{"lag < 5"}, map[string]float64{"lag": math.NaN()}, "lag < 5: the fact lag is missing"},
		"an unneeded NaN":     {[]string{"a > 1"}, map[string]float64{"a": 2, "lag": math.NaN()}, ""},
		"no facts":            {[]string{"a > 1"}, nil, "a > 1: the fact a is missing"},
		"every request":       {nil, map[string]float64{"sent": 3, "failed": 3}, "every request failed"},
		"before any rule":     {[]string{"a > 1"}, map[string]float64{"sent": 3, "failed": 3, "a": 0}, "every request failed"},
	} {
		rules, err := compileRules(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		std, err := standardOf(rules, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := std.judge(c.facts, nil); v.Reason != c.reason || v.Usable != (c.reason == "") {
			t.Errorf("%s: %+v, want %q", name, v, c.reason)
		}
	}
	if _, err := compileRules([]string{"a > 1", "b <"}); err == nil || !strings.Contains(err.Error(), `rule "b <": `) {
		t.Errorf("a rule that is none: %v", err)
	}
}

// point is one load node and what its work is done with.
type point struct {
	node *pipeline.Node
	rt   *pipeline.Runtime
}

// point is the only load of a spec, standing on srv.
func (w *world) point(srv *server, text string) point {
	w.t.Helper()
	for _, n := range w.build(text).Nodes {
		if n.Stage == "load" {
			return point{n, &pipeline.Runtime{
				Dir: w.t.TempDir(), Service: up(srv), Attempt: "try",
				Now: time.Now, Emit: func(pipeline.Event) {},
			}}
		}
	}
	w.t.Fatal("no load")
	return point{}
}

func (p point) work(ctx context.Context) error { return p.node.Work(ctx, p.node.Input, p.rt) }

// samples are what the work left.
func (p point) samples(t *testing.T) *sample.Table {
	t.Helper()
	return samplesIn(t, p.rt.Dir)
}

func samplesIn(t *testing.T, dir string) *sample.Table {
	t.Helper()
	table, err := collect.ReadSamples(filepath.Join(dir, samplesFile))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestLoad measures one point and looks at the file that it leaves.
func TestLoad(t *testing.T) {
	w := newWorld(t)
	srv := newServer(t)
	p := w.point(srv, changed(t, oneMode, "requests: 4", "requests: 4, body: {top_k: 9}, seed: 7",
		"engine: simulated", "engine: simulated, tensor_parallel: 2"))
	before := time.Now()
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"reset"}
	for i := range 4 {
		want = append(want, load.RequestID("try", i))
	}
	if got := srv.asked(); len(got) != 5 || got[0] != want[0] || !slices.Equal(slices.Sorted(slices.Values(got[1:])), slices.Sorted(slices.Values(want[1:]))) {
		t.Errorf("asked %q, want %q in any order but the first", got, want)
	}
	for i, b := range srv.bodies {
		if b.Model != "m" || b.MaxTokens != 3 || !b.IgnoreEOS || b.Top != 9 || len(b.Prompt.([]any)) != 8 {
			t.Errorf("request %d: %+v", i, b)
		}
		if got := srv.headers[i].Get("X-Token"); got != "hush" {
			t.Errorf("request %d has the token %q", i, got)
		}
	}
	table, err := collect.ReadSamples(filepath.Join(p.rt.Dir, samplesFile))
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() != 4 || table.Failed() != 0 || table.ID[0] != load.RequestID("try", 0) || table.OutputTokens[3] != 3 || table.PromptTokens[3] != 7 {
		t.Errorf("samples %+v", table)
	}
	m := table.Meta
	for what, c := range map[string][2]any{
		"rate": {m.Rate, 1000.0}, "repeat": {m.Repeat, 0}, "seed": {m.Seed, int64(7)}, "model": {m.Model, "m"},
		"data set": {m.Dataset, "random"}, "engine": {m.Engine, "fake/1"}, "host": {m.Host, "host"}, "GPUs": {m.GPUs, 2},
		"TP": {m.Config["tensor_parallel_size"], "2"}, "counting": {m.Extra["prompt_counting"], "exact: prompts are token ids"},
		"client": {m.Extra["client"] != "", true},
		"axes":   {axesLabel(m.Axes), "qps=1000 repeat=0"}, // the key knows no other
		"start":  {m.Start >= before.UnixNano() && m.Start <= time.Now().UnixNano(), true},
		"health": {m.Facts["healthy_after"], 1.0}, "order": {m.Facts["order"], 1.0},
		"sent": {m.Facts["sent"], 4.0}, "failed": {m.Facts["failed"], 0.0}, "reset": {m.Facts["cache_reset"], 1.0},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, not %v", what, c[0], c[1])
		}
	}
	// Facts that nothing could be known of are absent.
	if v, ok := m.Facts["engine_late_mean_ms"]; ok {
		t.Errorf("without metrics an engine is late by %v ms", v)
	}
	if got := filesBelow(t, p.rt.Dir); !slices.Equal(got, []string{"samples.parquet"}) {
		t.Errorf("with server_metrics: 0s it leaves %q", got)
	}
	if end := p.rt.Service.(*serving).lastEnd; end.Before(before) {
		t.Errorf("cool-down would count from %v", end)
	}
}

// TestLoadIsPaired holds that one seed and repeat sends equal prompts at equal
// instants, whatever the deployment, and another repeat others.
func TestLoadIsPaired(t *testing.T) {
	w := newWorld(t)
	sent := func(spec, id string) (prompts []string, at []int64) {
		srv := newServer(t)
		n := w.build(spec).Node(id)
		dir := t.TempDir()
		rt := &pipeline.Runtime{Dir: dir, Service: up(srv), Now: time.Now, Emit: func(pipeline.Event) {}}
		if err := n.Work(t.Context(), n.Input, rt); err != nil {
			t.Fatal(err)
		}
		table, err := collect.ReadSamples(filepath.Join(dir, samplesFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range srv.bodies {
			prompts = append(prompts, fmt.Sprint(b.Prompt))
		}
		slices.Sort(prompts) // they may overtake each other
		return prompts, table.Scheduled
	}
	spec := changed(t, twoModes, "sweep: {", "sweep: {repeat: 2, ")
	prompts, at := sent(spec, "load mode=simple qps=1000 repeat=0")
	same, sameAt := sent(spec, "load mode=nixl qps=1000 repeat=0")
	if !slices.Equal(prompts, same) || !slices.Equal(at, sameAt) {
		t.Error("two modes are sent different loads")
	}
	other, otherAt := sent(spec, "load mode=simple qps=1000 repeat=1")
	if slices.Equal(prompts, other) || slices.Equal(at, otherAt) {
		t.Error("two repeats are sent one load")
	}
}

// TestLoadCacheReset holds that a point whose caches could not be reset is
// measured all the same, and that its record says so.
func TestLoadCacheReset(t *testing.T) {
	for name, c := range map[string]struct {
		reset func() (bool, error)
		notes []string
	}{
		"not there": {func() (bool, error) { return false, nil }, nil},
		"broken":    {func() (bool, error) { return false, errors.New("busy") }, []string{"prefix caches were not reset: busy"}},
	} {
		w := newWorld(t)
		w.prepare = func(s *server) error {
			s.reset = c.reset
			return nil
		}
		a := w.apply(oneMode)
		rec := recordOf(t, a, "load mode=simple qps=1000 repeat=0")
		if v, ok := rec.Facts["cache_reset"]; !ok || v != 0 || rec.Facts["sent"] != 4 {
			t.Errorf("%s: facts %v", name, rec.Facts)
		}
		if !slices.Equal(rec.Notes, c.notes) {
			t.Errorf("%s: notes %q", name, rec.Notes)
		}
		if !maps.Equal(rec.Environment, map[string]string{"engine_version": "fake/1", "model": "m"}) {
			t.Errorf("%s: environment %v", name, rec.Environment)
		}
		// The samples carry the same facts.
		table, err := collect.ReadSamples(filepath.Join(a.RunDir, "samples/mode=simple/qps=1000/repeat=0/samples.parquet"))
		if err != nil || !maps.Equal(table.Meta.Facts, rec.Facts) {
			t.Errorf("%s: the samples have %v, %v", name, table, err)
		}
		analysis, err := ReadAnalysis(a.RunDir)
		if err != nil || !slices.ContainsFunc(analysis.Warnings, func(s string) bool {
			return strings.HasPrefix(s, "prefix caches could not be reset before 1 of 1 points")
		}) {
			t.Errorf("%s: the analysis warns %q, %v", name, analysis.Warnings, err)
		}
	}
}

// recordOf is what was kept beside the artefact of a node.
func recordOf(t *testing.T, a *Applied, id string) pipeline.Record {
	t.Helper()
	r := a.Report.Result(id)
	if r.Artefact == nil {
		t.Fatalf("%s left nothing: %s, %v", id, r.State, r.Err)
	}
	rec, err := pipeline.RecordOf(r.Artefact)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// fixed is a Starter that has started already.
type fixed struct{ running deploy.Running }

func (f fixed) Start(context.Context, deploy.Deployment, deploy.Options) (deploy.Running, error) {
	return f.running, nil
}

// TestLoadOfAttachedSimulator holds that results of a simulated engine are
// called so, also if somebody else runs it.
func TestLoadOfAttachedSimulator(t *testing.T) {
	for version, want := range map[string]string{"sim/1": "simulated", "0.27.0": ""} {
		w := newWorld(t)
		srv := newServer(t)
		srv.env["engine_version"] = version
		p := w.point(srv, changed(t, oneMode, "{engine: simulated}", `{endpoint: "http://127.0.0.1:9"}`))
		if err := p.work(t.Context()); err != nil {
			t.Fatal(err)
		}
		table, err := collect.ReadSamples(filepath.Join(p.rt.Dir, samplesFile))
		if err != nil {
			t.Fatal(err)
		}
		if m := table.Meta; m.Config["engine"] != want || m.Engine != version || m.GPUs != 0 {
			t.Errorf("%s: %+v", version, m)
		}
	}
}

// To instances that share KV through LMCache every attempt's KV is its own:
// their cache server cannot be emptied between points.
func TestTaggedBody(t *testing.T) {
	in := loadInput{loadShared: loadShared{Workload: workloadInput{Body: map[string]any{"temperature": 0}}}}
	in.Deployment.Engine, in.Deployment.Connector = "vllm", "lmcache"
	tag := func(attempt string) any {
		b := taggedBody(in, attempt)
		params, _ := b["kv_transfer_params"].(map[string]any)
		if len(b) != 2 || len(params) != 1 {
			t.Errorf("body %v", b)
		}
		return params["lmcache.tag.vbp"]
	}
	if a, b := tag("one"), tag("two"); a == b || a != tag("one") || len(a.(string)) > 8 {
		t.Errorf("tags %v and %v", a, b)
	}
	if len(in.Workload.Body) != 1 {
		t.Error("the workload's own body was changed")
	}
	in.Workload.Body = map[string]any{"kv_transfer_params": "mine"}
	if b := taggedBody(in, "one"); b["kv_transfer_params"] != "mine" {
		t.Errorf("the spec's own parameters: %v", b)
	}
	in.Workload.Body, in.Deployment.Connector = nil, "nixl"
	if b := taggedBody(in, "one"); b != nil {
		t.Errorf("with NIXL: %v", b)
	}
}
