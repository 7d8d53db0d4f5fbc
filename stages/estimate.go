package stages

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/specs"
	"vbp/stages/runs"
)

// Estimate is about how long a plan takes, in each order of measuring. What
// can be computed afterwards is left out; deployments are taken to run one
// after the other.
type Estimate struct {
	Order     string        // of the spec
	Blocks    time.Duration // each repeat deploys anew
	AsWritten time.Duration // one deployment serves all repeats

	Points, Known   int // to be measured; of them, those that were measured before, if otherwise
	Starts, Guessed int // deployments in the spec's order; of them, those that this results folder knows nothing of
}

// Starts whose time nobody knows: about what vLLM takes for a small model, and
// what a simulated engine or a server that already runs takes.
const (
	guessedStart = 90 * time.Second
	quickStart   = 2 * time.Second
)

// EstimateOf estimates how long plan p of exp takes: a point as long as when it
// was last measured, else as its schedule; a deployment as it took to start
// and warm up in the newest runs.
func EstimateOf(p *pipeline.Plan, exp *specs.Experiment, site *Site) (Estimate, error) {
	e := Estimate{Order: exp.Sweep.Order}
	took := p.Took()
	starts := startTimes(filepath.Join(site.Results, runs.FileName(exp.Name)))
	type block struct{ deployment, repeat string }
	once, each := make(map[string]bool), make(map[block]bool)
	for _, d := range p.Decisions {
		n := d.Node
		if n.Kind != pipeline.Measurement || d.Action != pipeline.Run {
			continue
		}
		e.Points++
		load, known := took(n)
		if known && load >= n.Expect { // else it was another schedule, and is shorter than this one
			e.Known++
		} else {
			load = n.Expect
		}
		e.Blocks, e.AsWritten = e.Blocks+load, e.AsWritten+load
		service := p.Graph.ServiceOf(n)
		if service == nil {
			continue
		}
		b := block{deployment: deploymentName(service.ID)}
		if i := strings.LastIndex(n.ID, blockSuffix); i >= 0 {
			b.repeat = n.ID[i:]
		}
		if each[b] {
			continue
		}
		each[b] = true
		start, known := starts[b.deployment]
		if !known {
			var in deployInput
			if err := service.Input.Decode(&in); err != nil {
				return e, err
			}
			if start = guessedStart; in.Deployment.Engine == "simulated" || in.Deployment.Endpoint != "" {
				start = quickStart
			}
		}
		e.Blocks += start
		if !once[b.deployment] {
			once[b.deployment] = true
			e.AsWritten += start
		} else if e.Order == asWritten {
			continue
		}
		e.Starts++
		if !known {
			e.Guessed++
		}
	}
	return e, nil
}

// deploymentName is what the nodes of a deployment are called in all blocks.
func deploymentName(id string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(id, deployPrefix), blockSuffix)
	return name
}

// startTimes is how long the deployments of an experiment took to start and
// warm up in its newest runs.
func startTimes(base string) map[string]time.Duration {
	const most = 3 // runs that are looked at
	out := make(map[string]time.Duration)
	dirs := runs.Of(base)
	slices.Reverse(dirs)
	for _, dir := range dirs[:min(most, len(dirs))] {
		records, _, err := history.Read(filepath.Join(dir, history.FileName))
		if err != nil {
			continue // an estimate must not stop a plan
		}
		run := make(map[string]time.Duration)
		for _, r := range records {
			d := time.Duration(r.Seconds * float64(time.Second))
			if r.Kind == history.ServiceStarted && d > 0 {
				run[deploymentName(r.Node)] += d
			} else if r.Kind == history.NodeDone && strings.HasPrefix(r.Node, warmupPrefix) {
				run[deploymentName(strings.TrimPrefix(r.Node, warmupPrefix))] += d
			}
		}
		// Of several blocks the sum of all: divide by how often each started.
		for name, d := range run {
			if n := starts(records, name); n > 0 && out[name] == 0 {
				out[name] = d / time.Duration(n)
			}
		}
	}
	return out
}

func starts(records []history.Record, name string) int {
	n := 0
	for _, r := range records {
		if r.Kind == history.ServiceStarted && deploymentName(r.Node) == name {
			n++
		}
	}
	return n
}
