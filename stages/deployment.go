package stages

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/deploy/engine"
	"vbp/stages/deploy/local"
	"vbp/stages/deploy/proxy"
)

// deployInput is what a deployment is started from.
type deployInput struct {
	Deployment   deploy.Deployment `json:"deployment"`
	ReadyTimeout string            `json:"ready_timeout"`
}

// serving is a deployment that is up, with what its points share.
type serving struct {
	deploy.Running
	lastEnd time.Time           // when the last point's load ended; cool-down counts from here
	points  int                 // loaded so far
	redact  func(string) string // of secrets that a server may repeat; nil: there are none
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

// engineTraits is what is known of an engine's program without starting it.
type engineTraits struct {
	identity   string                    // of the behaviour of the program; part of keys
	check      func(argv []string) error // of an instance's command line, without starting it
	sideBySide bool                      // deployments may be loaded at the same time
}

// engines are the engines that this build deploys; package local has their
// command lines.
var engines = map[string]engineTraits{
	"simulated": {
		identity:   engine.Identity,
		check:      func(argv []string) error { return engine.CheckArgs(argv[2:]) }, // behind "vbp engine"
		sideBySide: true,
	},
}

// programs names the programs that stand between client and model, as far as
// they can be known without starting them.
func programs(d deploy.Deployment) string {
	names := engines[d.Engine].identity
	if d.Prefill != nil {
		names += ", " + proxy.Identity
	}
	return names
}

// checkDeployable refuses, before anything starts, what this build cannot
// deploy.
func checkDeployable(site *Site, d deploy.Deployment) error {
	if d.Endpoint != "" {
		return nil
	}
	if _, ok := engines[d.Engine]; !ok {
		return fmt.Errorf("this version of vbp cannot deploy engine %q, only: %s; a server that runs already is measured with endpoint: http://HOST:PORT",
			d.Engine, strings.Join(slices.Sorted(maps.Keys(engines)), ", "))
	}
	processes, err := local.Layout(d, site.Self, nil)
	if err != nil {
		return err
	}
	for _, p := range processes {
		if p.Role == deploy.Proxy {
			continue
		}
		if err := engines[d.Engine].check(p.Argv); err != nil {
			return fmt.Errorf("args of %s: %w", p.Name, err)
		}
	}
	return nil
}

// addDeploy adds the node that brings a deployment up. label tells it from
// the others.
func (b *builder) addDeploy(label string, in deployInput, sideBySide bool, secrets *specs.Experiment) (string, error) {
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return "", err
	}
	id := "deploy " + label
	n := &pipeline.Node{ID: id, Stage: "deploy", Kind: pipeline.Service, Input: raw, Uses: map[string]int{hostResource: hostUnits}}
	if sideBySide {
		n.Uses[hostResource] = 1
	}
	site := b.site
	n.Start = func(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime) (pipeline.Handle, error) {
		return startDeployment(ctx, in, rt, site, fileName(label), secrets)
	}
	return id, b.addNode(n)
}

// The machine is a resource of many units: a deployment that wants it to
// itself takes all, one that can be loaded beside others, or a user's command,
// takes one.
const (
	hostResource = "host"
	hostUnits    = 1 << 20 // more than there will be nodes at a time
)

func startDeployment(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime, site *Site, name string, secrets *specs.Experiment) (pipeline.Handle, error) {
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
		LogDir: filepath.Join(rt.RunDir, "logs", name), StateDir: site.stateDir(),
		ReadyTimeout: timeout, Headers: headers,
		Reveal: secrets.Reveal, Progress: func(s string) { rt.Emit(pipeline.Event{Text: s}) },
	}
	starter := site.Local
	if v.Deployment.Endpoint != "" {
		starter = site.Attach
	}
	r, err := starter.Start(ctx, v.Deployment, o)
	if err != nil {
		return nil, err
	}
	return &serving{Running: r, redact: secrets.Redact}, nil
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

func (s *Site) stateDir() string { return filepath.Join(s.Results, storeDir, "servers") }

// fileName makes a label fit for a folder's name; different labels have
// different names.
func fileName(label string) string {
	label = strings.TrimPrefix(label, "mode=")
	var b strings.Builder
	for i, c := range []byte(label) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '=', c == '.' && i > 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte(',')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
