package workload

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTraces(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for _, c := range []struct {
		file, format string
		times        []time.Duration
		in, out      []int
		notes        []string
	}{
		// The clocks of Europe are put back in this hour; a row without an
		// answer is left out.
		{"azure2023.csv", Azure, []time.Duration{0, 200*ms + 100, 3600 * s, 7200*s + 100*ms}, []int{40, 7, 1, 2000}, []int{3, 250, 12, 1}, []string{"1 of 5 rows are left out"}},
		{"azure2024.csv", Azure, []time.Duration{0, 7405 * time.Microsecond, 990070 * time.Microsecond}, []int{2162, 2399, 30}, []int{5, 6, 7}, nil},
		{"burstgpt.csv", BurstGPT, []time.Duration{0, 40 * s, 113 * s}, []int{472, 1087, 417}, []int{18, 230, 276}, []string{"1 of 4 rows are left out"}},
		{"burstgpt-sessions.csv", BurstGPT, []time.Duration{0, 45750 * ms, 51250 * ms}, []int{906, 8, 36}, []int{446, 4, 29}, []string{"1 of 4 rows are left out", "not in the order of time"}},
		{"mooncake.jsonl", Mooncake, []time.Duration{0, 3 * s, 3*s + 500*time.Microsecond, 9 * s}, []int{1100, 1024, 1400, 20}, []int{5, 6, 7, 8}, nil},
	} {
		for _, format := range []string{"", c.format} {
			src := mustOpen(t, Dataset{Kind: Trace, Path: "testdata/" + c.file, Format: format})
			if got := src.Times(); !slices.Equal(got, c.times) {
				t.Errorf("%s: times %v, want %v", c.file, got, c.times)
			}
			set := mustDraw(t, src, len(c.times), 0, 0)
			var in, out []int
			for _, p := range list(set) {
				in, out = append(in, len(p.IDs)), append(out, p.MaxTokens)
			}
			if !slices.Equal(in, c.in) || !slices.Equal(out, c.out) {
				t.Errorf("%s: prompts of %v and answers of %v tokens, want %v and %v", c.file, in, out, c.in, c.out)
			}
			if len(set.Notes) != len(c.notes) {
				t.Errorf("%s: notes %q, want %q", c.file, set.Notes, c.notes)
				continue
			}
			for i, note := range c.notes {
				if !strings.Contains(set.Notes[i], note) {
					t.Errorf("%s: note %q, want %q", c.file, set.Notes[i], note)
				}
			}
		}
	}
	if mustOpen(t, Dataset{Kind: Random, InputTokens: 1, OutputTokens: 1}).Times() != nil {
		t.Error("a random dataset has times")
	}
}

// common is how many tokens two prompts begin with that are equal.
func common(a, b Prompt) int {
	n := 0
	for n < min(len(a.IDs), len(b.IDs)) && a.IDs[n] == b.IDs[n] {
		n++
	}
	return n
}

func TestMooncakeHashIDsAreSharedPrefixes(t *testing.T) {
	src := mustOpen(t, Dataset{Kind: Trace, Path: "testdata/mooncake.jsonl"})
	p := list(mustDraw(t, src, 8, 1, 0))
	// Blocks [0 1 2] of 1100 tokens, [0 3] of 1024, [0 1 4] of 1400, none.
	for _, c := range []struct{ a, b, want int }{{0, 1, 512}, {0, 2, 1024}, {1, 2, 512}, {0, 3, 0}} {
		if got := common(p[c.a], p[c.b]); got != c.want {
			t.Errorf("prompts %d and %d share %d tokens, want %d", c.a, c.b, got, c.want)
		}
	}
	// The second round, of the same rows, shares within itself only.
	if got := common(p[4], p[6]); got != 1024 {
		t.Errorf("rows 0 and 2 of the second round share %d tokens, want 1024", got)
	}
	for a := range 4 {
		for b := 4; b < 8; b++ {
			if got := common(p[a], p[b]); got > 1 {
				t.Errorf("prompts %d and %d of two rounds share %d tokens", a, b, got)
			}
		}
	}
	if got := common(p[0], mustDraw(t, src, 1, 1, 1).Prompt(0)); got > 1 {
		t.Errorf("two repeats share %d tokens", got)
	}
	if notes := mustDraw(t, src, 5, 0, 0).Notes; len(notes) != 1 || !strings.Contains(notes[0], "4 rows for 5 requests") {
		t.Errorf("notes %q", notes)
	}
	for _, x := range p {
		for _, id := range x.IDs {
			if id < firstID || id >= firstID+idSpan {
				t.Fatalf("id %d is outside the vocabulary that every model has", id)
			}
		}
	}
}

// A row is more than its time: all of it moves when rows are put in order.
func TestUnsortedTraceKeepsItsRowsTogether(t *testing.T) {
	row := func(at, n, id string) string {
		return `{"timestamp": ` + at + `, "input_length": ` + n + `, "output_length": ` + n + `, "hash_ids": [` + id + "]}\n"
	}
	path := file(t, "t.jsonl", row("2000", "20", "7")+row("1000", "10", "8")+row("2000", "21", "9")+row("500", "5", "7"))
	src := mustOpen(t, Dataset{Kind: Trace, Path: path})
	set := list(mustDraw(t, src, 4, 0, 0))
	var got []int
	for _, p := range set {
		if len(p.IDs) != p.MaxTokens {
			t.Errorf("a prompt of %d tokens and an answer of %d are of two rows", len(p.IDs), p.MaxTokens)
		}
		got = append(got, len(p.IDs))
	}
	if want := []int{5, 10, 20, 21}; !slices.Equal(got, want) || common(set[0], set[2]) != 5 || common(set[0], set[1]) > 1 {
		t.Errorf("prompts of %v tokens, want %v; shared %d and %d", got, want, common(set[0], set[2]), common(set[0], set[1]))
	}
	if want := []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond}; !reflect.DeepEqual(src.Times(), want) {
		t.Errorf("times %v", src.Times())
	}
}
