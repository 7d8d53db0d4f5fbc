package stages

import (
	"slices"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/load/seed"
)

// asWritten is the value of sweep.order that leaves nothing to chance.
const asWritten = "as_written"

// batch is the points that one deployment serves, one after the other, in the
// order in which they are measured.
type batch struct {
	block  int // which repeat it is; 0 if one deployment serves all repeats
	on     standing
	points []int // indices into the sweep
}

// BuildToDraw is Build as if the experiment said sweep.order: as_written: a
// picture of the work is not about the order in which chance puts it.
func BuildToDraw(exp *specs.Experiment, site *Site) (*pipeline.Graph, error) {
	drawn := *exp
	drawn.Sweep.Order = asWritten
	return Build(&drawn, site)
}

// blocks is how many blocks b.order has.
func (b *builder) blocks() int {
	n := 0
	for _, batch := range b.order {
		n = max(n, batch.block+1)
	}
	return n
}

// batches puts the points of a sweep in the order in which they are measured.
//
// As written, each deployment serves all its points, in the order of the
// sweep. In randomised complete blocks (Fisher, The Design of Experiments,
// 1935), which is the default, a block is one repeat: each deployment once, in
// random order, with its rates shuffled. What drifts with time (a machine that
// warms up, neighbours that come and go) then falls on all modes and rates
// alike, and repeats are repeats of the deployment too.
func (b *builder) batches() ([]batch, error) {
	blocks := b.exp.Sweep.Order != asWritten
	type place struct {
		block int
		on    standing
	}
	at := make(map[place]int)
	var out []batch
	for i := range b.points {
		p := &b.points[i]
		r, err := b.resolve(*p)
		if err != nil {
			return nil, err
		}
		where := place{on: r.on}
		if blocks {
			where.block = p.Repeat
		}
		k, ok := at[where]
		if !ok {
			k = len(out)
			at[where] = k
			out = append(out, batch{block: where.block, on: where.on})
		}
		out[k].points = append(out[k].points, i)
	}
	if !blocks {
		return out, nil
	}
	slices.SortStableFunc(out, func(x, y batch) int { return x.block - y.block })
	for first := 0; first < len(out); {
		last := first
		for last < len(out) && out[last].block == out[first].block {
			last++
		}
		r := seed.Rand("order", b.exp.Workload.Seed, out[first].block)
		block := out[first:last]
		r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		for _, one := range block {
			r.Shuffle(len(one.points), func(i, j int) { one.points[i], one.points[j] = one.points[j], one.points[i] })
		}
		first = last
	}
	return out, nil
}
