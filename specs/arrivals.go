package specs

import "slices"

var (
	arrivalKinds = []string{"poisson", "constant", "gamma", "ramp", "trace"} // the default first
	rampKeys     = []string{"shape", "from", "over"}
	rampShapes   = []string{"linear", "exponential"} // the default first
)

// defaultFrom is where a ramp begins: low enough to be a ramp, high enough
// that a point of both shapes does not spend its time waiting for the first
// requests.
const defaultFrom = 0.1

func (r *reader) decodeRamp(n *node) Ramp {
	var m Ramp
	const where = "workload.ramp"
	for _, e := range r.mapping(n, where, rampKeys) {
		switch v := e.value; e.key {
		case "shape":
			m.Shape = r.choice(v, where+".shape", rampShapes...)
		case "from":
			m.From = r.shareFrom0(v, where+".from")
		case "over":
			m.Over = r.duration(v, where+".over", 0)
		}
	}
	return m
}

// defaultArrivals fills in what is not said of when requests are sent.
func defaultArrivals(w *Workload, n *node) {
	if !n.has("arrivals") {
		w.Arrivals = arrivalKinds[0]
	}
	if !n.has("burstiness") {
		w.Burstiness = 1
	}
	if w.Arrivals == "ramp" {
		if !n.has("ramp", "shape") {
			w.Ramp.Shape = rampShapes[0]
		}
		if !n.has("ramp", "from") {
			w.Ramp.From = defaultFrom
		}
	}
	// The rates of a sweep are seldom a trace's own, and at its own times it
	// has that one only.
	if !n.has("rescale") {
		w.Rescale = w.Arrivals == "trace"
	}
}

// validateArrivals checks what is said of the arrivals against their kind.
func (r *reader) validateArrivals(w *Workload, n, root *node) {
	if !slices.Contains(arrivalKinds, w.Arrivals) {
		return
	}
	for key, kind := range map[string]string{"burstiness": "gamma", "ramp": "ramp"} {
		if n.has(key) && w.Arrivals != kind {
			r.errorf(root.where("workload", key), "say arrivals: "+kind, "workload.%s does not go with arrivals: %s", key, w.Arrivals)
		}
	}
	switch w.Arrivals {
	case "trace":
		if w.Dataset.Kind != "trace" && slices.Contains(datasetKinds, w.Dataset.Kind) {
			r.errorf(root.where("workload", "arrivals"), "say dataset: {kind: trace, path: data/trace.csv}, which has them; or arrivals: poisson",
				"workload.arrivals: trace needs the times of a dataset of kind: trace, and it is %s", w.Dataset.Kind)
		}
	case "ramp":
		if w.Rescale {
			r.errorf(root.where("workload", "rescale"), "leave it away", "workload.rescale does not go with arrivals: ramp, whose rate is meant to change")
		}
		if w.Ramp.From == 0 && w.Ramp.Shape == "exponential" && n.has("ramp", "from") {
			r.errorf(root.where("workload", "ramp", "from"), "write 10%, or shape: linear", "an exponential ramp cannot begin at 0: no factor leads away from it")
		}
		if w.Duration > 0 && w.Ramp.Over > w.Duration {
			r.errorf(root.where("workload", "ramp", "over"), "leave it away for the whole point", "workload.ramp.over is longer than the point: %s > %s",
				durationText(w.Ramp.Over), durationText(w.Duration))
		}
	}
}
