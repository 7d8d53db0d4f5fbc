package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/collect"
	"vbp/stages/deploy"
	"vbp/stages/deploy/engine"
	"vbp/stages/deploy/vllm"
	"vbp/stages/load"
	"vbp/stages/load/arrivals"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// Files of a load artefact.
const (
	samplesFile = "samples.parquet"
	spoolFile   = "rows.spool" // while it is made
	metricsFile = "metrics.parquet"
)

// loadWork is what a load node works with beside its input: the prompts whose
// digest the input holds, and the objectives that live attainment is shown
// for, which change nothing that is measured.
type loadWork struct {
	source   *workload.Source
	workload *specs.Workload // what is hashed of it is in the input
	client   load.Transport
	sources  int    // source addresses of the client
	counts   string // folder of token counts
	slo      specs.SLO
	redact   func(string) string // of secrets that a server may repeat
	gpus     int                 // that rates are divided by; 0: none, or not known
}

// work measures one point. An error leaves nothing: that of an interrupt, or
// of a server that ended before anything was sent. Once something was, and the
// server has ended, what was measured is the result, its record says how, and
// its facts make it one that is not valid (see verdict.go).
func (w loadWork) work(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in loadInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	srv, ok := rt.Service.(*serving)
	if !ok {
		return fmt.Errorf("a load point has no deployment")
	}
	timeout, rest, limit, err := in.durations()
	if err != nil {
		return err
	}
	e := srv.Endpoint()
	arriving := process(w.workload, in.QPS, w.source.Times())
	schedule, err := arrivals.Schedule(arriving, in.Workload.Seed, in.Repeat)
	if err != nil {
		return err
	}
	prompts, counting, err := w.draw(ctx, in, e, len(schedule))
	if err != nil {
		return err
	}
	notes := append(prompts.Notes, counting...)
	switch note, err := w.room(e, in.QPS, timeout, prompts); {
	case err != nil:
		return err
	case note != "":
		notes = append(notes, note)
	}
	if note := traceEnds(arriving, len(schedule)); note != "" {
		notes = append(notes, note)
	}
	queues := newQueues(e)
	defer queues.close()
	note, err := cooldown(ctx, rt, srv.lastEnd, rest, limit, queues.ask)
	if err != nil {
		return err
	}
	if note != "" {
		notes = append(notes, note)
	}
	reset, err := srv.ResetCaches(ctx)
	if err != nil {
		// The record says so; whether the server is fit at all, the load shows.
		notes = append(notes, resetNote+err.Error())
	}

	watch := newLive(rt, w.slo, len(schedule), schedule)
	metrics, err := startMetrics(ctx, rt, e, in.Deployment.Connector, in.ServerMetrics)
	if err != nil {
		return err
	}
	before := queues.ask(ctx)
	measured, err := load.Measure(ctx, load.Config{
		Target: load.Target{URL: e.URL, Model: e.Model, Headers: e.Headers},
		API:    in.Workload.API, Prompts: prompts, Arrivals: schedule, Timeout: timeout,
		IgnoreEOS: in.Workload.IgnoreEOS, Body: taggedBody(in, rt.Attempt), IDPrefix: rt.Attempt,
		MaxConcurrency: in.Workload.MaxConcurrency, Duration: w.workload.Duration, Spool: filepath.Join(rt.Dir, spoolFile), Redact: w.redact,
		Abort: srv.Died(), AbortErr: srv.Err,
	}, w.client, watch.observe)
	if measured != nil {
		defer measured.Close()
	}
	watch.tell(true)
	srv.lastEnd, srv.points = rt.Now(), srv.points+1
	unread := metrics.end()
	var death *load.Aborted
	if err != nil && (!errors.As(err, &death) || ctx.Err() != nil || measured.Len() == 0) {
		return err
	}
	meta := measured.Meta
	notes = append(notes, load.Notes(meta.Extra)...)
	// Whatever comes now, what was measured is kept, and the record says what
	// was wrong.
	var unwell error
	if death != nil {
		unwell = death.Err
		notes = append(notes, fmt.Sprintf("the server ended when %d of %d requests had been sent: %v", measured.Len(), len(schedule), death.Err))
	} else {
		notes = append(notes, unread...) // of a dead one it would be no news
		if unwell, err = w.wellAfter(ctx, in, srv, rt, meta.Facts[sample.Timeout] > 0); err != nil {
			return err
		}
		if unwell != nil {
			notes = append(notes, fmt.Sprintf("after the load: %v", unwell))
		}
	}
	if err := metrics.write(filepath.Join(rt.Dir, metricsFile), meta.Start); err != nil {
		notes = append(notes, fmt.Sprintf("server metrics are not kept: %v", err))
	}
	for i := range notes {
		// A dead server's last log lines are in its log; a note is one line.
		notes[i] = w.redact(firstLine(notes[i]))
	}
	meta = w.meta(in, srv, meta)
	meta.Extra["prompt_counting"], meta.Extra["arrivals"] = w.redact(prompts.Counting), arriving.String()
	if len(notes) > 0 {
		meta.Extra[notesKey] = strings.Join(notes, "\n")
	}
	f := meta.Facts
	f["cache_reset"], f["healthy_after"], f["order"] = boolFact(reset), boolFact(unwell == nil), float64(srv.points)
	f["restarts"] = float64(rt.Restarts)
	if srv.slowdown > 0 {
		f["warmup_slowdown"] = srv.slowdown
	}
	if arriving.Kind == arrivals.Ramping {
		f["ramp_from_qps"] = arriving.Ramp.From * in.QPS
	}
	if before.told {
		f["queue_before"] = before.requests
	}
	metrics.facts(f)
	if err := collect.WriteRows(filepath.Join(rt.Dir, samplesFile), meta, measured); err != nil {
		return err
	}
	if err := measured.Close(); err != nil {
		return err
	}
	rt.Keep(pipeline.Record{Facts: f, Environment: srv.Environment(), Notes: notes})
	return nil
}

// durations are those of the input: how long a request may take, how long the
// deployment is left alone before the point, and how long at most.
func (in *loadInput) durations() (timeout, rest, limit time.Duration, err error) {
	var errs [3]error
	timeout, errs[0] = time.ParseDuration(in.Timeout)
	rest, errs[1] = time.ParseDuration(in.Cooldown)
	limit, errs[2] = time.ParseDuration(in.CooldownLimit)
	return timeout, rest, limit, errors.Join(errs[:]...)
}

// wellAfter says what is wrong with the deployment once a point was loaded.
// Where requests had timed out it is asked for some more answers: the engine
// behind a server that still answers /health may hang, or may just have had
// too much to do, which then shows in the answers. These also bring vLLM's
// gauges up to date, which stay as they were when requests are given up, until
// the next step (https://github.com/vllm-project/vllm/issues/22545).
// The error is ctx's: nothing is known then. A short question is asked to its
// end all the same, so that an interrupt just then loses no whole point.
func (w loadWork) wellAfter(ctx context.Context, in loadInput, srv *serving, rt *pipeline.Runtime, timeouts bool) (unwell, err error) {
	if unwell := srv.Check(context.WithoutCancel(ctx)); unwell != nil || !timeouts {
		return unwell, nil
	}
	rt.Emit(pipeline.Event{Text: "asking whether the servers still answer, since requests timed out"})
	more := warmupInput{
		API: in.Workload.API, IgnoreEOS: in.Workload.IgnoreEOS, Body: in.Workload.Body,
		Timeout: in.Timeout, Seed: in.Workload.Seed,
	}
	report, err := more.send(ctx, srv.Endpoint(), w.client, "after-"+rt.Attempt, 1, everyReplica(in.Deployment))
	srv.lastEnd = rt.Now()
	if err == nil && report.TimedOut > 0 {
		srv.hung = fmt.Errorf("the servers hang: after requests had timed out, %d of %d further ones had no answer within %s either, though /health is answered", report.TimedOut, report.Sent, in.Timeout)
	}
	return srv.hung, err
}

// everyReplica is how many requests at a time it takes to reach every instance and
// every replica of the model in it, of which there are at most as many as it
// has accelerators.
func everyReplica(d deploy.Deployment) int {
	n := 1
	for _, p := range d.Pools() {
		n = max(n, p.Instances*p.GPUs())
	}
	return n
}

// taggedBody is the body of the workload; to instances that share KV through
// LMCache it says that this attempt's KV is its own.
func taggedBody(in loadInput, attempt string) map[string]any {
	body := in.Workload.Body
	if _, own := body["kv_transfer_params"]; own || in.Deployment.Engine != "vllm" || in.Deployment.Connector != "lmcache" {
		return body
	}
	body = maps.Clone(body)
	if body == nil {
		body = make(map[string]any)
	}
	body["kv_transfer_params"] = map[string]any{vllm.CacheTag: fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(attempt)))}
	return body
}

// simulatedName begins the versions that simulated engines report.
var simulatedName, _, _ = strings.Cut(engine.Identity, "/")

// notesKey is where a samples file keeps what is worth saying of its point,
// one note a line.
const notesKey = "notes"

// environmentKey is where a samples file keeps what the servers told of
// themselves, as a JSON object.
const environmentKey = "environment"

// resetNote begins the note of why prefix caches could not be reset.
const resetNote = "prefix caches were not reset: "

// facts that this package adds to load's.
var facts = []load.Fact{
	{Name: "cache_reset", Doc: "1 if the prefix caches of all instances were emptied before the point, else 0"},
	{Name: "healthy_after", Doc: "1 if every process of the deployment was alive and healthy after the load and, where requests had timed out, answered further ones, else 0"},
	{Name: "ramp_from_qps", Doc: "requests per second with which a ramp began; absent for other arrivals"},
	{Name: "restarts", Doc: "how often its deployment had been started again before the point, because it was not healthy"},
	{Name: "warmup_slowdown", Doc: "how much longer the requests of its deployment's warm-up took than those of the first start's in the same apply: the larger ratio of the lower quartiles of TTFT (+10 ms) and of time per token of the whole answer (+1 ms); 1 is the same; absent where fewer than 5 were answered"},
	{Name: "queue_before", Doc: "requests that the servers still had, running or waiting, right before the first one was sent; absent where none tells"},
	{Name: "order", Doc: "how many points its deployment had been loaded with, this one counted"},
	{Name: "engine_late_mean_ms", Doc: "how late a simulated engine handed out the tokens of a step, on average, for the worst instance"},
	{Name: "nixl_bytes", Doc: "bytes of KV that NIXL moved between instances"},
	{Name: "nixl_silent", Doc: "decode instances that fetched no KV by NIXL, or do not tell"},
	{Name: "nixl_transfer_mean_ms", Doc: "how long NIXL took to move the KV of a request, on average"},
	{Name: "nixl_failed", Doc: "NIXL transfers that failed"},
	{Name: "nixl_expired", Doc: "requests whose KV was not fetched before the prefill instance gave it up, of those that it gave up before the point ended: a lease takes 30 s"},
	{Name: "external_hit_tokens", Doc: "prompt tokens whose KV came from another instance or an external cache instead of being computed; those of prefill instances do not count"},
	{Name: "external_hit_share", Doc: "external_hit_tokens as a share of the prompt tokens that were looked up there"},
	{Name: "prefix_cache_hit_share", Doc: "share of the prompt tokens looked up in the prefix caches that was found there"},
	{Name: "preemptions", Doc: "requests thrown out of a running batch for want of KV blocks"},
}

// knownFact reports whether a rule may name a fact.
func knownFact(name string) bool {
	is := func(f load.Fact) bool { return f.Name == name }
	return slices.ContainsFunc(facts, is) || slices.ContainsFunc(load.FactNames, is)
}

// meta completes what load knows of the point by what only the deployment and
// the spec know.
func (w loadWork) meta(in loadInput, srv deploy.Running, m sample.Meta) sample.Meta {
	env := srv.Environment()
	m.Axes = []sample.Axis{
		{Name: "qps", Value: formatRate(in.QPS), Set: true},
		{Name: "repeat", Value: strconv.Itoa(in.Repeat), Set: true},
	}
	m.Rate, m.Repeat, m.Seed = in.QPS, in.Repeat, in.Workload.Seed
	m.Model, m.Dataset, m.Host = srv.Endpoint().Model, in.Workload.Dataset, in.Host
	m.Engine = env["engine_version"]
	m.GPUs, m.Config = w.gpus, configOf(in.Deployment)
	for name, value := range env {
		if value == "simulated" && (name == "server" || strings.HasPrefix(name, "server.")) || strings.HasPrefix(value, simulatedName+"/") {
			m.Config["engine"] = "simulated" // whatever it stands in for: nobody may take it for a measurement
		}
	}
	if m.Extra == nil {
		m.Extra = make(map[string]string)
	}
	if text, err := json.Marshal(env); err == nil { // a map of strings
		m.Extra[environmentKey] = string(text)
	}
	if m.Facts == nil {
		m.Facts = make(map[string]float64)
	}
	return m
}

func boolFact(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func formatRate(qps float64) string { return strconv.FormatFloat(qps, 'f', -1, 64) }
