package load

import (
	"strings"

	"vbp/stages/sample"
)

// advice says what to change in the spec when a server refuses what vbp puts
// into every request of its own accord, or cannot take the prompts; "" if the
// error is about something else. Nothing is left out unasked: a point that
// quietly ran without ignore_eos would have other output lengths than its
// neighbours, one without usage other token counts.
//
// Servers refuse with 400 or 422, llama-cpp-python with 500, and TGI inside of
// a stream that it began with 200; they name the field, in these shapes among
// others:
//
//	body.stream_options.include_usage: Extra inputs are not permitted
//	Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.
//	prompt: data did not match any variant of untagged enum Prompt at line 1 column 52
//	json: cannot unmarshal array into Go struct field CompletionRequest.prompt of type string
func (c *Config) advice(o *sample.Outcome, ids bool) string {
	if o.Outcome != sample.HTTPError && o.Outcome != sample.StreamError {
		return ""
	}
	says := func(words ...string) bool {
		text := strings.ToLower(o.Error)
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	sends := func(field string) bool { return !c.leavesOut(field) }
	switch {
	case c.IgnoreEOS && says("ignore_eos"):
		return "set workload.ignore_eos: false; answers then end where the model ends them"
	case sends("stream_options") && says("stream_options", "include_usage"):
		return "set workload.body: {stream_options: null}, which leaves it out; tokens are then counted from the events of the stream"
	case sends("max_tokens") && says("max_completion_tokens") && says("not supported", "unsupported", "instead", "deprecated"):
		return "set workload.body: {max_tokens: null, max_completion_tokens: N}, which asks every request for at most N tokens"
	case ids && says("prompt") && says("string", "str:", "untagged enum", "token ids", "invalid type"):
		return "the prompts of this dataset are token ids, which the server does not take; use a dataset of text"
	}
	return ""
}
