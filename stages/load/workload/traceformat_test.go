package workload

import (
	"strings"
	"testing"
	"time"
)

func TestInstant(t *testing.T) {
	want := time.Date(2023, 11, 16, 18, 15, 46, 680590000, time.UTC)
	for _, text := range []string{
		"2023-11-16 18:15:46.6805900", "2023-11-16T18:15:46.68059", "2023-11-16 18:15:46.680590000+00:00",
		"2023-11-16T18:15:46.68059Z", "2023-11-16 20:15:46.68059+02:00",
	} {
		if got, err := instant(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// What CSV allows and these files do not use changes nothing.
func TestTraceCSVInOtherForms(t *testing.T) {
	path := file(t, "t.csv", "\xef\xbb\xbf\"response tokens\", Request Tokens,TIMESTAMP\r\n 3 ,\"4\", 1.5\r\n\r\n5,6,2.75")
	s := mustOpen(t, Dataset{Kind: Trace, Path: path})
	p := list(mustDraw(t, s, 2, 0, 0))
	if p[0].PromptTokens != 4 || p[0].MaxTokens != 3 || p[1].PromptTokens != 6 || p[1].MaxTokens != 5 || s.Times()[1] != 1250*time.Millisecond {
		t.Errorf("prompts %v, times %v", p, s.Times())
	}
}

func TestTraceRefuses(t *testing.T) {
	const azure, burst = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,1,1\n", "Timestamp,Model,Request tokens,Response tokens\n1,x,2,3\n"
	moon := `{"timestamp": 1, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}` + "\n"
	for content, want := range map[string]string{
		"":           "the file is empty",
		"a,b\n1,2\n": `its first line is that of no trace that is known: "a,b"`,
		"version https://git-lfs.github.com/spec/v1\n":      "git lfs pull",
		"TIMESTAMP,ContextTokens\n":                         `line 1: there is no column "GeneratedTokens"`,
		"TIMESTAMP,ContextTokens,GeneratedTokens\n":         "it has no rows to send (0 without",
		azure + "2023-11-16,2,3\n":                          `line 3: TIMESTAMP "2023-11-16" is not an instant`,
		azure + "2023-02-30 00:00:00,2,3\n":                 `line 3: TIMESTAMP "2023-02-30 00:00:00" is not an instant`,
		azure + "1023-11-16 18:15:46,2,3\n":                 "centuries",
		azure + "2023-11-16 18:15:47,x,3\n":                 `line 3: ContextTokens "x" is not a number`,
		azure + "2023-11-16 18:15:47,1.5,3\n":               "line 3: the prompt has 1.5 tokens",
		azure + "2023-11-16 18:15:47,1,-3\n":                "line 3: the answer has -3 tokens",
		azure + "2023-11-16 18:15:47,NaN,3\n":               "line 3: the prompt has NaN tokens",
		azure + "2023-11-16 18:15:47,3\n":                   "wrong number of fields",
		burst + "x,y,2,3\n":                                 `line 3: Timestamp "x" is not a number of seconds`,
		burst + "1e300,y,2,3\n":                             "line 3: the time 1e+300 is out of range",
		burst + "nan,y,2,3\n":                               "out of range",
		burst + "1,y,20000000,3\n":                          "line 3: the prompt has 2e+07 tokens",
		"Timestamp,Request tokens,Response tokens\n1,1,0\n": "it has no rows to send (1 without a prompt or an answer)",
		moon + "{\n": "line 2: not a row such as",
		moon + "\n" + `{"timestamp": 1, "input_length": 6}`:                                       "line 3: timestamp, input_length or output_length is missing",
		moon + `{"timestamp": 1, "input_length": 600, "output_length": 1, "hash_ids": [1, 2, 3]}`: "line 2: 3 hash ids for a prompt of 600 tokens",
		moon + `{"timestamp": 1, "input_length": 1e300, "output_length": 1}`:                      "line 2: the prompt has 1e+300 tokens",
	} {
		path := file(t, "t", content)
		if _, err := Open(Dataset{Kind: Trace, Path: path}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got error %v, want one with %q", content, err, want)
		}
	}
	if _, err := Open(Dataset{Kind: Trace, Path: file(t, "t", azure), Format: Mooncake}); err == nil || !strings.Contains(err.Error(), "its first line is that of format azure, not mooncake") {
		t.Errorf("another format: %v", err)
	}
	if _, err := Open(Dataset{Kind: Trace, Path: file(t, "t", azure), Format: "parquet"}); err == nil || !strings.Contains(err.Error(), "not parquet") {
		t.Errorf("an unknown format: %v", err)
	}
}
