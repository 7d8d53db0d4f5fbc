package pipeline

import (
	"strings"

	"vbp/pipeline/cache"
)

// State is how a node ended.
type State string

// States of a node after an execution.
const (
	StateDone    State = "done"    // ran and has a result
	StateReused  State = "reused"  // has a result from before
	StateFailed  State = "failed"  // ran and has none
	StateSkipped State = "skipped" // something it needs has no result, or nothing more was to begin
	StateStopped State = "stopped" // the execution was interrupted before it ran to its end
	StateLeft    State = "left"    // left out by wish: PlanOptions.Only
	StateUnused  State = "unused"  // a service or effect that nothing needed
)

// Result is what became of one node.
type Result struct {
	Node     *Node
	State    State
	Why      string          // it ran or was reused, as the plan says or as turned out since
	Artefact *cache.Artefact // with StateDone and StateReused of nodes that leave one
	Err      error           // with StateFailed, and why with StateSkipped
	Verdict  Verdict         // of a measurement with an artefact
	Attempts Attempts        // likewise: what stands behind it
	NotMade  bool            // it shows an earlier result, was to be made again by wish, and was not
}

// Report is what became of every node, in the graph's order.
type Report struct {
	Results     []Result
	Fingerprint string // of the results; equals Plan.Fingerprint when everything is reused
	Interrupted bool   // ctx ended before everything was done
	OutOfBudget bool   // ExecuteOptions.Deadline came before everything was begun
}

// Result returns what became of the node called id.
func (r *Report) Result(id string) Result {
	for _, res := range r.Results {
		if res.Node.ID == id {
			return res
		}
	}
	return Result{}
}

// OutOfBudget reports whether the node was not begun, nor what it needs,
// because there was no time left.
func (r Result) OutOfBudget() bool {
	return r.State == StateSkipped && r.Err != nil && r.Err.Error() == OutOfBudget
}

// ok reports whether what needs the node can go on.
func (r Result) ok() bool {
	return r.State == StateDone || r.State == StateReused || r.State == StateUnused
}

// why says in one line why the node has no result. The failure at the root
// stays named along a chain of nodes that it reaches.
func (r Result) why() string {
	switch {
	case r.Err == nil:
		return r.Node.ID + " was interrupted"
	case r.State == StateFailed:
		return r.Node.ID + " failed: " + firstLine(r.Err)
	}
	return r.Err.Error()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// verdict judges what a measurement left; the zero Verdict for other nodes.
func verdict(n *Node, a *cache.Artefact) Verdict {
	if n.Kind != Measurement {
		return Verdict{}
	}
	rec, err := RecordOf(a)
	switch {
	case err != nil:
		return Verdict{Reason: err.Error()}
	case n.Judge == nil:
		return Verdict{Usable: true}
	}
	return n.Judge(rec)
}
