package load

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// recording reads an answer of testdata/answers: lines that begin with # say
// where its shape is from, the rest is what came over the connection, without
// the framing of chunks.
func recording(t *testing.T, name string) (status string, header http.Header, body []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "answers", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for bytes.HasPrefix(b, []byte("#")) {
		_, b, _ = bytes.Cut(b, []byte("\n"))
		told = true
	}
	if !told {
		t.Errorf("%s does not say where it is from", name)
	}
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s has no end of its header", name)
	}
	lines := strings.Split(string(head), "\r\n")
	header = http.Header{}
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ": ")
		header.Add(k, v)
	}
	return lines[0], header, body
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
		"vllm-chat":        {api: Chat, want: "ok events=5 prompt=12 output=5 finish=length", first: 2, last: 6},
		"vllm-reasoning":   {api: Chat, want: "ok events=3 prompt=9 output=4 finish=stop", first: 2, last: 4},
		"vllm-error":       {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: EngineCore encountered an issue."},
		"vllm-too-long":    {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 400: This model's maximum context length is 2048 tokens."},

		"sglang-completions": {want: "ok events=3 prompt=5 output=3 finish=length", first: 1, last: 3},
		"sglang-chat":        {api: Chat, want: "ok events=3 prompt=5 output=3 finish=stop", first: 2, last: 4}, // the third token is the end of sequence
		"sglang-early":       {want: "ok events=2 prompt=5 output=2 finish=length", first: 1, last: 2},
		"sglang-error":       {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Generation aborted."},
		"sglang-abort":       {want: "stream_error events=1 prompt=- output=- finish=abort", says: "the server gave the request up"},

		"llama-completions":   {want: "ok events=4 prompt=11 output=6 finish=length", first: 1, last: 4},
		"llama-chat":          {api: Chat, want: "ok events=5 prompt=22 output=5 finish=length", first: 2, last: 6},
		"llama-chat-no-usage": {api: Chat, want: "ok events=5 prompt=22 output=5 finish=length", first: 2, last: 6},
		"llama-error":         {want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Compute error."},
		"llama-loading":       {want: "http_error events=0 prompt=- output=- finish=", says: "status 503: Loading model"},
		"llama-too-long":      {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 400: request (3001 tokens) exceeds the available context size (1024 tokens), try increasing it"},

		"llama-python-completions": {want: "ok events=5 prompt=- output=5 finish=length", first: 1, last: 7}, // six tokens, but no usage
		"llama-python-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "the prompts of this dataset are token ids"},

		"transformers-chat":       {api: Chat, want: "ok events=1 prompt=13 output=6 finish=length", first: 2, last: 2}, // no TPOT can be known
		"transformers-ignore-eos": {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: Unexpected fields in the request: {'ignore_eos'}; set workload.ignore_eos: false"},

		"tgi-completions": {want: "ok events=3 prompt=4 output=3 finish=eos_token", first: 1, last: 3},
		"tgi-chat":        {api: Chat, want: "ok events=4 prompt=6 output=4 finish=stop", first: 1, last: 4},
		"tgi-error":       {want: "stream_error events=0 prompt=- output=- finish=", says: "error in the stream: Input validation error: `inputs` tokens"},
		"tgi-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "status 422: Failed to deserialize the JSON body into the target type: prompt: data did not match any variant of untagged enum Prompt at line 1 column 41; the prompts of this dataset are token ids, which the server does not take; use a dataset of text"},

		"ollama-completions": {want: "ok events=2 prompt=3 output=2 finish=length", first: 1, last: 2},
		"ollama-chat":        {api: Chat, want: "ok events=3 prompt=26 output=3 finish=stop", first: 1, last: 3},
		"ollama-token-ids":   {ids: true, want: "http_error events=0 prompt=- output=- finish=", says: "of type string; the prompts of this dataset are token ids"},

		"lmdeploy-completions": {want: "ok events=2 prompt=7 output=2 finish=stop", first: 1, last: 2},
		"dynamo-chat":          {api: Chat, want: "ok events=2 prompt=5 output=2 finish=length", first: 1, last: 2},
		"dynamo-error":         {api: Chat, want: "stream_error events=1 prompt=- output=- finish=", says: "error in the stream: Stream ended before generation completed"},
		"triton-chat":          {api: Chat, want: "ok events=1 prompt=4 output=1 finish=stop", first: 2, last: 2},

		"no-usage":       {want: "ok events=2 prompt=- output=2 finish=stop", first: 1, last: 2}, // counted from events, and Notes says so
		"whole-chat":     {api: Chat, want: "stream_error events=0 prompt=- output=- finish=", says: `a whole completion instead of an event stream (application/json)`},
		"json-error-200": {want: "stream_error events=0 prompt=- output=- finish=", says: "not an event stream but application/json: upstream is busy"},
		"object-error":   {want: "stream_error events=0 prompt=- output=- finish=", says: "error in the stream: CUDA out of memory"},

		"refuses-stream-options": {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: body.stream_options.include_usage: Extra inputs are not permitted; set workload.body: {stream_options: null}"},
		"refuses-ignore-eos":     {want: "http_error events=0 prompt=- output=- finish=", says: "status 422: body.ignore_eos: Extra inputs are not permitted; set workload.ignore_eos: false"},
		"refuses-max-tokens":     {api: Chat, want: "http_error events=0 prompt=- output=- finish=", says: "set workload.body: {max_tokens: null, max_completion_tokens: N}"},
	}
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			status, header, body := recording(t, name)
			config := point(1)
			config.IgnoreEOS = true
			if c.api != "" {
				config.API = c.api
			}
			if c.ids {
				config.Prompts = []workload.Prompt{{IDs: []int32{1, 2}, MaxTokens: 5}}
			}
			for _, size := range []int{1 << 20, 7} {
				var answer bytes.Buffer
				answer.WriteString(status + "\r\n")
				header.Write(&answer)
				answer.WriteString("Transfer-Encoding: chunked\r\n\r\n" + chunked(string(body), size))
				config.URL = rawServer(t, false, func(*http.Request) string { return answer.String() })
				table, err := Run(t.Context(), config, NewHTTP(), nil)
				if err != nil || table.Len() != 1 {
					t.Fatalf("%d rows, error %v", table.Len(), err)
				}
				row := table.Row(0)
				got, _, _ := strings.Cut(summary(row), " error=")
				if got != c.want || !strings.Contains(row.Error, c.says) || (row.Error == "") != (c.says == "") {
					t.Errorf("got  %s\nwant %s error %q", summary(row), c.want, c.says)
				}
				if row.Outcome == sample.OK && (row.Status != 200 || len(row.Gaps) != int(row.Events)-1 || !(row.TTFT > 0) || row.FirstEvent > row.FirstToken) {
					t.Errorf("%+v", row)
				}
			}
			if c.first == 0 {
				return
			}
			var events [][]byte
			for _, e := range bytes.SplitAfter(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n\n")) {
				if !bytes.HasPrefix(e, []byte(":")) && !bytes.HasPrefix(e, []byte("event:")) {
					events = append(events, e)
				}
			}
			o := judge(header, nil, events...)
			if o.FirstEvent != 1000 || o.FirstToken != int64(c.first)*1000 || o.LastToken != int64(c.last)*1000 {
				t.Errorf("first event at %d, first token at %d, last at %d", o.FirstEvent, o.FirstToken, o.LastToken)
			}
		})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "answers", "*.http"))
	if err != nil || len(files) != len(shapes) {
		t.Errorf("%d recordings for %d shapes, error %v", len(files), len(shapes), err)
	}
}
