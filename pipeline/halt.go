package pipeline

// halt lets nothing begin any more that measures, nor wait for its turn.
func (x *executor) halt(why string) {
	if x.halted == "" {
		x.halted = why
		x.stopWaiting()
	}
}

// haltAfter halts after a failure that is not to be gone on after.
func (x *executor) haltAfter(r Result) {
	if x.o.FailFast || inVain(r.Err) {
		x.halt("not begun, for " + r.why())
	}
}

// halts reports whether node i must not begin any more: it would measure, and
// the time for that is up, or something failed.
func (x *executor) halts(i int) bool {
	if x.g.Nodes[i].Kind == Pure {
		return false
	}
	if x.halted == "" && !x.o.Deadline.IsZero() && (x.timeUp.Load() || !x.o.Now().Before(x.o.Deadline)) {
		x.outOfBudget = true
		x.halt(OutOfBudget)
	}
	return x.halted != ""
}

// OutOfBudget is why a node is skipped that ExecuteOptions.Deadline did not
// leave time for.
const OutOfBudget = "not begun, for the budget is spent"
