// Package workload turns a dataset into the prompts of a point.
//
// Steps: Open reads the dataset's file once, keeps what passes the filters and
// hashes what it read; Draw picks prompts from it by seed and repeat alone, so
// that every mode and every rate gets the same ones. One file a kind:
// sharegpt.go, jsonl.go, random.go. The neighbour above is load, which sends
// the prompts; nothing here knows a server or a clock.
package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"vbp/stages/load/seed"
)

// Kinds of datasets.
const (
	ShareGPT = "sharegpt" // a JSON array of conversations
	JSONL    = "jsonl"    // one JSON object with a prompt a line
	Random   = "random"   // token ids made up from the seed; needs no file
)

// Counting names how prompt and answer lengths of text are counted: bytes of
// UTF-8 divided by four, rounded up. It is an estimate that needs no
// tokenizer, and part of every Digest.
const Counting = "bytes/4"

// Dataset names the prompts. A field that Kind has no use for is not looked
// at.
type Dataset struct {
	Kind         string  // sharegpt, jsonl, random
	Name         string  // shown to people; not part of the Digest
	Path         string  // sharegpt, jsonl: the file
	InputTokens  int     // random: mean prompt length
	OutputTokens int     // random: mean answer length; jsonl: where a line has none (0: every line must have it)
	RangeRatio   float64 // random: lengths are uniform in [floor(L(1-r)), ceil(L(1+r))]; 0 <= r < 1
}

// Prompt is what one request asks.
type Prompt struct {
	Text         string
	IDs          []int32 // token ids; set instead of Text by random
	MaxTokens    int     // length of the answer that is asked for
	PromptTokens int     // length of the prompt: counted for ids, estimated for text (see Counting)
}

// Source is an opened dataset. It is not changed by use, and safe to share.
type Source struct {
	digest   string
	warnings []string
	draw     func(n int, r *rand.Rand) ([]Prompt, []string)
}

// counter counts the tokens of a text.
type counter func(string) int

// bytesOver4 is the counter that Counting names.
func bytesOver4(s string) int { return (len(s) + 3) / 4 }

// Open reads the dataset. Its errors name the file and, where one is to
// blame, the byte or the line.
func Open(d Dataset) (*Source, error) { return open(d, bytesOver4) }

func open(d Dataset, count counter) (*Source, error) {
	switch d.Kind {
	case ShareGPT:
		return openShareGPT(d, count)
	case JSONL:
		return openJSONL(d, count)
	case Random:
		return openRandom(d)
	}
	return nil, fmt.Errorf("workload: unknown kind of dataset %q; it must be %s, %s or %s", d.Kind, ShareGPT, JSONL, Random)
}

// Digest identifies everything that Draw's answer depends on but its
// arguments: content, kind, filters, and how tokens are counted. Where the
// file lies and what it is called do not matter.
func (s *Source) Digest() string { return s.digest }

// Draw returns the n prompts that belong to (seed, repeat), always the same
// ones in the same order, and warnings worth showing. Prompts of a file are in
// an order shuffled by the seed; when the file has fewer than n, the rest is
// sampled from it with replacement, with a warning.
func (s *Source) Draw(n int, seed0 int64, repeat int) ([]Prompt, []string, error) {
	if n < 0 {
		return nil, nil, fmt.Errorf("workload: %d prompts asked for; the number must not be negative", n)
	}
	prompts, more := s.draw(n, seed.Rand("prompts", seed0, repeat))
	return prompts, append(append([]string(nil), s.warnings...), more...), nil
}

// pool draws from prompts that were read from a file.
func pool(path string, all []Prompt) func(int, *rand.Rand) ([]Prompt, []string) {
	return func(n int, r *rand.Rand) ([]Prompt, []string) {
		out := make([]Prompt, 0, n)
		for _, i := range r.Perm(len(all))[:min(n, len(all))] {
			out = append(out, all[i])
		}
		if len(out) == n {
			return out, nil
		}
		for len(out) < n {
			out = append(out, all[r.IntN(len(all))])
		}
		return out, []string{fmt.Sprintf("%s has %d usable prompts for %d requests: the other %d are sampled from them with replacement, and repeated prompts hit the server's prefix cache, which makes it look faster than it is; use a larger dataset or fewer requests",
			path, len(all), n, n-len(all))}
	}
}

// digest hashes labelled components, order included.
func digest(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		s := fmt.Sprint(p)
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// openFile opens a dataset's file, with errors that say what to do.
func openFile(d Dataset) (*os.File, error) {
	if d.Path == "" {
		return nil, fmt.Errorf("workload: a dataset of kind %s needs the path of its file", d.Kind)
	}
	f, err := os.Open(d.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		where := d.Path
		if abs, err := filepath.Abs(d.Path); err == nil {
			where = abs
		}
		return nil, fmt.Errorf("dataset %s: there is no such file; put the %s file there, or name another path: %w", where, d.Kind, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("dataset: %w", err)
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return nil, fmt.Errorf("dataset %s: it is a folder; name the %s file in it", d.Path, d.Kind)
	}
	return f, nil
}
