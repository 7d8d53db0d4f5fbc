package stages

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/load"
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

	client   load.Transport    // that loads and warms it up
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
	if r.client, err = clientOf(p.Mode, r.deployment, s.load); err != nil {
		return r, err
	}
	r.warmup = newWarmupInput(p, r.deployment, s, r.client)
	r.sideBySide = s.load.SideBySide && r.deployment.Endpoint == ""
	data, err := json.Marshal(struct {
		Deploy     deployInput
		Warmup     *warmupInput
		SideBySide bool
	}{r.deploy, r.warmup, r.sideBySide})
	r.on = standing(data)
	if r.warmup != nil { // those that share a deployment compare its warm-ups
		if shared := b.warmups[r.on]; shared != nil {
			r.warmup = shared
		}
		b.warmups[r.on] = r.warmup
	}
	return r, err
}

// stand is a batch of points, by what they have in common.
type stand struct {
	block int
	on    standing
}

// addDeployments adds one service for every batch of points, and its warm-up.
func (b *builder) addDeployments(s specs.Stage) error {
	labels, err := b.deploymentLabels()
	if err != nil {
		return err
	}
	if b.order, err = b.batches(); err != nil {
		return err
	}
	for _, batch := range b.order {
		p := &b.points[batch.points[0]]
		r, err := b.resolve(*p)
		if err != nil {
			return err
		}
		label := labels[r.on]
		id := label
		if batch.block > 0 {
			id += blockSuffix + strconv.Itoa(batch.block)
		}
		service, err := b.addDeploy(s, label, id, r, p.Config)
		if err != nil {
			return err
		}
		b.made[s.Name] = append(b.made[s.Name], made{id: service, mode: p.Mode})
		on := stand{batch.block, batch.on}
		b.stands[on] = service
		if r.warmup != nil {
			if b.stands[on], err = b.addWarmup(id, service, p.Mode, *r.warmup); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockSuffix ends the names of deployments of one block, before its number.
const blockSuffix = " repeat="

// findAccelerators looks for GPUs if a point can need any.
func (b *builder) findAccelerators() (err error) {
	for _, p := range b.firsts {
		for i := range p.Config.Modes {
			if m := &p.Config.Modes[i]; m.Name == p.Mode && m.GPUs() > 0 && !p.Config.GPUs.None && !b.site.Elsewhere {
				if b.gpus, err = findAccelerators(b.exp.GPUs); err == nil {
					b.graph.Units = b.gpus.units()
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

// deploymentLabels names deployments after their mode, and after the other
// axes too if those give the mode several.
func (b *builder) deploymentLabels() (map[standing]string, error) {
	labels := make(map[standing]string)
	named := make(map[string]bool)
	for _, p := range b.firsts {
		r, err := b.resolve(*p)
		if err != nil {
			return nil, err
		}
		if _, ok := labels[r.on]; ok {
			continue
		}
		label := "mode=" + p.Mode
		if named[p.Mode] {
			label = axesLabel(seriesAxes(sampleAxes(p.Axes), nil))
		}
		named[p.Mode], labels[r.on] = true, label
	}
	return labels, nil
}
