package stages

import (
	"sync"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/load"
	"vbp/stages/load/workload"
)

// outlineOf works out, when it is asked for, the graph of a run's spec in
// outline: what its nodes are called, how they hang together, what they stand
// on and where their results are put, but not what they are made from. The
// files that the spec names are not read: they may be gone, or take long. Nil:
// the spec cannot be read by this vbp.
func outlineOf(r *ran) func() *pipeline.Graph {
	return sync.OnceValue(func() *pipeline.Graph {
		if r.exp == nil || r.imported != nil {
			return nil
		}
		g, err := outline(r.exp)
		if err != nil {
			return nil
		}
		return g
	})
}

// outline is the graph of an experiment without its files.
func outline(exp *specs.Experiment) (*pipeline.Graph, error) {
	var set []string
	if exp.Workload.Dataset.Kind != workload.Random {
		set = append(set, "workload.dataset={kind: "+workload.Random+"}")
		if exp.Workload.API == load.Chat { // which takes texts only
			set = append(set, "workload.api="+load.Completions)
		}
	}
	for _, s := range exp.Stages {
		if s.Command != nil && len(s.Command.Inputs) > 0 {
			set = append(set, "stages."+s.Name+".inputs=[]")
		}
	}
	bare, err := specs.Parse(exp.File, exp.Resolved, specs.Options{Set: set, SkipFiles: true})
	if err != nil {
		return nil, err
	}
	return Build(bare, &Site{Elsewhere: true})
}
