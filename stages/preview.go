package stages

import (
	"context"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
	"vbp/stages/deploy/local"
	"vbp/stages/runs"
)

// Start is a deployment that a plan would bring up.
type Start struct {
	Node       string           // of the graph
	Deployment string           // that it brings up; the blocks of a sweep bring up the same again
	Endpoint   string           // a server that already runs; nothing is started
	Processes  []deploy.Process // in the order in which they start
	Trouble    string           // what speaks against Endpoint now; "" if it answers
	Again      bool             // an earlier Start is of the same deployment
}

// Starts lists the deployments that p brings up, with every process as it
// would be started now: free ports are taken from the same places, and GPUs in
// the same order, so that what differs is only what others took meanwhile.
// Servers that run already are asked whether they are what the plan needs.
func Starts(ctx context.Context, p *pipeline.Plan, exp *specs.Experiment, site *Site) ([]Start, error) {
	var starts []Start
	ids := p.Graph.Units[gpuResource]
	before := make(map[string]bool)
	next := 0 // of ids, among deployments that are up at the same time
	for _, d := range p.Decisions {
		n := d.Node
		if n.Kind != pipeline.Service || d.Action == pipeline.Leave {
			continue
		}
		var in deployInput
		if err := n.Input.Decode(&in); err != nil {
			return nil, err
		}
		name := deploymentName(n.ID)
		s := Start{Node: n.ID, Deployment: name, Endpoint: in.Deployment.Endpoint, Again: before[name]}
		before[name] = true
		if s.Endpoint != "" {
			if _, err := askEndpoint(ctx, in.Deployment, exp.Reveal); err != nil {
				s.Trouble = exp.Redact(firstLine(err.Error()))
			}
		} else {
			need := n.Uses[gpuResource]
			if n.Uses[hostResource] == hostUnits || next+need > len(ids) {
				next = 0 // it waits until the others have given theirs back
			}
			var err error
			s.Processes, err = local.Preview(in.Deployment, site.Self, ids[next:next+need], portSeed(site, runs.FileName(name)))
			next += need
			if err != nil {
				return nil, err
			}
		}
		starts = append(starts, s)
	}
	return starts, nil
}
