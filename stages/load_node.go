package stages

import (
	"context"
	"encoding/json"
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
	metricsFile = "metrics.parquet"
)

// loadWork is what a load node works with beside its input: the prompts whose
// digest the input holds, and the objectives that live attainment is shown
// for, which change nothing that is measured.
type loadWork struct {
	source *workload.Source
	slo    specs.SLO
	redact func(string) string // of secrets that a server may repeat
	gpus   int                 // that rates are divided by; 0: none, or not known
}

// work measures one point.
func (w loadWork) work(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in loadInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	srv, ok := rt.Service.(*serving)
	if !ok {
		return fmt.Errorf("a load point has no deployment")
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil {
		return err
	}
	prompts, notes, err := w.source.Draw(in.Workload.Requests, in.Workload.Seed, in.Repeat)
	if err != nil {
		return err
	}
	schedule, err := arrivals.Schedule(in.Workload.Arrivals, in.Workload.Burstiness,
		in.Workload.Requests, in.QPS, in.Workload.Seed, in.Repeat)
	if err != nil {
		return err
	}
	if err := cooldown(ctx, rt, srv, in.Cooldown); err != nil {
		return err
	}
	reset, err := srv.ResetCaches(ctx)
	if err != nil {
		// The record says so; whether the server is fit at all, the load shows.
		notes = append(notes, resetNote+err.Error())
	}

	e := srv.Endpoint()
	watch := newLive(rt, w.slo, in.Workload.Requests, schedule)
	metrics, err := startMetrics(ctx, rt, e, in.Deployment.Connector, in.ServerMetrics)
	if err != nil {
		return err
	}
	table, err := load.Run(ctx, load.Config{
		Target: load.Target{URL: e.URL, Model: e.Model, Headers: e.Headers},
		API:    in.Workload.API, Prompts: prompts, Arrivals: schedule, Timeout: timeout,
		IgnoreEOS: in.Workload.IgnoreEOS, Body: taggedBody(in, rt.Attempt), IDPrefix: rt.Attempt,
		Abort: srv.Died(), AbortErr: srv.Err,
	}, load.NewHTTP(), watch.observe)
	srv.lastEnd, srv.points = rt.Now(), srv.points+1
	notes = append(notes, metrics.end()...)
	if err != nil {
		return err
	}
	notes = append(notes, load.Notes(table.Meta.Extra)...)
	// The load ran to its end: whatever comes now, what was measured is kept,
	// and the record says what was wrong.
	healthy := srv.Check(ctx)
	if healthy != nil {
		notes = append(notes, fmt.Sprintf("after the load: %v", healthy))
	}
	if err := metrics.write(filepath.Join(rt.Dir, metricsFile), table.Meta.Start); err != nil {
		notes = append(notes, fmt.Sprintf("server metrics are not kept: %v", err))
	}
	for i := range table.Error {
		table.Error[i] = w.redact(table.Error[i])
	}
	for i := range notes {
		// A dead server's last log lines are in its log; a note is one line.
		notes[i] = w.redact(firstLine(notes[i]))
	}
	table.Meta = w.meta(in, srv, table.Meta)
	if len(notes) > 0 {
		table.Meta.Extra[notesKey] = strings.Join(notes, "\n")
	}
	f := table.Meta.Facts
	f["cache_reset"], f["healthy_after"], f["order"] = boolFact(reset), boolFact(healthy == nil), float64(srv.points)
	metrics.facts(f)
	if err := collect.WriteSamples(filepath.Join(rt.Dir, samplesFile), table); err != nil {
		return err
	}
	rt.Keep(pipeline.Record{Facts: f, Environment: srv.Environment(), Notes: notes})
	return nil
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
	{Name: "healthy_after", Doc: "1 if every process of the deployment was alive and healthy after the load, else 0"},
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
	m.Extra["prompt_counting"] = workload.Counting
	if text, err := json.Marshal(env); err == nil { // a map of strings
		m.Extra[environmentKey] = string(text)
	}
	m.Extra["client"] = in.Client
	m.Extra["arrivals"] = in.Workload.Arrivals + ", as drawn: not rescaled to the rate" // vLLM's client rescales
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

// cooldown waits until the deployment has been left alone for long enough
// since its last point.
func cooldown(ctx context.Context, rt *pipeline.Runtime, srv *serving, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || srv.lastEnd.IsZero() {
		return err
	}
	wait := d - rt.Now().Sub(srv.lastEnd)
	if wait <= 0 {
		return nil
	}
	rt.Emit(pipeline.Event{Text: "cooling down"})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
