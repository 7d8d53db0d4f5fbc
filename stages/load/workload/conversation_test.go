package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParseConversation(t *testing.T) {
	for in, want := range map[string]struct {
		turns          int
		prompt, answer string
	}{
		`{"conversations": [{"value": "a"}, {"value": "b"}]}`: {2, "a", "b"},
		`{"id": {"x": [1, {}, []]}, "conversations":[ {"from":"x" , "value":"é\n"} ,{"value":"\ud83d\ude00","y":null}, 7 ] , "z": -1.5e+3 }`: {3, "é\n", "😀"},
		`{"conversations": [{"value": ""}, {"value": "]}\"\\"}]}`:                                                                            {2, "", `]}"\`},
		`{"\u0063onversations": [{"v\u0061lue": "a"}, {"value": "b"}]}`:                                                                      {2, "a", "b"},
		`{"conversations": [{"value": "old", "value": "a"}, {"value": 1, "value": "b"}]}`:                                                    {2, "a", "b"},
		`{"conversations": 1, "conversations": [{"value": "a"}]}`:                                                                            {1, "a", ""},
		`{"conversations": []}`: {0, "", ""},
	} {
		c, n, err := parseConversation([]byte(in + " rest"))
		if err != nil || n != len(in) || c.turns != want.turns || c.malformed() {
			t.Errorf("%s: %+v, %d of %d bytes, error %v", in, c, n, len(in), err)
			continue
		}
		got := [2]string{}
		for i, s := range []span{c.prompt, c.answer} {
			if s.to > 0 {
				got[i] = unquote([]byte(in)[s.from:s.to])
			}
		}
		if got != [2]string{want.prompt, want.answer} {
			t.Errorf("%s: texts %q", in, got)
		}
	}
	for _, in := range []string{
		`7 `, `"x"`, `null`, `[]`, `{}`, `{"conversations": {}}`, `{"conversations": "none"}`, `{"conversations": null}`,
		`{"conversations": [{"value": "a"}, {"value": 1}]}`, `{"conversations": [{"value": "a", "value": 1}, {"value": "b"}]}`,
		`{"conversations": [1, {"value": "b"}]}`, `{"conversations": [{"from": "a"}, {"value": "b"}]}`,
		`{"conversations": [{"value": "a"}, {"value": "b"}], "conversations": null}`,
	} {
		if c, _, err := parseConversation([]byte(in)); err != nil || !c.malformed() {
			t.Errorf("%s: %+v, error %v; it is JSON, and no conversation", in, c, err)
		}
	}
	deep := strings.Repeat(`[`, 100000)
	if _, _, err := parseConversation([]byte(deep)); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("100000 arrays in each other: %v", err)
	}
}

// The answer of encoding/json is the judge: of what is a value, where it ends,
// and whether bytes are missing or wrong.
func FuzzParseConversation(f *testing.F) {
	for _, s := range []string{
		`{"conversations": [{"value": "a"}, {"value": "b"}]} `, `{"a": [1, -0.5e+7, true, false, null, "\u12aF\n"]},`,
		`"a`, `{"a" 1}`, `[1,]`, `{"a":1,}`, `01 `, `- `, `1e `, `tru`, `trux`, `"` + "\x01" + `"`, `"\x"`, `"\u12g4"`, `[[[[`, `0+`, `{"":{"":[]}}`, "\"\xff\" ", `.`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		trimmed := bytes.TrimLeft(in, " \t\r\n")
		if bytes.Count(trimmed, []byte("["))+bytes.Count(trimmed, []byte("{")) > maxDepth {
			return
		}
		c, n, err := parseConversation(trimmed)
		dec := json.NewDecoder(bytes.NewReader(trimmed))
		var v json.RawMessage
		want := dec.Decode(&v)
		switch {
		case want == nil && errors.Is(err, errShort) && n == len(trimmed):
			// A number may go on.
			if last := trimmed[len(trimmed)-1]; bytes.IndexByte([]byte("+-.eE0123456789"), last) < 0 {
				t.Fatalf("%q is whole, and taken as short", trimmed)
			}
		case want == nil && len(v) < len(trimmed) && bytes.IndexByte([]byte("+-.eE0123456789"), trimmed[len(v)]) >= 0:
			// encoding/json stops within what can be no number, and says so
			// when it is asked for the rest.
		case want == nil:
			if err != nil || !bytes.Equal(v, trimmed[:n]) {
				t.Fatalf("%q: %d bytes, error %v; encoding/json reads %q", trimmed, n, err, v)
			}
			var x struct {
				Turns *[]json.RawMessage `json:"conversations"`
			}
			if c.turns >= 2 && !c.malformed() && json.Unmarshal(v, &x) == nil && x.Turns != nil && len(*x.Turns) == c.turns {
				var turn struct {
					Value *string `json:"value"`
				}
				if json.Unmarshal((*x.Turns)[0], &turn) == nil && turn.Value != nil {
					if got := unquote(trimmed[c.prompt.from:c.prompt.to]); got != *turn.Value && !bytes.Contains(bytes.ToLower(trimmed), []byte("value\"")) {
						t.Fatalf("%q: prompt %q, want %q", trimmed, got, *turn.Value)
					}
				}
			}
		case errors.Is(want, io.EOF), errors.Is(want, io.ErrUnexpectedEOF):
			if err == nil {
				t.Fatalf("%q: taken as whole", trimmed)
			}
		default:
			if err == nil {
				t.Fatalf("%q: taken as JSON; encoding/json says %v", trimmed, want)
			}
		}
	})
}
