package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// talk is an entry that has turns of the given lengths in bytes.
func talk(lengths ...int) string {
	type turn struct {
		From  string `json:"from"`
		Value string `json:"value"`
	}
	turns := []turn{}
	for i, n := range lengths {
		turns = append(turns, turn{From: []string{"human", "gpt"}[i%2], Value: strings.Repeat("x", n)})
	}
	b, err := json.Marshal(map[string]any{"id": "e", "conversations": turns})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// lengthsOf are the lengths in bytes of prompts, and of their answers in tokens.
func lengthsOf(p Prompts) []string {
	var got []string
	for _, x := range list(p) {
		got = append(got, fmt.Sprintf("%d->%d", len(x.Text), x.MaxTokens))
	}
	slices.Sort(got)
	return got
}

func TestShareGPTFilters(t *testing.T) {
	// At four bytes a token; 13 bytes are the shortest text of 4 tokens.
	kept := []string{talk(13, 13), talk(4*1024, 13), talk(4*1024, 4*1024), talk(400, 800, 1, 1)}
	dropped := []string{
		talk(12, 100),      // prompt of 3 tokens
		talk(100, 12),      // answer of 3 tokens
		talk(4*1024+1, 13), // prompt of 1025 tokens
		talk(13, 4*2045),   // 4 + 2045 = 2049 tokens
		talk(), talk(100),  // no answer
	}
	d := Dataset{Kind: ShareGPT, Path: file(t, "s.json", "[\n"+strings.Join(append(kept, dropped...), ",\n")+"\n]\n")}
	for _, d.Lengths = range []string{"", Auto, Estimated} {
		s := mustOpen(t, d)
		set := mustDraw(t, s, 4, 0, 0)
		if len(set.Notes) != 0 || set.Counting != "estimated as bytes/4" {
			t.Fatalf("notes %q, counting %q: some kept entry is gone", set.Notes, set.Counting)
		}
		for _, x := range list(set) {
			if x.PromptTokens != (len(x.Text)+3)/4 {
				t.Errorf("a prompt of %d bytes is said to have %d tokens", len(x.Text), x.PromptTokens)
			}
		}
		if got, want := lengthsOf(set), []string{"13->4", "400->200", "4096->1024", "4096->4"}; !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v", got, want)
		}
		// One more and an entry repeats: none of the dropped ones was kept.
		if set := mustDraw(t, s, 5, 0, 0); len(set.Notes) != 1 {
			t.Errorf("a dropped entry is in use; notes %q", set.Notes)
		}
	}
}

// bytewise counts a token a byte, and what it was asked for.
type bytewise struct {
	asked int
	err   error
}

func (b *bytewise) Method() string { return "the server's /tokenize" }

func (b *bytewise) Count(_ context.Context, texts []string) ([]int, error) {
	out := make([]int, len(texts))
	for i, s := range texts {
		out[i] = len(s)
	}
	b.asked += len(texts)
	return out, b.err
}

func TestShareGPTCountedByAServer(t *testing.T) {
	kept := []string{talk(4, 4), talk(1024, 4), talk(1024, 1024)}
	dropped := []string{talk(3, 100), talk(100, 3), talk(1025, 4), talk(4, 2045)}
	d := Dataset{Kind: ShareGPT, Path: file(t, "s.json", "["+strings.Join(append(dropped, kept...), ",")+"]")}
	ctx := context.Background()
	for _, d.Lengths = range []string{Auto, Counted} {
		set, err := mustOpen(t, d).Draw(ctx, 3, 0, 0, &bytewise{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := lengthsOf(set), []string{"1024->1024", "1024->4", "4->4"}; !slices.Equal(got, want) || set.Counting != "the server's /tokenize" || len(set.Notes) != 0 {
			t.Errorf("%s: kept %v, want %v; counting %q, notes %q", d.Lengths, got, want, set.Counting, set.Notes)
		}
	}
	for _, c := range []Counter{nil, Estimate{Since: "it has none"}} {
		if _, err := mustOpen(t, d).Draw(ctx, 3, 0, 0, c); err == nil || !strings.Contains(err.Error(), "use lengths: auto or estimate") {
			t.Errorf("lengths: server without a server: %v", err)
		}
	}
	bad := errors.New("the server has died")
	if _, err := mustOpen(t, d).Draw(ctx, 3, 0, 0, &bytewise{err: bad}); !errors.Is(err, bad) {
		t.Errorf("a counter's error: %v", err)
	}
	d.Lengths = Estimated
	c := &bytewise{}
	if set, err := mustOpen(t, d).Draw(ctx, 3, 0, 0, c); err != nil || c.asked != 0 || set.Counting != "estimated as bytes/4" {
		t.Errorf("lengths: estimate: %d texts were asked for, %v", c.asked, err)
	}
	d.Lengths = Auto
	if set, err := mustOpen(t, d).Draw(ctx, 2, 0, 0, Estimate{Since: "the server has no /tokenize"}); err != nil || set.Counting != "estimated as bytes/4 since the server has no /tokenize" {
		t.Errorf("%+v, %v", set, err)
	}
	d.Path = file(t, "all.json", "["+strings.Join(dropped, ",")+"]")
	if _, err := mustOpen(t, d).Draw(ctx, 3, 0, 0, &bytewise{}); err == nil || !strings.Contains(err.Error(), "none of its 4 entries is usable with lengths from the server's /tokenize") {
		t.Errorf("nothing passes: %v", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := mustOpen(t, d).Draw(stopped, 3, 0, 0, &bytewise{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
}

func TestShareGPTCountsOnlyWhatItNeeds(t *testing.T) {
	talks := make([]string, 5000)
	for i := range talks {
		talks[i] = talk(4+i%1000, 40+i%1000)
	}
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: file(t, "s.json", "["+strings.Join(talks, ",")+"]")})
	c := &bytewise{}
	if _, err := s.Draw(context.Background(), 300, 0, 0, c); err != nil || c.asked > 800 {
		t.Errorf("for 300 prompts %d texts were counted, %v", c.asked, err)
	}
}

// The script does what vLLM's ShareGPTDataset does with a tokenizer of 4 bytes
// a token.
func TestShareGPTOrderIsVLLMs(t *testing.T) {
	const script = `
import json, random, sys
path, n, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tokens = lambda s: (len(s.encode()) + 3) // 4
data = [e for e in json.load(open(path, encoding="utf-8")) if "conversations" in e and len(e["conversations"]) >= 2]
random.seed(seed)
random.shuffle(data)
got = []
for e in data:
    if len(got) == n:
        break
    p, c = (t["value"] for t in e["conversations"][:2])
    if tokens(p) < 4 or tokens(c) < 4 or tokens(p) > 1024 or tokens(p) + tokens(c) > 2048:
        continue
    got.append((p, tokens(c)))
if len(got) < n:
    random.seed(seed)
    have = list(got)
    got += [random.choice(have) for _ in range(n - len(got))]
for p, c in got:
    print(json.dumps(p), c)
`
	var talks []string
	for i := range 400 {
		entry := map[string]any{"id": i, "conversations": []any{
			map[string]any{"from": "human", "value": fmt.Sprintf("%d ü\n\"\U0001f98a%s", i, strings.Repeat("x", i*i%6000))},
			map[string]any{"from": "gpt", "value": strings.Repeat("y", i*37%5000)},
			map[string]any{"from": "human"},
		}}
		switch i % 10 {
		case 3:
			entry = map[string]any{"id": i}
		case 5:
			entry["conversations"] = entry["conversations"].([]any)[:1]
		}
		text, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		talks = append(talks, string(text))
	}
	path := file(t, "s.json", "["+strings.Join(talks, ", ")+"]")
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: path})
	for _, c := range []struct{ n, seed int }{{1, 0}, {100, 0}, {100, 42}, {100, -42}, {700, 1}} {
		var got strings.Builder
		for _, p := range list(mustDraw(t, s, c.n, int64(c.seed), 0)) {
			text, _, _ := strings.Cut(p.Text, " ")
			fmt.Fprintln(&got, text, p.MaxTokens)
		}
		var want strings.Builder
		for line := range strings.Lines(python(t, script, path, strconv.Itoa(c.n), strconv.Itoa(c.seed))) {
			text, _, _ := strings.Cut(strings.TrimPrefix(line, `"`), " ")
			fmt.Fprint(&want, text, line[strings.LastIndexByte(line, ' '):])
		}
		if got.String() != want.String() {
			t.Errorf("%d prompts of seed %d:\n%s\nvLLM takes\n%s", c.n, c.seed, got.String(), want.String())
		}
	}
}

func TestShareGPTFileThatIsChangedOrMoved(t *testing.T) {
	path := file(t, "s.json", "["+talk(20, 20)+","+talk(24, 24)+"]")
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: path})
	if err := os.Rename(path, path+".old"); err != nil {
		t.Skip("this system moves no open file: ", err)
	}
	mustDraw(t, s, 2, 0, 0)
	if err := os.WriteFile(path+".old", []byte("["+talk(20, 21)+","+talk(24, 24)+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Draw(context.Background(), 2, 0, 0, nil); err == nil || !strings.Contains(err.Error(), "the file was changed after it had been read") {
		t.Errorf("the file is another one now: %v", err)
	}
}

func TestShareGPTCutShort(t *testing.T) {
	whole := "[" + talk(20, 20) + "," + talk(24, 24) + "]"
	for cut := 1; cut < len(whole); cut++ {
		path := file(t, "cut.json", whole[:cut])
		_, err := Open(Dataset{Kind: ShareGPT, Path: path})
		if err == nil {
			t.Fatalf("cut at %d of %d: no error", cut, len(whole))
		}
		for _, want := range []string{path, fmt.Sprintf("ends at byte %d", cut), "fetch it again"} {
			if !strings.Contains(err.Error(), want) {
				t.Fatalf("cut at %d: error %q does not say %q", cut, err, want)
			}
		}
	}
}

func TestShareGPTMalformedEntriesAreCounted(t *testing.T) {
	good := talk(20, 20)
	bad := []string{`7`, `{"conversations": "none"}`, `{}`, `{"conversations": [{"value": 1}, {"value": "x"}]}`, `{"conversations": [{"from": "human"}, {"value": "x"}]}`, `null`}
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: file(t, "m.json", "\xef\xbb\xbf["+good+","+strings.Join(bad, ",")+"]")})
	notes := mustDraw(t, s, 1, 0, 0).Notes
	if want := fmt.Sprintf("6 of 7 entries are malformed and left out, the first is entry 1, after byte %d", 4+len(good)); len(notes) != 1 || !strings.Contains(notes[0], want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

func TestShareGPTRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"":                        "the file is empty",
		`{"prompt": "x"}`:         "use kind jsonl",
		"[]":                      "none of its 0 entries is usable",
		"[" + talk(1, 1) + ",3]":  "none of its 2 entries is usable (1 malformed",
		" [ ] x":                  "none of its 0 entries is usable",
		" \n ":                    "the file is empty",
		"[" + talk(20, 20) + ",]": "not JSON: ']' where a value should be",
		"[" + talk(20, 20) + " " + talk(20, 20) + "]": "entry 1, after byte",
		"[{\"conversations\": nope}]":                 "entry 0, after byte 1: not JSON",
	} {
		if _, err := Open(Dataset{Kind: ShareGPT, Lengths: Estimated, Path: file(t, "r.json", content)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", content, err, want)
		}
	}
}

// What is kept of a file is where its conversations are.
func TestShareGPTKeepsNoTexts(t *testing.T) {
	path := shareGPTFile(t, 8e6)
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: path})
	if kept := int64(live()) - int64(before); kept > 1e6 {
		t.Errorf("of 8 MB, %d bytes are kept", kept)
	}
	mustDraw(t, s, 1, 0, 0)
}
