package load

import (
	"fmt"
	"strings"

	"vbp/stages/sample"
)

// Notes says in sentences what of a point's tokens is not as it was asked for
// or only estimated, and what the transport has to tell: what Measure put into
// Extra for people to read.
func Notes(extra map[string]string) []string {
	var out []string
	if how := extra[extraTokens]; how != "" {
		out = append(out, "output tokens were "+how+", since the server told no usage: an estimate, as an event can carry several tokens or none")
	}
	if how := extra[extraIgnoreEOS]; how != "" {
		out = append(out, "ignore_eos: "+how)
	}
	if how := extra[extraCut]; how != "" {
		out = append(out, "answers cut short: "+how)
	}
	if how := extra[extraLumps]; how != "" {
		out = append(out, how+" came in one event though they have several tokens: their time per output token is 0, which says nothing")
	}
	if told := extra[extraTransport]; told != "" {
		out = append(out, strings.Split(told, "\n")...)
	}
	return out
}

// Keys of a table's Extra.
const (
	extraTokens    = "output_tokens" // how tokens were counted, where usage did not tell
	extraIgnoreEOS = "ignore_eos"    // that it was not honoured
	extraCut       = "cut_short"     // that a limit of the server's own cut answers
	extraLumps     = "in_one_event"  // how many answers cannot tell the time between tokens
	extraTransport = "transport"     // the transport's own notes, one a line
)

// describe adds what the recorder saw of the answers' tokens to a point: what
// Notes reads, and the facts that rows alone cannot tell.
func (r *recorder) describe(m *sample.Meta) {
	if r.counted > 0 {
		m.Extra[extraTokens] = fmt.Sprintf("counted from events for %d requests", r.counted)
	}
	if n := r.early - r.cut; n > 0 {
		m.Extra[extraIgnoreEOS] = fmt.Sprintf("%d of %d answers were shorter than asked for, so the server does not honour it or cut them at its context length; set workload.ignore_eos: false to accept where the model ends", n, r.ended)
	}
	if r.cut > 0 {
		m.Extra[extraCut] = fmt.Sprintf("%d of %d were shorter than asked for and ended by a limit of the server (finish_reason length): prompt and output together may exceed its context length; raise that (--max-model-len of vLLM), or ask for shorter prompts or outputs", r.cut, r.ended)
	}
	if r.lumps > 0 {
		m.Extra[extraLumps] = fmt.Sprintf("%d of %d answers", r.lumps, r.ended)
	}
	if r.config.IgnoreEOS {
		m.Facts["stopped_early"] = float64(r.early)
	}
	if r.events > 0 {
		m.Facts["tokens_per_event"] = float64(r.tokens) / float64(r.events)
	}
}
