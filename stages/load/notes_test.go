package load

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// What a server quietly does otherwise than asked is told beside the rows.
func TestNotes(t *testing.T) {
	noUsage, ended := "no-usage", "tgi-completions"
	serve := func(name string) string {
		_, header, body := recording(t, name)
		return rawServer(t, func(*http.Request) string {
			var b bytes.Buffer
			b.WriteString("HTTP/1.1 200 OK\r\n")
			header.Write(&b)
			b.WriteString("Connection: close\r\n\r\n")
			return b.String() + string(body)
		})
	}
	for _, c := range []struct {
		answer    string
		ignoreEOS bool
		early     any // of the facts; nil: absent
		each      any // tokens_per_event; nil: absent
		notes     string
	}{
		{noUsage, true, 0.0, nil, "output tokens were counted from events for 2 requests, since the server told no usage: an estimate, as an event can carry several tokens or none"},
		{noUsage, false, nil, nil, "output tokens were counted from events for 2 requests, since the server told no usage: an estimate, as an event can carry several tokens or none"},
		{ended, false, nil, 1.0, ""},
		{ended, true, 2.0, 1.0, "ignore_eos: 2 of 2 answers were shorter than asked for, so the server does not honour it or cut them at its context length; set workload.ignore_eos: false to accept where the model ends"},
		// As vLLM does it, too: max_tokens is lowered to what the context leaves.
		{"sglang-completions", true, 2.0, 1.0, "answers cut short: 2 of 2 were shorter than asked for and ended by a limit of the server (finish_reason length): prompt and output together may exceed its context length; raise that (--max-model-len of vLLM), or ask for shorter prompts or outputs"},
		{"sglang-completions", false, nil, 1.0, ""},
		{"llama-completions", true, 0.0, 1.5, ""},
		{"transformers-chat", true, 0.0, 6.0, "2 of 2 answers came in one event though they have several tokens: their time per output token is 0, which says nothing"},
	} {
		config := point(2)
		config.URL, config.IgnoreEOS = serve(c.answer), c.ignoreEOS
		table, err := Run(t.Context(), config, NewHTTP(), nil)
		if err != nil || table.Failed() != 0 {
			t.Fatal(err, table.Error)
		}
		if got := strings.Join(Notes(table.Meta.Extra), "\n"); got != c.notes {
			t.Errorf("%s: notes %q, want %q", c.answer, got, c.notes)
		}
		for name, want := range map[string]any{"stopped_early": c.early, "tokens_per_event": c.each} {
			if got, ok := table.Meta.Facts[name]; ok != (want != nil) || ok && got != want {
				t.Errorf("%s: %s %v, %v; want %v", c.answer, name, got, ok, want)
			}
		}
	}
}
