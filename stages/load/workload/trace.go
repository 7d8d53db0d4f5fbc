package workload

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// trace is the rows of a file, a column a slice, in the order of time. A week
// of Azure's has tens of millions.
type trace struct {
	times  []time.Duration // first as the file tells them, in the end from 0
	in     []int32         // tokens of the prompt
	out    []int32         // tokens of the answer
	blocks [][]int64       // mooncake: the hash ids of the prompt's blocks; nil for others

	left    int  // rows that were left out, since they had no tokens to ask for
	ordered bool // so far no row was earlier than the one before
}

// openTrace reads a trace. Prompts are made up, of the lengths that it tells.
// The file is the user's own, so a row that is wrong is an error; one without
// a prompt or an answer, which is how BurstGPT records failed requests, is
// left out and counted.
func openTrace(d Dataset) (*Source, error) {
	f, err := openFile(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, hash), 1<<18)
	if begin, _ := in.Peek(len(byteOrderMark)); string(begin) == byteOrderMark {
		in.Discard(len(byteOrderMark))
	}
	format, err := traceFormat(in)
	if err == nil && d.Format != "" && d.Format != format {
		err = fmt.Errorf("its first line is that of format %s, not %s; set that, or leave the format out", format, d.Format)
	}
	t := &trace{ordered: true}
	if err == nil {
		err = formats[format](in, t)
	}
	if err != nil {
		return nil, fmt.Errorf("dataset %s: %w", d.Path, err)
	}
	if len(t.times) == 0 {
		return nil, fmt.Errorf("dataset %s: it has no rows to send (%d without a prompt or an answer); use another file", d.Path, t.left)
	}
	s := &Source{
		digest: digest(Trace, 1, format, firstID, idSpan, blockTokens, hex.EncodeToString(hash.Sum(nil))),
		ids:    true,
	}
	if t.left > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%s: %d of %d rows are left out: they have no tokens in the prompt or the answer, as failed requests have not", d.Path, t.left, t.left+len(t.times)))
	}
	if !t.ordered {
		t.sort()
		s.notes = append(s.notes, d.Path+": its rows are not in the order of time; they are sent in that order all the same")
	}
	first := t.times[0]
	for i := range t.times {
		t.times[i] -= first
	}
	s.times = t.times
	s.draw = func(_ context.Context, n int, seed int64, repeat int, _ Counter) (*Set, error) {
		set := &Set{Counting: exact, made: &tracePrompts{
			trace: t, n: n, streams: newStreams("prompts", seed, repeat), shared: newStreams("blocks", seed, repeat),
		}}
		if rows := len(t.times); n > rows {
			set.Notes = []string{fmt.Sprintf("%s has %d rows for %d requests: after the last one it begins again, with prompts of the same lengths and other tokens; use a longer trace or fewer requests", d.Path, rows, n)}
		}
		return set, nil
	}
	return s, nil
}

// add appends a row. What is wrong with it is the error; the caller knows
// where it is.
func (t *trace) add(at time.Duration, in, out float64, blocks []int64) error {
	for _, x := range []struct {
		of string
		n  float64
	}{{"prompt", in}, {"answer", out}} {
		if x.n < 0 || x.n > maxLength || x.n != math.Trunc(x.n) {
			return fmt.Errorf("the %s has %v tokens; it must be a whole number up to %d", x.of, x.n, maxLength)
		}
	}
	if in == 0 || out == 0 {
		t.left++
		return nil
	}
	if n := len(t.times); n > 0 && at < t.times[n-1] {
		t.ordered = false
	}
	t.times, t.in, t.out = append(t.times, at), append(t.in, int32(in)), append(t.out, int32(out))
	if blocks != nil {
		t.blocks = append(t.blocks, blocks)
	}
	return nil
}

// sort puts the rows in the order of time; those of one time stay in theirs.
func (t *trace) sort() {
	order := make([]int32, len(t.times))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(t.times[a], t.times[b]), cmp.Compare(a, b))
	})
	t.times, t.in, t.out = permuted(t.times, order), permuted(t.in, order), permuted(t.out, order)
	if t.blocks != nil {
		t.blocks = permuted(t.blocks, order)
	}
}

func permuted[T any](column []T, order []int32) []T {
	out := make([]T, len(order))
	for i, from := range order {
		out[i] = column[from]
	}
	return out
}

// tracePrompts are prompts of a trace's lengths.
type tracePrompts struct {
	*trace
	n       int
	streams streams // what is a prompt's own
	shared  streams // what blocks of equal hash ids have in common
}

func (p *tracePrompts) Len() int            { return p.n }
func (p *tracePrompts) TokenIDs() bool      { return true }
func (p *tracePrompts) MaxTokens(i int) int { return int(p.out[i%len(p.out)]) }

func (p *tracePrompts) Prompt(i int) Prompt {
	row, round := i%len(p.in), i/len(p.in)
	ids := make([]int32, p.in[row])
	own := ids
	if p.blocks != nil {
		for _, id := range p.blocks[row] {
			block := own[:min(blockTokens, len(own))]
			// A second round shares nothing with the first, as if other
			// people asked.
			r := p.shared.of(mix(uint64(id)) + uint64(round))
			r.fill(block)
			own = own[len(block):]
		}
	}
	r := p.streams.of(uint64(i))
	r.fill(own)
	if len(own) == len(ids) {
		p.streams.head(own, i)
	}
	return Prompt{IDs: ids, MaxTokens: int(p.out[row]), PromptTokens: len(ids)}
}
