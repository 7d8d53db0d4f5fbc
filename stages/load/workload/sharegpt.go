package workload

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"

	"vbp/stages/load/seed"
)

// The filters of vLLM's ShareGPT dataset, in tokens (vllm/benchmarks/datasets:
// is_valid_sequence). An entry is dropped when its prompt or its answer is
// shorter than minTokens, its prompt longer than maxPrompt, or both together
// longer than maxTotal; an entry of fewer than two turns has no answer and is
// dropped too.
const (
	minTokens = 4
	maxPrompt = 1024
	maxTotal  = 2048
)

// shareGPT is a file of conversations. The texts stay in it: of 200 MB a point
// needs some hundred prompts, and the file is held open until nobody needs it,
// so that one that is moved away meanwhile does no harm.
type shareGPT struct {
	path    string
	lengths string
	file    *os.File
	entries []entry // that have two turns, in the order of the file
	total   int     // entries of any kind
	broken  int     // of them, malformed
	first   string  // where the first malformed one is
}

// entry is where a conversation is, and what its bytes were.
type entry struct {
	at   int64
	size int
	sum  uint64
}

// sumSeed makes the sums of entries, which live as long as the process.
var sumSeed = maphash.MakeSeed()

// openShareGPT finds the conversations of the file. The prompt is turn 0; the
// length of turn 1 is how many tokens are asked for.
func openShareGPT(d Dataset) (*Source, error) {
	g := &shareGPT{path: d.Path, lengths: d.Lengths}
	switch g.lengths {
	case "":
		g.lengths = Auto
	case Auto, Counted, Estimated:
	default:
		return nil, fmt.Errorf("dataset %s: unknown way to count lengths %q; it must be %s, %s or %s", d.Path, d.Lengths, Auto, Counted, Estimated)
	}
	f, err := openFile(d)
	if err != nil {
		return nil, err
	}
	g.file = f
	sum, err := g.read()
	if err == nil && !g.promising() {
		err = g.none("")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &Source{
		digest: digest(ShareGPT, 2, g.lengths, Counting, minTokens, maxPrompt, maxTotal, sum),
		draw:   g.draw,
	}
	if g.broken > 0 {
		s.notes = []string{fmt.Sprintf("%s: %d of %d entries are malformed and left out, the first is %s: an entry is {\"conversations\": [{\"value\": \"...\"}, ...]}", d.Path, g.broken, g.total, g.first)}
	}
	return s, nil
}

// read fills in the entries and returns the SHA-256 of the file.
func (g *shareGPT) read() (string, error) {
	w := newWindow(g.file)
	if w.has(len(byteOrderMark)) && bytes.HasPrefix(w.rest(), []byte(byteOrderMark)) {
		w.pass(len(byteOrderMark))
	}
	switch c, ok := w.byte(); {
	case !ok && w.err != nil:
		return "", fmt.Errorf("dataset %s: %w", g.path, w.err)
	case !ok:
		return "", fmt.Errorf("dataset %s: the file is empty; fetch it again", g.path)
	case c != '[':
		return "", fmt.Errorf("dataset %s: a sharegpt file is one JSON array of conversations, and this one does not begin with [; for one JSON object a line with a prompt, use kind %s", g.path, JSONL)
	}
	w.pass(1)
	for after := w.offset(); ; after = w.offset() {
		c, ok := w.byte()
		switch {
		case ok && c == ']':
			// The rest is hashed too, so that the digest speaks of the
			// whole file.
			sum, err := w.sum()
			if err != nil {
				return "", fmt.Errorf("dataset %s: after its entries: %w", g.path, err)
			}
			return hex.EncodeToString(sum), nil
		case ok && g.total > 0 && c != ',':
			return "", g.notJSON(after, fmt.Errorf("%q where a comma or ] should be", c))
		case ok && g.total > 0:
			w.pass(1)
			_, ok = w.byte()
		}
		if !ok {
			return "", g.cut(w, after)
		}
		if err := g.entry(w, after); err != nil {
			return "", err
		}
	}
}

// entry reads the next one.
func (g *shareGPT) entry(w *window, after int64) error {
	for {
		c, n, err := parseConversation(w.rest())
		switch {
		case errors.Is(err, errShort):
			if w.more() {
				continue
			}
			return g.cut(w, after)
		case err != nil:
			return g.notJSON(after, err)
		case c.malformed():
			if g.broken++; g.broken == 1 {
				g.first = fmt.Sprintf("entry %d, after byte %d", g.total, after)
			}
		case c.turns >= 2:
			g.entries = append(g.entries, entry{w.offset(), n, maphash.Bytes(sumSeed, w.rest()[:n])})
		}
		g.total++
		w.pass(n)
		return nil
	}
}

func (g *shareGPT) notJSON(after int64, err error) error {
	return fmt.Errorf("dataset %s: entry %d, after byte %d: not JSON: %w; a sharegpt file is one JSON array of conversations", g.path, g.total, after, err)
}

// cut is the error where nothing more could be read.
func (g *shareGPT) cut(w *window, after int64) error {
	if w.err != nil {
		return fmt.Errorf("dataset %s: entry %d, after byte %d: %w", g.path, g.total, after, w.err)
	}
	return fmt.Errorf("dataset %s: the file ends at byte %d, before its closing ]: entry %d, which begins after byte %d, is not complete; the file was cut off, probably by a download that did not finish: fetch it again",
		g.path, w.offset()+int64(len(w.rest())), g.total, after)
}

// none is the error where nothing passes; when says by which count, if any.
func (g *shareGPT) none(when string) error {
	return fmt.Errorf("dataset %s: none of its %d entries is usable%s (%d malformed; the others have no two turns, fewer than %d tokens in one, more than %d in the prompt or %d in both); use another file",
		g.path, g.total, when, g.broken, minTokens, maxPrompt, maxTotal)
}

// promising tells, as far as it can be known before lengths are counted,
// whether an entry passes the filters, so that a plan can tell instead of a
// run that waited for its server.
func (g *shareGPT) promising() bool {
	if g.lengths != Estimated {
		return len(g.entries) > 0
	}
	var buf []byte
	for i := range g.entries {
		prompt, answer, err := g.texts(&g.entries[i], &buf)
		if err != nil || passes(bytesOver4(prompt), bytesOver4(answer)) {
			return true // Draw tells of the error
		}
	}
	return false
}

func passes(prompt, answer int) bool {
	return prompt >= minTokens && answer >= minTokens && prompt <= maxPrompt && prompt+answer <= maxTotal
}

// texts reads turns 0 and 1 of an entry; buf is room for it.
func (g *shareGPT) texts(e *entry, buf *[]byte) (prompt, answer string, err error) {
	if cap(*buf) < e.size {
		*buf = make([]byte, e.size)
	}
	b := (*buf)[:e.size]
	if _, err := g.file.ReadAt(b, e.at); err != nil && !errors.Is(err, io.EOF) {
		return "", "", fmt.Errorf("dataset %s: at byte %d: %w", g.path, e.at, err)
	}
	if maphash.Bytes(sumSeed, b) != e.sum {
		return "", "", fmt.Errorf("dataset %s: the file was changed after it had been read: at byte %d is another entry now; run again, which reads it anew", g.path, e.at)
	}
	c, _, err := parseConversation(b)
	if err != nil {
		return "", "", fmt.Errorf("dataset %s: at byte %d: %w", g.path, e.at, err)
	}
	return unquote(b[c.prompt.from:c.prompt.to]), unquote(b[c.answer.from:c.answer.to]), nil
}

// draw is vLLM's order: all conversations of two turns are shuffled by
// Python's generator, and taken in that order until n passed the filters, so
// that only these need be counted. If the file has fewer, the generator starts
// anew and picks among those that passed. Repeat 0 uses the seed as it is, as
// vLLM does; others one that is derived from both.
func (g *shareGPT) draw(ctx context.Context, n int, seed0 int64, repeat int, c Counter) (*Set, error) {
	if _, estimated := c.(Estimate); g.lengths == Counted && (c == nil || estimated) {
		return nil, fmt.Errorf("dataset %s: its lengths are to be counted by the server (lengths: %s), and it has no way to; use lengths: %s or %s", g.path, Counted, Auto, Estimated)
	}
	if c == nil || g.lengths == Estimated {
		c = Estimate{}
	}
	number := uint64(max(seed0, -seed0)) // Python takes absolute values too
	if repeat != 0 {
		number = seed.Rand("prompts", seed0, repeat).Uint64()
	}
	order := newMersenne(number).shuffled(len(g.entries))
	var kept List
	for len(kept) < n && len(order) > 0 {
		// Some entries do not pass, so a few more than are missing.
		missing := n - len(kept)
		batch := order[:min(len(order), max(64, min(missing+missing/4, 2048)))]
		order = order[len(batch):]
		var err error
		if kept, err = g.take(ctx, kept, batch, c); err != nil {
			return nil, err
		}
	}
	kept = kept[:min(len(kept), n)]
	if len(kept) == 0 && n > 0 {
		return nil, g.none(" with lengths from " + c.Method())
	}
	set := &Set{Counting: c.Method()}
	if len(kept) < n {
		set.Notes = []string{tooFew(g.path, len(kept), n)}
	}
	set.made = picked{kept, oversampled(len(kept), n, number)}
	return set, nil
}

// oversampled are the numbers of the prompts of n requests out of has: each
// once, then those that vLLM's maybe_oversample_requests chooses.
func oversampled(has, n int, number uint64) []int32 {
	order := make([]int32, n)
	r := newMersenne(number)
	for i := range order {
		if order[i] = int32(i); i >= has {
			order[i] = int32(r.below(uint32(has)))
		}
	}
	return order
}

// take appends those of a batch of entries that pass the filters.
func (g *shareGPT) take(ctx context.Context, kept List, batch []int32, c Counter) (List, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	texts := make([]string, 0, 2*len(batch)) // prompt, answer, prompt, ...
	var buf []byte
	for _, i := range batch {
		prompt, answer, err := g.texts(&g.entries[i], &buf)
		if err != nil {
			return nil, err
		}
		texts = append(texts, prompt, answer)
	}
	counts, err := c.Count(ctx, texts)
	if err != nil {
		return nil, fmt.Errorf("dataset %s: counting the tokens of its texts: %w", g.path, err)
	}
	if len(counts) != len(texts) {
		return nil, fmt.Errorf("dataset %s: of %d texts %d were counted", g.path, len(texts), len(counts))
	}
	for i := 0; i < len(texts); i += 2 {
		if passes(counts[i], counts[i+1]) {
			kept = append(kept, Prompt{Text: texts[i], MaxTokens: counts[i+1], PromptTokens: counts[i]})
		}
	}
	return kept, nil
}
