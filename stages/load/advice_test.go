package load

import (
	"strings"
	"testing"

	"vbp/stages/sample"
)

// Advice is given only for what was sent, and only if the server speaks of it.
func TestAdvice(t *testing.T) {
	row := func(outcome string, status int64, text string) *sample.Outcome {
		o := sample.NewOutcome("")
		o.Outcome, o.Status, o.Error = outcome, status, text
		return &o
	}
	for _, c := range []struct {
		config Config
		row    *sample.Outcome
		ids    bool
		want   string
	}{
		{Config{IgnoreEOS: true}, row(sample.HTTPError, 400, "unknown field ignore_eos"), false, "workload.ignore_eos: false"},
		{Config{}, row(sample.HTTPError, 400, "unknown field ignore_eos"), false, ""},
		{Config{}, row(sample.StreamError, 200, "stream_options is not known"), false, "stream_options: null"},
		{Config{Body: map[string]any{"stream_options": nil}}, row(sample.HTTPError, 400, "stream_options is not known"), false, ""},
		{Config{}, row(sample.HTTPError, 400, "max_tokens or max_completion_tokens is too large: 9000"), false, ""},
		{Config{}, row(sample.HTTPError, 400, "your prompt contains 3000 input tokens"), true, ""},
		{Config{}, row(sample.HTTPError, 422, "body.prompt.str: Input should be a valid string"), true, "use a dataset of text"},
		{Config{}, row(sample.HTTPError, 422, "body.prompt.str: Input should be a valid string"), false, ""},
		{Config{}, row(sample.Timeout, sample.Absent, "stream_options"), false, ""},
	} {
		got := c.config.advice(c.row, c.ids)
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%q: %q, want %q", c.row.Error, got, c.want)
		}
	}
}
