package workload

import (
	"slices"
	"strings"
	"testing"
)

func TestJSONL(t *testing.T) {
	s := mustOpen(t, Dataset{Kind: JSONL, OutputTokens: 9, Path: file(t, "p.jsonl",
		"{\"prompt\": \"hello\", \"output_tokens\": 3, \"other\": []}\r\n\n  \n{\"prompt\": \"h\u00e9\"}")})
	p := list(mustDraw(t, s, 2, 0, 0))
	slices.SortFunc(p, func(a, b Prompt) int { return strings.Compare(a.Text, b.Text) })
	if p[0].Text != "hello" || p[0].MaxTokens != 3 || p[0].PromptTokens != 2 {
		t.Errorf("first line: %+v", p[0])
	}
	if p[1].Text != "hé" || p[1].MaxTokens != 9 || p[1].PromptTokens != 1 {
		t.Errorf("last line: %+v", p[1])
	}
}

func TestJSONLErrorsNameTheLine(t *testing.T) {
	ok := "{\"prompt\": \"a\", \"output_tokens\": 1}\n"
	for line, want := range map[string]string{
		`{"prompt": "a"`:                        ":3: the line is not a JSON object",
		`["a"]`:                                 ":3: the line is not a JSON object",
		`{"text": "a"}`:                         ":3: the line has no prompt",
		`{"prompt": ""}`:                        ":3: the line has no prompt",
		`{"prompt": [1, 2]}`:                    ":3: prompt is a array",
		`{"prompt": "a"}`:                       ":3: the line has no output_tokens",
		`{"prompt": "a", "output_tokens": 0}`:   ":3: output_tokens is 0",
		`{"prompt": "a", "output_tokens": .5}`:  ":3: the line is not a JSON object",
		`{"prompt": "a", "output_tokens": 1.5}`: ":3: output_tokens is 1.5",
	} {
		path := file(t, "bad.jsonl", ok+"\n"+line+"\n"+ok)
		if _, err := Open(Dataset{Kind: JSONL, Path: path}); err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%s: got error %v, want one with %q", line, err, want)
		}
	}
	if _, err := Open(Dataset{Kind: JSONL, Path: file(t, "empty.jsonl", "\n")}); err == nil || !strings.Contains(err.Error(), "has no lines") {
		t.Errorf("a file without lines: %v", err)
	}
}
