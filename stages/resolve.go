package stages

import (
	"encoding/json"
	"fmt"
	"slices"

	"vbp/specs"
	"vbp/stages/deploy"
)

// standing is all that makes two points share a running deployment, as JSON.
type standing string

// resolved is what a point resolves to.
type resolved struct {
	deployment deploy.Deployment
	deploy     deployInput
	warmup     *warmupInput // nil: none
	sideBySide bool
	on         standing

	programs string            // identity of engine and proxy, as far as it can be known
	host     string            // fingerprint of the hardware
	gpus     int               // that it runs on, simulated ones too; 0: none, or not known
	uses     int               // GPUs of this host that are leased to it
	expect   map[string]string // of the mode
}

// combination is what points that resolve to the same have in common.
type combination struct {
	config *specs.Experiment
	mode   string
}

// resolve says what point p is to be measured on; worked out once for all
// points of a combination.
func (b *builder) resolve(p specs.Point) (resolved, error) {
	c := combination{p.Config, p.Mode}
	if r, ok := b.resolved[c]; ok {
		return r, nil
	}
	r, err := b.newResolved(p)
	b.resolved[c] = r
	return r, err
}

func (b *builder) newResolved(p specs.Point) (resolved, error) {
	i := slices.IndexFunc(p.Config.Modes, func(m specs.Mode) bool { return m.Name == p.Mode })
	m := &p.Config.Modes[i]
	s := stagesOf(p.Config)
	r := resolved{deployment: deploymentOf(p.Config, *m), host: b.site.Host, expect: m.Expect}
	switch {
	case m.Engine == "simulated":
		r.gpus = r.deployment.GPUs()
	case !p.Config.GPUs.None:
		r.gpus = m.Devices()
	}
	if !p.Config.GPUs.None && !b.site.Elsewhere {
		r.uses = m.GPUs()
		if err := b.gpus.check(m); err != nil {
			return r, err
		}
	}
	if r.uses > 0 {
		r.host = b.gpus.host(b.site.Host)
	}
	var err error
	if r.programs, err = programs(b.site, r.deployment); err != nil {
		return r, fmt.Errorf("mode %s: %w", p.Mode, err)
	}
	r.deploy = deployInput{r.deployment, s.deploy.ReadyTimeout.String(), p.Config.Workload.API}
	r.warmup = newWarmupInput(p, r.deployment, s)
	r.sideBySide = s.load.SideBySide && r.deployment.Endpoint == ""
	data, err := json.Marshal(struct {
		Deploy     deployInput
		Warmup     *warmupInput
		SideBySide bool
	}{r.deploy, r.warmup, r.sideBySide})
	r.on = standing(data)
	return r, err
}

// addDeployments adds one service for all points that can share it, and its
// warm-up.
func (b *builder) addDeployments(s specs.Stage) error {
	for _, p := range b.points {
		r, err := b.resolve(p)
		if err != nil {
			return err
		}
		if _, ok := b.stands[r.on]; ok {
			continue
		}
		label := b.deploymentLabel(p)
		id, err := b.addDeploy(label, r, p.Config)
		if err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: id, mode: p.Mode})
		b.stands[r.on] = id
		if r.warmup != nil {
			if b.stands[r.on], err = b.addWarmup(label, id, p.Mode, *r.warmup); err != nil {
				return err
			}
		}
	}
	return nil
}

// findAccelerators looks for GPUs if a point can need any.
func (b *builder) findAccelerators() (err error) {
	for _, p := range b.points {
		for i := range p.Config.Modes {
			if m := &p.Config.Modes[i]; m.Name == p.Mode && m.GPUs() > 0 && !p.Config.GPUs.None && !b.site.Elsewhere {
				if b.gpus, err = findAccelerators(b.exp.GPUs); err == nil {
					b.graph.Units = map[string][]string{gpuResource: b.gpus.ids}
				}
				return err
			}
		}
	}
	return nil
}

// settings are the entries of stages that exactly one of exists.
type settings struct {
	deploy  *specs.DeployStage
	warmup  *specs.WarmupStage
	load    *specs.LoadStage
	collect *specs.CollectStage
}

func stagesOf(e *specs.Experiment) settings {
	var out settings
	for _, s := range e.Stages {
		switch {
		case s.Deploy != nil:
			out.deploy = s.Deploy
		case s.Warmup != nil:
			out.warmup = s.Warmup
		case s.Load != nil:
			out.load = s.Load
		case s.Collect != nil:
			out.collect = s.Collect
		}
	}
	return out
}

// deploymentLabel names a deployment after its mode, and after the other axes
// too if those give the mode several deployments.
func (b *builder) deploymentLabel(p specs.Point) string {
	for _, e := range b.made["deploy"] {
		if e.mode == p.Mode {
			return axesLabel(seriesAxes(sampleAxes(p.Axes), nil))
		}
	}
	return "mode=" + p.Mode
}
