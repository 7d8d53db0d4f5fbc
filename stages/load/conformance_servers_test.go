package load_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"vbp/stages/load"
	"vbp/stages/load/answer"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// summary is the columns of a row that do not depend on time.
func summary(o sample.Outcome) string {
	n := func(v int64) string {
		if v == sample.Absent {
			return "-"
		}
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%s events=%d prompt=%s output=%s finish=%s", o.Outcome, o.Events, n(o.PromptTokens), n(o.OutputTokens), o.Finish)
}

// The columns of a row, for the shapes in which servers answer. first and last
// are the events (from 1; comments and nameless ones do not count) in which
// the first and last token are; where nothing failed, each event arrives at an
// instant of its own.
func TestServers(t *testing.T) {
	shapes := map[string]struct {
		api         string
		ids         bool // the prompt was token ids
		want        string
		says        string // in the error
		first, last int
	}{
		"vllm-completions": {want: "ok events=6 prompt=4 output=6 finish=length", first: 1, last: 6},
		"vllm-continuous":  {want: "ok events=4 prompt=8 output=4 finish=length", first: 1, last: 4},
		"vllm-chat":        {api: load.Chat, want: "ok events=5 prompt=12 output=5 finish=length", first: 2, last: 6},
		"vllm-reasoning":   {api: load.Chat, want: "ok events=3 prompt=9 output=4 finish=stop", first: 2, last: 4},
		"vllm-error":       {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: EngineCore encountered an issue."},
		"vllm-too-long":    {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 400: This model's maximum context length is 2048 tokens."},

		"sglang-completions": {want: "ok events=3 prompt=5 output=3 finish=length", first: 1, last: 3},
		"sglang-chat":        {api: load.Chat, want: "ok events=3 prompt=5 output=3 finish=stop", first: 2, last: 4}, // the third token is the end of sequence
		"sglang-early":       {want: "ok events=2 prompt=5 output=2 finish=length", first: 1, last: 2},
		"sglang-error":       {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Generation aborted."},
		"sglang-abort":       {want: "stream_error events=1 prompt=- output=- finish=abort", says: "the server gave the request up"},

		"llama-completions":   {want: "ok events=4 prompt=11 output=6 finish=length", first: 1, last: 4},
		"llama-chat":          {api: load.Chat, want: "ok events=5 prompt=22 output=5 finish=length", first: 2, last: 6},
		"llama-chat-no-usage": {api: load.Chat, want: "ok events=5 prompt=22 output=5 finish=length", first: 2, last: 6},
		"llama-error":         {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Compute error."},
		"llama-loading":       {want: "http_error events=0 prompt=- output=- finish=", says: "status 503: Loading model"},
		"llama-too-long":      {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 400: request (3001 tokens) exceeds the available context size (1024 tokens), try increasing it"},

		"llama-python-completions": {want: "ok events=5 prompt=- output=5 finish=length", first: 1, last: 7}, // six tokens, but no usage
		"llama-python-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "the prompts of this dataset are token ids"},

		"transformers-chat":       {api: load.Chat, want: "ok events=1 prompt=13 output=6 finish=length", first: 2, last: 2}, // no TPOT can be known
		"transformers-ignore-eos": {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: Unexpected fields in the request: {'ignore_eos'}; set workload.ignore_eos: false"},

		"tgi-completions": {want: "ok events=3 prompt=4 output=3 finish=eos_token", first: 1, last: 3},
		"tgi-chat":        {api: load.Chat, want: "ok events=4 prompt=6 output=4 finish=stop", first: 1, last: 4},
		"tgi-error":       {want: "stream_error events=0 prompt=- output=- finish=", says: "error in the stream: Input validation error: `inputs` tokens"},
		"tgi-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 422: Failed to deserialize the JSON body into the target type: prompt: data did not match any variant of untagged enum Prompt at line 1 column 41; the prompts of this dataset are token ids, which the server does not take; use a dataset of text"},

		"ollama-completions": {want: "ok events=2 prompt=3 output=2 finish=length", first: 1, last: 2},
		"ollama-chat":        {api: load.Chat, want: "ok events=3 prompt=26 output=3 finish=stop", first: 1, last: 3},
		"ollama-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "of type string; the prompts of this dataset are token ids"},

		"lmdeploy-completions": {want: "ok events=2 prompt=7 output=2 finish=stop", first: 1, last: 2},
		"dynamo-chat":          {api: load.Chat, want: "ok events=2 prompt=5 output=2 finish=length", first: 1, last: 2},
		"dynamo-error":         {api: load.Chat, want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Stream ended before generation completed"},
		"triton-chat":          {api: load.Chat, want: "ok events=1 prompt=4 output=1 finish=stop", first: 2, last: 2},

		"no-usage":       {want: "ok events=2 prompt=- output=2 finish=stop", first: 1, last: 2}, // counted from events, and Notes says so
		"whole-chat":     {api: load.Chat, want: "stream_error events=0 prompt=- output=- finish=", says: `a whole completion instead of an event stream (application/json)`},
		"json-error-200": {want: "stream_error events=0 prompt=- output=- finish=", says: "not an event stream but application/json: upstream is busy"},
		"object-error":   {want: "stream_error events=0 prompt=- output=- finish=", says: "error in the stream: CUDA out of memory"},

		"refuses-stream-options": {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: body.stream_options.include_usage: Extra inputs are not permitted; set workload.body: {stream_options: null}"},
		"refuses-ignore-eos":     {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: body.ignore_eos: Extra inputs are not permitted; set workload.ignore_eos: false"},
		"refuses-max-tokens":     {api: load.Chat, want: "http_error events=0 prompt=- output=- finish=", says: "set workload.body: {max_tokens: null, max_completion_tokens: N}"},
	}
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			status, header, body := load.Recording(t, name)
			config := load.Point(1)
			config.IgnoreEOS = true
			if c.api != "" {
				config.API = c.api
			}
			if c.ids {
				config.Prompts = workload.List{{IDs: []int32{1, 2}, MaxTokens: 5}}
			}
			over(t, func(t *testing.T, k kind) {
				for _, size := range []int{1 << 20, 7} {
					s := answersOnce(t, func(conn *conn) {
						conn.write(status + "\r\n" + fields(header) + "Transfer-Encoding: chunked\r\n\r\n" + load.Chunked(string(body), size))
					})
					config := config
					config.URL = s.url
					row := measure(t, k, config).Row(0)
					if got := summary(row); got != c.want || !strings.Contains(row.Error, c.says) || (row.Error == "") != (c.says == "") {
						t.Errorf("got  %s error %q\nwant %s error %q", got, row.Error, c.want, c.says)
					}
					if row.Outcome == sample.OK && (row.Status != 200 || len(row.Gaps) != int(row.Events)-1 || !(row.TTFT > 0) || row.FirstEvent > row.FirstToken) {
						t.Errorf("%+v", row)
					}
				}
			})
			if c.first == 0 {
				return
			}
			var a answer.Answer
			a.Start(400, 8)
			a.Head(http.StatusOK, header.Get)
			at := int64(1000)
			for _, e := range bytes.SplitAfter(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n\n")) {
				if bytes.HasPrefix(e, []byte(":")) || bytes.HasPrefix(e, []byte("event:")) {
					continue
				}
				if !a.Feed(e, at) {
					break
				}
				at += 1000
			}
			a.Closed(nil, at)
			if o := a.Out; o.FirstEvent != 1000 || o.FirstToken != int64(c.first)*1000 || o.LastToken != int64(c.last)*1000 {
				t.Errorf("first event at %d, first token at %d, last at %d", o.FirstEvent, o.FirstToken, o.LastToken)
			}
		})
	}
	files, err := filepath.Glob(filepath.Join("answer", "testdata", "*.http"))
	if err != nil || len(files) != len(shapes) {
		t.Errorf("%d recordings for %d shapes, error %v", len(files), len(shapes), err)
	}
}
