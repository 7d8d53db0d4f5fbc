// Package workload turns a dataset into the prompts of a point.
//
// Steps: Open reads the dataset's file once, checks it, finds where its
// prompts are and hashes what it read; Draw picks prompts from it by seed and
// repeat alone, so that every mode and every rate gets the same ones; the Set
// makes each when it is asked for (prompts.go). One file a kind: sharegpt.go
// (with window.go and conversation.go, which read its file, and mersenne.go,
// which shuffles as Python does), jsonl.go, random.go, trace.go (with
// traceformat.go, which reads its files); ids.go makes the token ids of both of
// the latter.
//
// Neighbours: load sends the prompts, arrivals uses the times of a trace, and
// count, below, is the Counter (counter.go) that asks a server how long texts
// are. Nothing here knows a server or a clock.
package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Kinds of datasets.
const (
	ShareGPT = "sharegpt" // a JSON array of conversations
	JSONL    = "jsonl"    // one JSON object with a prompt a line
	Random   = "random"   // token ids made up from the seed; needs no file
	Trace    = "trace"    // arrival times and lengths of real traffic; token ids made up from the seed
)

// How the lengths of sharegpt's texts are counted, which decides what its
// filters keep and how long the answers are that are asked for.
const (
	Auto      = "auto"     // by the counter that Draw is given, or estimated without one
	Counted   = "server"   // by that counter; without one Draw is an error
	Estimated = "estimate" // estimated as bytes/4; no counter is asked
)

// Dataset names the prompts. A field that Kind has no use for is not looked
// at.
type Dataset struct {
	Kind         string  // sharegpt, jsonl, random, trace
	Name         string  // shown to people; not part of the Digest
	Path         string  // sharegpt, jsonl, trace: the file
	InputTokens  int     // random: mean prompt length, the shared prefix not counted
	OutputTokens int     // random: mean answer length; jsonl: where a line has none (0: every line must have it)
	RangeRatio   float64 // random: lengths are uniform in [floor(L(1-r)), ceil(L(1+r))]; 0 <= r < 1
	PrefixTokens int     // random: token ids that all prompts of a point begin with, before their own
	Lengths      string  // sharegpt: auto, server, estimate; empty is auto
	Format       string  // trace: azure, burstgpt, mooncake; empty: found out from the file's first line
}

// Source is an opened dataset. It is not changed by use, and safe to share.
type Source struct {
	digest string
	notes  []string
	ids    bool
	times  []time.Duration
	draw   drawer
}

// drawer picks n prompts. The notes of its Set are about the drawing alone.
type drawer func(ctx context.Context, n int, seed int64, repeat int, c Counter) (*Set, error)

// Open reads the dataset. Its errors name the file and, where one is to
// blame, the byte or the line. A sharegpt file stays open as long as the
// Source is in use, since its texts are read when they are drawn.
func Open(d Dataset) (*Source, error) {
	switch d.Kind {
	case ShareGPT:
		return openShareGPT(d)
	case JSONL:
		return openJSONL(d)
	case Random:
		return openRandom(d)
	case Trace:
		return openTrace(d)
	}
	return nil, fmt.Errorf("workload: unknown kind of dataset %q; it must be %s, %s, %s or %s", d.Kind, ShareGPT, JSONL, Random, Trace)
}

// Digest identifies everything that Draw's answer depends on but its
// arguments: content, kind, filters, and how tokens are to be counted (as
// declared; what a counter answers is not known here). Where the file lies and
// what it is called do not matter.
func (s *Source) Digest() string { return s.digest }

// TokenIDs tells whether its prompts are token ids, which only a completions
// API takes.
func (s *Source) TokenIDs() bool { return s.ids }

// Times are the arrival times of a trace, from 0 and never decreasing, one for
// each of the first prompts that are drawn from it; nil for other kinds. They
// are the Source's own and must not be changed.
func (s *Source) Times() []time.Duration { return s.times }

// Draw returns the n prompts that belong to (seed, repeat), always the same
// ones in the same order while c counts the same. Texts of a file are in an
// order shuffled by the seed; when the file has fewer than n, the rest is
// sampled from it with replacement, with a note. Rows of a trace stay in the
// order of time, and begin again when there are fewer than n.
//
// c counts the lengths of sharegpt's texts, no more of them than n prompts
// need; nil estimates them. An error of c is Draw's.
func (s *Source) Draw(ctx context.Context, n int, seed int64, repeat int, c Counter) (*Set, error) {
	if n < 0 {
		return nil, fmt.Errorf("workload: %d prompts asked for; the number must not be negative", n)
	}
	set, err := s.draw(ctx, n, seed, repeat, c)
	if err != nil {
		return nil, err
	}
	set.Notes = slices.Concat(s.notes, set.Notes)
	return set, nil
}

// tooFew is the note on texts of a file that had to be repeated.
func tooFew(path string, has, n int) string {
	return fmt.Sprintf("%s has %d usable prompts for %d requests: the other %d are sampled from them with replacement, and repeated prompts hit the server's prefix cache, which makes it look faster than it is; use a larger dataset or fewer requests",
		path, has, n, n-has)
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

// byteOrderMark begins the files of some Windows tools; neither JSON nor CSV
// knows it.
const byteOrderMark = "\xef\xbb\xbf"

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
