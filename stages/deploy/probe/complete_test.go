package probe

import (
	"strings"
	"testing"
)

func TestCompleteWith(t *testing.T) {
	const completions, chat, good = "POST /v1/completions", "POST /v1/chat/completions", `{"choices":[{"text":"hi"}]}`
	for name, c := range map[string]struct {
		paths map[string]string
		api   string
		want  string // of the error; "" for none
	}{
		"completions":                       {map[string]string{completions: good}, Completions, ""},
		"chat":                              {map[string]string{chat: good}, Chat, ""},
		"whichever, completions":            {map[string]string{completions: good}, "", ""},
		"whichever, chat":                   {map[string]string{completions: "501", chat: good}, "", ""},
		"whichever, neither":                {nil, "", "/v1/completions: answered 404 Not Found: {\"detail\":\"Not Found\"}; then POST "},
		"completions of a chat server":      {map[string]string{completions: "405", chat: good}, Completions, "answered 405 Method Not Allowed: 405; but /v1/chat/completions works: set workload.api: chat"},
		"chat of a server without":          {map[string]string{completions: good}, Chat, "but /v1/completions works: set workload.api: completions"},
		"chat without a template":           {map[string]string{completions: good, chat: `400 {"error":{"message":"default chat template is no longer allowed"}}`}, Chat, "the model may have no chat template: set workload.api: completions"},
		"an error is not a missing API":     {map[string]string{completions: "400 no", chat: good}, Completions, "/v1/completions: answered 400 Bad Request: 400 no"},
		"an API that nobody has":            {map[string]string{completions: good}, "edits", `unknown API "edits"`},
		"200 without a completion":          {map[string]string{completions: `{"error":"busy"}`}, Completions, `answered 200 but gave no completion; it begins "{\"error\":\"busy\"}"`},
		"nobody is let in without a header": {map[string]string{completions: "401"}, Completions, `set headers of the mode, such as headers: {Authorization: "Bearer ${secret:API_KEY}"}`},
	} {
		err := serve(t, c.paths).CompleteWith(t.Context(), c.api, "m")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
