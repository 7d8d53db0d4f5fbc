package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/deploy/vllm"
	"vbp/stages/runs"
)

// deployInput is what a deployment is started from.
type deployInput struct {
	Deployment   deploy.Deployment `json:"deployment"`
	ReadyTimeout string            `json:"ready_timeout"`
	API          string            `json:"api"` // of the first request
}

// serving is a deployment that is up, with what its warm-up and its points,
// which act on it one after the other, leave for those that follow.
type serving struct {
	deploy.Running
	lastEnd time.Time           // when the last point's load ended; cool-down counts from here
	points  int                 // loaded so far
	redact  func(string) string // of secrets that a server may repeat; nil: there are none

	// slowdown is how much longer the warm-up took than that of the
	// deployment's first start in this apply; 0: that cannot be told.
	slowdown float64
	// hung is that a point left it without an answer to what it was asked
	// afterwards; nil: it answered, or was not asked.
	hung error
}

// Check is the deployment's, without secrets that a server repeats. It fails
// for good once the deployment hung: one that does may still answer /health.
func (s *serving) Check(ctx context.Context) error {
	err := s.hung
	if err == nil {
		err = s.Running.Check(ctx)
	}
	if s.redact == nil {
		return err
	}
	return hide(err, s.redact)
}

// Environment is the deployment's, without secrets that a server repeats.
func (s *serving) Environment() map[string]string {
	env := maps.Clone(s.Running.Environment())
	for k, v := range env {
		if s.redact != nil {
			env[k] = s.redact(v)
		}
	}
	return env
}

// deploymentOf resolves a mode of the spec into the value that is deployed.
func deploymentOf(e *specs.Experiment, m specs.Mode) deploy.Deployment {
	d := deploy.Deployment{
		Engine: m.Engine, Model: e.Model, Run: m.Run, Port: m.Port,
		Endpoint: m.Endpoint, Headers: m.Headers,
	}
	switch {
	case m.Endpoint != "":
		d.Engine = ""
	case m.Disaggregated != nil:
		d.Connector = m.Disaggregated.Connector
		d.Prefill = poolOf(m, m.Disaggregated.Prefill)
		d.Decode = poolOf(m, m.Disaggregated.Decode)
		if d.Connector == "lmcache" && !vllm.OwnCache(d.Prefill.Env) {
			d.Cache = &deploy.CacheServer{Port: m.Disaggregated.CachePort} // vbp's own
			if _, err := deploy.FindProgram(vllm.CacheProgram, d.Prefill.Env, ""); err == nil && m.Engine == "vllm" {
				d.Cache.Program = vllm.CacheProgram
			}
		}
	default:
		d.Server = poolOf(m, specs.Pool{Instances: 1, TensorParallel: m.TensorParallel})
	}
	return d
}

// poolOf joins what a mode says of all its instances with what a pool says of
// its own; the pool wins.
func poolOf(m specs.Mode, p specs.Pool) *deploy.Pool {
	out := &deploy.Pool{
		Instances: p.Instances, TensorParallel: p.TensorParallel, Width: m.Width(p),
		GPUMemoryUtilization: m.GPUMemoryUtilization,
	}
	if out.Width == max(1, out.TensorParallel) {
		out.Width = 0 // said already
	}
	own := make(map[string]bool)
	for _, a := range p.Args {
		own[a.Name] = true
	}
	for _, a := range m.Args {
		if !own[a.Name] {
			out.Args = append(out.Args, deploy.Arg(a))
		}
	}
	for _, a := range p.Args {
		out.Args = append(out.Args, deploy.Arg(a))
	}
	env := make(map[string]string)
	if m.Engine == "vllm" {
		maps.Copy(env, ambient(os.Environ()))
	}
	maps.Copy(env, m.Env)
	maps.Copy(env, p.Env)
	if len(env) > 0 {
		out.Env = env
	}
	return out
}

// ambient is what an environment says to vLLM and to the libraries under it.
// Servers inherit it; as a part of the deployment it is seen in plans and
// records, and measurements under another one are others. What may be a secret
// is only inherited.
func ambient(environ []string) map[string]string {
	env := make(map[string]string)
	for name, value := range environMap(environ) {
		of := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		hush := func(word string) bool { return strings.Contains(name, word) }
		if vllm.PerInstance[name] || strings.Contains(value, "://") && strings.Contains(value, "@") { // or with a password
			continue
		}
		if slices.ContainsFunc([]string{"VLLM_", "LMCACHE_", "NCCL_", "UCX_"}, of) && name != "LMCACHE_PORT" && // a variable of the examples
			!slices.ContainsFunc([]string{"KEY", "TOKEN", "SECRET", "PASSWORD"}, hush) {
			env[name] = value
		}
	}
	return env
}

// configOf is the configuration that figures show and files carry, under the
// scripts' names.
func configOf(d deploy.Deployment) map[string]string {
	c := map[string]string{"model_name": d.Model}
	switch {
	case d.Endpoint != "":
		c["endpoint"] = d.Endpoint
	case d.Server != nil:
		c["engine"] = d.Engine
		c["deployment_mode"] = "simple"
		if d.Server.TensorParallel > 0 { // not of a command that says nothing of GPUs
			c["tensor_parallel_size"] = strconv.Itoa(d.Server.TensorParallel)
		}
	default:
		c["engine"] = d.Engine
		c["deployment_mode"] = d.Connector
		c["num_prefill_instances"] = strconv.Itoa(d.Prefill.Instances)
		c["num_decode_instances"] = strconv.Itoa(d.Decode.Instances)
		c["prefiller_tp_size"] = strconv.Itoa(d.Prefill.TensorParallel)
		c["decoder_tp_size"] = strconv.Itoa(d.Decode.TensorParallel)
	}
	return c
}

// addDeploy adds the node that brings a deployment up. label tells it from
// the others, and id from itself in other blocks.
func (b *builder) addDeploy(s specs.Stage, label, id string, r resolved, secrets *specs.Experiment) (string, error) {
	raw, err := pipeline.NewInput(r.deploy)
	if err != nil {
		return "", err
	}
	n := &pipeline.Node{
		ID: deployPrefix + id, Stage: "deploy", Group: s.Name, Kind: pipeline.Service, Input: raw,
		Restarts: stagesOf(secrets).deploy.Restarts,
		Uses:     map[string]int{hostResource: hostUnits},
	}
	if r.sideBySide {
		n.Uses[hostResource] = 1
		if b.blocks() > 1 {
			n.Uses["deployment "+label] = 1 // of one deployment there is one at a time
		}
	}
	if r.uses > 0 {
		n.Uses[gpuResource] = r.uses
	}
	site, expect := b.site, r.expect
	n.Start = func(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime) (pipeline.Handle, error) {
		return startDeployment(ctx, in, rt, site, runs.FileName(label), runs.FileName(id), secrets, expect)
	}
	return n.ID, b.addNode(n)
}

// deployPrefix begins the IDs of deployments' nodes.
const deployPrefix = "deploy "

// The machine is a resource of many units: a deployment that wants it to
// itself takes all, one that can be loaded beside others, or a user's command,
// takes one.
const (
	hostResource = "host"
	hostUnits    = 1 << 20 // more than there will be nodes at a time
)

func startDeployment(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime, site *Site, name, logs string, secrets *specs.Experiment, expect map[string]string) (pipeline.Handle, error) {
	var v deployInput
	if err := in.Decode(&v); err != nil {
		return nil, err
	}
	timeout, err := time.ParseDuration(v.ReadyTimeout)
	if err != nil {
		return nil, err
	}
	headers, err := revealAll(v.Deployment.Headers, secrets.Reveal)
	if err != nil {
		return nil, err
	}
	o := deploy.Options{
		LogDir: filepath.Join(rt.RunDir, "logs", logs), StateDir: site.stateDir(),
		ReadyTimeout: timeout, Headers: headers, API: v.API, GPUs: rt.Granted[gpuResource],
		PortSeed: portSeed(site, name), Reveal: secrets.Reveal, Progress: func(s string) { rt.Emit(pipeline.Event{Text: s}) },
	}
	starter := site.Local
	if v.Deployment.Endpoint != "" {
		starter = site.Attach
	}
	r, err := starter.Start(ctx, v.Deployment, o)
	if err != nil && rt.Before && v.Deployment.Endpoint != "" {
		r, err = comeBack(ctx, starter, v.Deployment, o, err)
	}
	if err != nil {
		return nil, err
	}
	s := &serving{Running: r, redact: secrets.Redact}
	if why := unmet(expect, s.Environment()); why != "" {
		// Nothing that it would answer may enter a figure.
		return nil, errors.Join(errors.New(why), r.Stop(ctx))
	}
	return s, nil
}

// comeBack waits for a server of somebody else that answered before and does
// not now: whoever runs it may be starting it again.
func comeBack(ctx context.Context, starter deploy.Starter, d deploy.Deployment, o deploy.Options, why error) (deploy.Running, error) {
	o.Progress("waiting for it to come back: " + firstLine(why.Error()))
	limit := time.NewTimer(o.ReadyTimeout)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-limit.C:
			return nil, fmt.Errorf("it did not come back within %s (stages.deploy.ready_timeout): %w", o.ReadyTimeout, why)
		case <-time.After(time.Second):
		}
		r, err := starter.Start(ctx, d, o)
		if err == nil {
			return r, nil
		}
		why = err
	}
}

// portSeed lets deployments of different results folders, and of different
// names, look for free ports at different places.
func portSeed(site *Site, name string) string {
	dir, err := filepath.Abs(site.Results)
	if err != nil {
		dir = site.Results
	}
	return dir + "\x00" + name
}

func revealAll(headers map[string]string, secrets func(string) (string, error)) (map[string]string, error) {
	out := make(map[string]string, len(headers))
	for k, v := range headers {
		s, err := secrets(v)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", k, err)
		}
		out[k] = s
	}
	return out, nil
}

func (s *Site) stateDir() string { return filepath.Join(s.Results, runs.StoreDir, "servers") }
