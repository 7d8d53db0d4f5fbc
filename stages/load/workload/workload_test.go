package workload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// file writes a dataset's file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, d Dataset) *Source {
	t.Helper()
	s, err := Open(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustDraw(t *testing.T, s *Source, n int, seed int64, repeat int) *Set {
	t.Helper()
	set, err := s.Draw(context.Background(), n, seed, repeat, nil)
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != n {
		t.Fatalf("%d prompts, want %d", set.Len(), n)
	}
	return set
}

// list is all prompts.
func list(p Prompts) []Prompt {
	out := make([]Prompt, p.Len())
	for i := range out {
		out[i] = p.Prompt(i)
	}
	return out
}

// every is a dataset of each kind, of 20 prompts where that matters.
func every(t *testing.T) map[string]Dataset {
	t.Helper()
	var lines, rows, talks strings.Builder
	for i, c := range "abcdefghijklmnopqrst" {
		text := strings.Repeat(string(c), 20)
		lines.WriteString(`{"prompt": "` + text + `", "output_tokens": 5}` + "\n")
		if i > 0 {
			talks.WriteString(",")
		}
		talks.WriteString(`{"conversations": [{"value": "` + text + `"}, {"value": "` + text + `"}]}`)
		rows.WriteString(string('0'+c%10) + ",ChatGPT,20,5\n")
	}
	return map[string]Dataset{
		ShareGPT: {Kind: ShareGPT, Path: file(t, "s.json", "["+talks.String()+"]")},
		JSONL:    {Kind: JSONL, Path: file(t, "p.jsonl", lines.String())},
		Random:   {Kind: Random, InputTokens: 20, OutputTokens: 10, RangeRatio: 0.5, PrefixTokens: 3},
		Trace:    {Kind: Trace, Path: file(t, "t.csv", "Timestamp,Model,Request tokens,Response tokens\n"+rows.String())},
		Mooncake: {Kind: Trace, Path: "testdata/mooncake.jsonl"},
	}
}

func TestDrawDependsOnSeedAndRepeatOnly(t *testing.T) {
	for kind, d := range every(t) {
		a := list(mustDraw(t, mustOpen(t, d), 15, 1, 0))
		if b := list(mustDraw(t, mustOpen(t, d), 15, 1, 0)); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the same seed gave other prompts", kind)
		}
		if b := list(mustDraw(t, mustOpen(t, d), 15, 1, 1)); reflect.DeepEqual(a, b) {
			t.Errorf("%s: another repeat gave the same prompts", kind)
		}
		if b := list(mustDraw(t, mustOpen(t, d), 15, 2, 0)); reflect.DeepEqual(a, b) {
			t.Errorf("%s: another seed gave the same prompts", kind)
		}
		// How many are drawn changes none of them.
		if b := list(mustDraw(t, mustOpen(t, d), 9, 1, 0)); !reflect.DeepEqual(a[:9], b) {
			t.Errorf("%s: fewer prompts are not the first of more", kind)
		}
	}
}

func TestTooFewPromptsAreRepeatedWithANote(t *testing.T) {
	for kind, d := range every(t) {
		if d.Kind != ShareGPT && d.Kind != JSONL {
			continue
		}
		s := mustOpen(t, d)
		set := mustDraw(t, s, 67, 0, 0)
		// Each entry is used before any is repeated.
		seen := map[string]bool{}
		for _, p := range list(set)[:20] {
			if seen[p.Text] {
				t.Errorf("%s: an entry was repeated while another was still unused", kind)
			}
			seen[p.Text] = true
		}
		if len(set.Notes) != 1 || !strings.Contains(set.Notes[0], "prefix cache") || !strings.Contains(set.Notes[0], "20 usable prompts for 67 requests") {
			t.Errorf("%s: notes: %q", kind, set.Notes)
		}
		if notes := mustDraw(t, s, 20, 0, 0).Notes; len(notes) != 0 {
			t.Errorf("%s: enough prompts, yet notes: %q", kind, notes)
		}
	}
}

func TestDigestFollowsContentAndParameters(t *testing.T) {
	line := `{"prompt":"abc"}`
	base := Dataset{Kind: JSONL, Name: "x", Path: file(t, "a.jsonl", line), OutputTokens: 5}
	want := mustOpen(t, base).Digest()
	same := base
	same.Name, same.Path, same.InputTokens, same.RangeRatio = "y", file(t, "b.jsonl", line), 9, 0.5
	same.PrefixTokens, same.Lengths, same.Format = 3, Counted, Azure
	if got := mustOpen(t, same).Digest(); got != want {
		t.Error("name, place or a field of another kind changed the digest")
	}
	random := Dataset{Kind: Random, InputTokens: 8, OutputTokens: 8}
	said := Dataset{Kind: ShareGPT, Path: file(t, "s.json", "["+talk(20, 20)+"]")}
	moon := Dataset{Kind: Trace, Path: "testdata/mooncake.jsonl"}
	with := func(d Dataset, change func(*Dataset)) Dataset { change(&d); return d }
	seen := map[string]Dataset{}
	for _, d := range []Dataset{
		base, random, said, moon,
		with(base, func(d *Dataset) { d.Path = file(t, "c.jsonl", line+" ") }),
		with(base, func(d *Dataset) { d.OutputTokens = 6 }),
		with(random, func(d *Dataset) { d.RangeRatio = 0.1 }),
		with(random, func(d *Dataset) { d.PrefixTokens = 1 }),
		with(said, func(d *Dataset) { d.Lengths = Counted }),
		with(said, func(d *Dataset) { d.Lengths = Estimated }),
		with(said, func(d *Dataset) { d.Path = file(t, "s.json", "["+talk(20, 20)+"]\n") }),
		with(moon, func(d *Dataset) { d.Path = "testdata/azure2023.csv" }),
	} {
		sum := mustOpen(t, d).Digest()
		if other, ok := seen[sum]; ok {
			t.Errorf("%+v has the digest of %+v", d, other)
		}
		seen[sum] = d
	}
	for _, d := range []Dataset{
		with(said, func(d *Dataset) { d.Lengths = Auto }),
		with(moon, func(d *Dataset) { d.Format = Mooncake }),
	} {
		if _, ok := seen[mustOpen(t, d).Digest()]; !ok {
			t.Errorf("%+v: a default that is written out changed the digest", d)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.json")
	for _, c := range []struct {
		d    Dataset
		want string
	}{
		{Dataset{Kind: "parquet"}, `unknown kind of dataset "parquet"`},
		{Dataset{Kind: ShareGPT}, "needs the path"},
		{Dataset{Kind: Trace}, "needs the path"},
		{Dataset{Kind: ShareGPT, Path: missing}, missing + ": there is no such file"},
		{Dataset{Kind: JSONL, Path: t.TempDir()}, "is a folder"},
		{Dataset{Kind: ShareGPT, Path: missing, Lengths: "bytes"}, `unknown way to count lengths "bytes"; it must be auto, server or estimate`},
	} {
		if _, err := Open(c.d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got error %v, want one with %q", c.d, err, c.want)
		}
	}
	if _, err := Open(Dataset{Kind: JSONL, Path: missing}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := mustOpen(t, Dataset{Kind: Random, InputTokens: 1, OutputTokens: 1}).Draw(context.Background(), -1, 0, 0, nil); err == nil {
		t.Error("-1 prompts were drawn")
	}
}

// Stored points are reused by seed, so a seed must mean the same prompts for
// ever. If this fails, the draws changed: raise the version in the digest of
// their kind.
func TestASeedMeansTheSameForEver(t *testing.T) {
	lines := ""
	for _, c := range "abcdef" {
		lines += `{"prompt":"` + string(c) + `","output_tokens":1}` + "\n"
	}
	got := ""
	for _, p := range list(mustDraw(t, mustOpen(t, Dataset{Kind: JSONL, Path: file(t, "p.jsonl", lines)}), 9, 0, 0)) {
		got += p.Text
	}
	if want := "cbedfafff"; got != want {
		t.Errorf("drew %s, want %s", got, want)
	}
	random := mustOpen(t, Dataset{Kind: Random, InputTokens: 4, OutputTokens: 9, RangeRatio: 0.5, PrefixTokens: 2})
	if p, want := mustDraw(t, random, 2, 0, 0).Prompt(1), (Prompt{IDs: []int32{9615, 2477, 15160, 17556, 11952}, MaxTokens: 5, PromptTokens: 5}); !reflect.DeepEqual(p, want) {
		t.Errorf("drew %+v, want %+v", p, want)
	}
	if p, want := mustDraw(t, mustOpen(t, Dataset{Kind: Trace, Path: "testdata/azure2023.csv"}), 2, 0, 0).Prompt(1), (Prompt{IDs: []int32{15160, 17556, 11703, 12573, 6611, 22406, 11952}, MaxTokens: 250, PromptTokens: 7}); !reflect.DeepEqual(p, want) {
		t.Errorf("drew %+v, want %+v", p, want)
	}
	moon := mustDraw(t, mustOpen(t, Dataset{Kind: Trace, Path: "testdata/mooncake.jsonl"}), 2, 0, 0).Prompt(1)
	if got, want := [3]int32{moon.IDs[0], moon.IDs[511], moon.IDs[512]}, ([3]int32{4062, 24366, 1332}); got != want {
		t.Errorf("drew %v, want %v", got, want)
	}
	talks := ""
	for i := range 6 {
		talks += "," + talk(16+4*i, 16)
	}
	got = ""
	for _, p := range list(mustDraw(t, mustOpen(t, Dataset{Kind: ShareGPT, Path: file(t, "s.json", "["+talks[1:]+"]")}), 6, 0, 1)) {
		got += string(rune('a' + len(p.Text)/4 - 4))
	}
	if want := "edfcab"; got != want {
		t.Errorf("drew %s, want %s", got, want)
	}
}
