package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/deploy/engine"
	"vbp/stages/deploy/local"
)

// deployInput is what a deployment is started from.
type deployInput struct {
	Deployment   deploy.Deployment `json:"deployment"`
	ReadyTimeout string            `json:"ready_timeout"`
}

// serving is a deployment that is up, with what its points share.
type serving struct {
	deploy.Running
	lastEnd time.Time // when the last point's load ended; cool-down counts from here
}

// deploymentOf resolves a mode of the spec into the value that is deployed.
func deploymentOf(e *specs.Experiment, m specs.Mode) deploy.Deployment {
	d := deploy.Deployment{
		Engine: m.Engine, Model: e.Model, Port: m.Port,
		Endpoint: m.Endpoint, Headers: m.Headers,
	}
	switch {
	case m.Endpoint != "":
		d.Engine = ""
	case m.Disaggregated != nil:
		d.Connector = m.Disaggregated.Connector
		d.Prefill = poolOf(m, m.Disaggregated.Prefill)
		d.Decode = poolOf(m, m.Disaggregated.Decode)
	default:
		d.Server = poolOf(m, specs.Pool{Instances: 1, TensorParallel: m.TensorParallel})
	}
	return d
}

// poolOf joins what a mode says of all its instances with what a pool says of
// its own; the pool wins.
func poolOf(m specs.Mode, p specs.Pool) *deploy.Pool {
	out := &deploy.Pool{
		Instances: p.Instances, TensorParallel: p.TensorParallel,
		GPUMemoryUtilization: m.GPUMemoryUtilization,
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
	if len(m.Env)+len(p.Env) > 0 {
		out.Env = maps.Clone(m.Env)
		if out.Env == nil {
			out.Env = make(map[string]string)
		}
		maps.Copy(out.Env, p.Env)
	}
	return out
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
		c["tensor_parallel_size"] = strconv.Itoa(d.Server.TensorParallel)
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

// engineIdentity is what is known of the engine's program without starting
// it.
func engineIdentity(d deploy.Deployment) string {
	if d.Engine == "simulated" {
		return engine.Identity
	}
	return ""
}

// checkDeployable refuses, before anything starts, what this build cannot
// deploy.
func checkDeployable(site *Site, d deploy.Deployment) error {
	if d.Endpoint != "" {
		return nil
	}
	processes, err := local.Layout(d, site.Self, nil)
	if err != nil {
		return err
	}
	for _, p := range processes {
		if p.Role == deploy.Proxy {
			continue
		}
		// Behind the program's name and the word "engine".
		if err := engine.CheckArgs(p.Argv[2:]); err != nil {
			return fmt.Errorf("args of %s: %w", p.Name, err)
		}
	}
	return nil
}

// addDeploy adds the node that brings deployment d up. label tells it from
// the others.
func (b *builder) addDeploy(label string, d deploy.Deployment, s *specs.DeployStage, sideBySide bool, secrets func(string) (string, error)) (string, error) {
	in, err := pipeline.NewInput(deployInput{d, s.ReadyTimeout.String()})
	if err != nil {
		return "", err
	}
	id := "deploy " + label
	n := &pipeline.Node{ID: id, Stage: "deploy", Kind: pipeline.Service, Input: in}
	if !sideBySide {
		n.Uses = map[string]int{hostResource: 1}
	}
	site := b.site
	n.Start = func(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime) (pipeline.Handle, error) {
		return startDeployment(ctx, in, rt, site, fileName(label), secrets)
	}
	return id, b.graph.Add(n)
}

// hostResource is held by a deployment that wants the machine to itself.
const hostResource = "host"

func startDeployment(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime, site *Site, name string, secrets func(string) (string, error)) (pipeline.Handle, error) {
	var v deployInput
	if err := in.Decode(&v); err != nil {
		return nil, err
	}
	timeout, err := time.ParseDuration(v.ReadyTimeout)
	if err != nil {
		return nil, err
	}
	headers, err := revealAll(v.Deployment.Headers, secrets)
	if err != nil {
		return nil, err
	}
	o := deploy.Options{
		LogDir: filepath.Join(rt.RunDir, "logs", name), StateDir: site.stateDir(),
		ReadyTimeout: timeout, Headers: headers,
		Reveal: secrets, Progress: func(s string) { rt.Emit(pipeline.Event{Text: s}) },
	}
	starter := site.Local
	if v.Deployment.Endpoint != "" {
		starter = site.Attach
	}
	r, err := starter.Start(ctx, v.Deployment, o)
	if err != nil {
		return nil, err
	}
	return &serving{Running: r}, nil
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

func (s *Site) stateDir() string { return filepath.Join(s.Results, ".store", "servers") }

// fileName makes a label fit for a folder's name.
func fileName(label string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_', r == '=':
			return r
		}
		return '_'
	}, strings.ReplaceAll(strings.TrimPrefix(label, "mode="), " ", "_"))
}

// deploymentKey is equal for equal deployments.
func deploymentKey(d deploy.Deployment) (string, error) {
	data, err := json.Marshal(d)
	return string(data), err
}
