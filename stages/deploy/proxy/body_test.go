package proxy

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// decoded reads JSON with encoding/json, numbers as they are written.
func decoded(t interface{ Fatalf(string, ...any) }, b []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

// Splitting an object and writing it again says the same as encoding/json
// finds in the original, value bytes included, for any object in any layout.
func TestObjectAgreesWithEncodingJSON(t *testing.T) {
	space := rapid.SampledFrom([]string{"", " ", "\n\t", "\r "})
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kind := rapid.IntRange(0, 5).Draw(t, "kind")
			if depth == 0 {
				kind %= 4
			}
			sp := func() string { return space.Draw(t, "space") }
			text := func() string {
				b, _ := json.Marshal(rapid.StringOf(rapid.SampledFrom([]rune(`ab"\{}[],: é`))).Draw(t, "text"))
				return string(b)
			}
			switch kind {
			case 0:
				return rapid.SampledFrom([]string{"0", "-1.50e+3", "1152921504606846977", "1e400"}).Draw(t, "number")
			case 1:
				return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "literal")
			case 2, 3:
				return text()
			}
			open, shut := "[", "]"
			if kind == 5 {
				open, shut = "{", "}"
			}
			s := open + sp()
			for i := range rapid.IntRange(0, 3).Draw(t, "members") {
				if i > 0 {
					s += sp() + "," + sp()
				}
				if kind == 5 {
					s += text() + sp() + ":" + sp()
				}
				s += value(depth-1).Draw(t, "value")
			}
			return s + sp() + shut
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		source := " {\"k\" :" + value(3).Draw(t, "first") + " ,\"\\u006b2\":" + value(3).Draw(t, "second") + "} \n"
		o, err := parseObject([]byte(source))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		want := decoded(t, []byte(source))
		if got := decoded(t, o.bytes()); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s", source, o.bytes())
		}
		for name, v := range want {
			if got, ok := o.get(name); !ok || string(got) != string(v) {
				t.Fatalf("%s: member %s is %q, want %q", source, name, got, v)
			}
		}
	})
}

// FuzzParseObject: no input makes the splitter panic, and it refuses exactly
// what encoding/json refuses as an object.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{``, `{}`, `[]`, `null`, ` {"a":1}`, `{"a":[{"b":"\\"}]}`, `{"a":1,}`, "{\"\xff\":1}", `{"a"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseObject(b)
		var m map[string]json.RawMessage
		jsonErr := json.Unmarshal(b, &m)
		if (err == nil) != (jsonErr == nil && m != nil) {
			t.Fatalf("%q: %v, encoding/json: %v", b, err, jsonErr)
		}
		if err == nil && !json.Valid(o.with("x", []byte("1")).bytes()) {
			t.Fatalf("%q became %q", b, o.bytes())
		}
	})
}

func TestObjectOfRepeatedNames(t *testing.T) {
	o, err := parseObject([]byte(`{"a":1,"\u0061":2,"b":3}`))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := o.get("a"); string(v) != "2" {
		t.Errorf("get gives %s, want the last", v)
	}
	if got := string(o.with("a", []byte("9")).bytes()); got != `{"b":3,"a":9}` {
		t.Errorf("with gives %s", got)
	}
}
