package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDifference(t *testing.T) {
	type m = map[string]any
	behind := func(stage string, input any, needs ...need) json.RawMessage {
		in, err := NewInput(input)
		if err != nil {
			t.Fatal(err)
		}
		data, err := valueOf(&Node{Stage: stage, Input: in}, needs)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	long := strings.Repeat("x", 60)
	for _, tc := range []struct {
		name     string
		old, now json.RawMessage
		want     string
	}{
		{"nothing", behind("s", m{"a": 1}), behind("s", m{"a": 1}), ""},
		{"value", behind("s", m{"slo": m{"tpot": "200ms"}}), behind("s", m{"slo": m{"tpot": "150ms"}}), "slo.tpot: 200ms -> 150ms"},
		{"number", behind("s", m{"qps": 0.1}), behind("s", m{"qps": 2}), "qps: 0.1 -> 2"},
		{"added and removed", behind("s", m{"a": 1}), behind("s", m{"b": 2}), "b: none -> 2; a: 1 -> none"},
		{"list of scalars", behind("s", m{"v": []int{1, 2}}), behind("s", m{"v": []int{1, 3}}), "v: [1,2] -> [1,3]"},
		{
			"named list", behind("s", m{"args": []m{{"name": "max-model-len", "value": 4096}}}),
			behind("s", m{"args": []m{{"name": "max-model-len", "value": 8192}}}), "args.max-model-len: 4096 -> 8192",
		},
		{
			"named list of more", behind("s", m{"points": []m{{"name": "p", "gpus": 1, "rate": 2}}}),
			behind("s", m{"points": []m{{"name": "p", "gpus": 2, "rate": 2}}}), "points.p.gpus: 1 -> 2",
		},
		{
			"a name twice", behind("s", m{"args": []m{{"name": "x", "value": 1}, {"name": "x", "value": 2}}}),
			behind("s", m{"args": []m{{"name": "x", "value": 1}}}),
			`args.x: none -> 1; args: [{"name":"x","value":1},{"name":"x","... -> none`,
		},
		{"needs", behind("s", m{}, need{ID: "a", Digest: "1"}, need{ID: "b", Digest: "1"}), behind("s", m{}, need{ID: "a", Digest: "2"}, need{ID: "c", Digest: "1"}), "a changed; new: c; no longer: b"},
		{"need fails", behind("s", m{}, need{ID: "a", Digest: "1"}), behind("s", m{}, need{ID: "a"}), "a changed"},
		{"stage", behind("load", m{}), behind("warmup", m{}), "its stage: load -> warmup"},
		{"number became text", behind("s", m{"a": 1}), behind("s", m{"a": "1"}), "its inputs changed"},
		{"empty object", behind("s", m{"a": m{}}), behind("s", m{}), "a: {} -> none"},
		{"many", behind("s", m{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}), behind("s", m{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}), "a: 1 -> 2; b: 1 -> 2; c: 1 -> 2; d: 1 -> 2; and 1 more"},
		{"differ at the end", behind("s", m{"a": long + "1"}), behind("s", m{"a": long + "2"}), "a: ...xxxxxxxxxx1 -> ...xxxxxxxxxx2"},
		{"differ at the start", behind("s", m{"a": "1" + long}), behind("s", m{"a": "2"}), "a: 1" + long[:36] + "... -> 2"},
	} {
		if got := difference(tc.old, tc.now); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestShortenKeepsLetters(t *testing.T) {
	if got := shorten(strings.Repeat("é", 50)); !utf8.ValidString(got) || len([]rune(got)) != longest {
		t.Errorf("%q", got)
	}
}

func TestInput(t *testing.T) {
	type value struct{ A, B int }
	in, err := NewInput(value{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	var got value
	if err := in.Decode(&got); err != nil || got != (value{1, 2}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := in.Decode(&struct{ A int }{}); err == nil || !strings.Contains(err.Error(), `unknown field "B"`) {
		t.Errorf("a part that the work does not know: %v", err)
	}
	if _, err := NewInput(make(chan int)); err == nil || !strings.HasPrefix(err.Error(), "input of a node: ") {
		t.Errorf("got %v", err)
	}
}

// What is put together of two is one object, hashed as such.
func TestInputWith(t *testing.T) {
	type shared struct{ A, B string }
	type own struct{ C int }
	common, err := NewInput(shared{"<x>", "y"})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*Node
	for c := range 2 {
		in, err := InputWith(common, own{c})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &Node{ID: "n", Stage: "load", Input: in})
		var got struct {
			shared
			own
		}
		if err := in.Decode(&got); err != nil || got.shared != (shared{"<x>", "y"}) || got.C != c {
			t.Errorf("%+v, %v", got, err)
		}
		whole, err := NewInput(struct {
			shared
			own
		}{shared{"<x>", "y"}, own{c}})
		if err != nil || string(in.JSON()) != string(whole.JSON()) {
			t.Errorf("%s is not %s (%v)", in.JSON(), whole.JSON(), err)
		}
	}
	for _, n := range nodes {
		for _, needs := range [][]need{nil, {{ID: "a", Digest: "b"}}} {
			data, err := json.Marshal(keyed{Stage: n.Stage, Input: n.Input.JSON(), Needs: needs})
			if err != nil {
				t.Fatal(err)
			}
			if v, err := valueOf(n, needs); err != nil || string(v) != string(data) {
				t.Errorf("%s, %v, want %s", v, err, data)
			}
			sum := sha256.Sum256(data)
			if k, err := keyOf(n, needs); err != nil || string(k) != hex.EncodeToString(sum[:]) {
				t.Errorf("key %s of %s, %v", k, data, err)
			}
		}
	}
	for _, v := range []any{1, struct{}{}, []int{1}, nil} {
		one, err := NewInput(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := InputWith(one, own{1}); err == nil {
			t.Errorf("%v was joined", v)
		}
		if _, err := InputWith(common, v); err == nil {
			t.Errorf("%v was joined", v)
		}
	}
}
