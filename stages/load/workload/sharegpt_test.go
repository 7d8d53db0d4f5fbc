package workload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// entry has turns of the given lengths in bytes.
func entry(lengths ...int) string {
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

func TestShareGPTFilters(t *testing.T) {
	// At four bytes a token; 13 bytes are the shortest text of 4 tokens.
	kept := []string{entry(13, 13), entry(4*1024, 13), entry(4*1024, 4*1024), entry(400, 800, 1, 1)}
	dropped := []string{
		entry(12, 100),      // prompt of 3 tokens
		entry(100, 12),      // answer of 3 tokens
		entry(4*1024+1, 13), // prompt of 1025 tokens
		entry(13, 4*2045),   // 4 + 2045 = 2049 tokens
		entry(), entry(100), // no answer
	}
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: file(t, "s.json", "[\n"+strings.Join(append(kept, dropped...), ",\n")+"\n]\n")})
	p, warnings, err := s.Draw(4, 0, 0)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("error %v, warnings %q: some kept entry is gone", err, warnings)
	}
	var got []string
	for _, x := range p {
		if x.PromptTokens != (len(x.Text)+3)/4 {
			t.Errorf("a prompt of %d bytes is said to have %d tokens", len(x.Text), x.PromptTokens)
		}
		got = append(got, fmt.Sprintf("%d->%d", len(x.Text), x.MaxTokens))
	}
	slices.Sort(got)
	if want := []string{"13->4", "400->200", "4096->1024", "4096->4"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	// One more and an entry repeats: none of the dropped ones was kept.
	if _, warnings, _ := s.Draw(5, 0, 0); len(warnings) != 1 {
		t.Errorf("a dropped entry is in use; warnings %q", warnings)
	}
}

func TestShareGPTCutShort(t *testing.T) {
	whole := "[" + entry(20, 20) + "," + entry(24, 24) + "]"
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
	good := entry(20, 20)
	bad := []string{`7`, `{"conversations": "none"}`, `{}`, `{"conversations": [{"value": 1}, {"value": "x"}]}`, `{"conversations": [{"from": "human"}, {"value": "x"}]}`, `null`}
	s := mustOpen(t, Dataset{Kind: ShareGPT, Path: file(t, "m.json", "\xef\xbb\xbf["+good+","+strings.Join(bad, ",")+"]")})
	p, warnings, err := s.Draw(1, 0, 0)
	if err != nil || len(p) != 1 {
		t.Fatal(p, err)
	}
	if want := fmt.Sprintf("6 of 7 entries are malformed and left out, the first is entry 1, after byte %d", 4+len(good)); len(warnings) != 1 || !strings.Contains(warnings[0], want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
}

func TestShareGPTRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"":                        "the file is empty",
		`{"prompt": "x"}`:         "use kind jsonl",
		"[]":                      "none of its 0 entries is usable",
		"[" + entry(1, 1) + ",3]": "none of its 2 entries is usable (1 malformed",
		"[" + entry(20, 20) + " " + entry(20, 20) + "]": "entry 1, after byte",
		"[{\"conversations\": nope}]":                   "entry 0, after byte 1: not JSON",
	} {
		if _, err := Open(Dataset{Kind: ShareGPT, Path: file(t, "r.json", content)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", content, err, want)
		}
	}
}
