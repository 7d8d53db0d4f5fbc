package specs

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorText(t *testing.T) {
	tests := []struct {
		e    Error
		want string
	}{
		{Error{File: "a.yaml", Line: 3, Col: 7, Msg: "wrong", Hint: "do this"}, "a.yaml:3:7: wrong (do this)"},
		{Error{File: "a.yaml", Line: 3, Msg: "wrong"}, "a.yaml:3: wrong"},
		{Error{File: "a.yaml", Msg: "wrong"}, "a.yaml: wrong"},
		{Error{File: "a.yaml", Flag: "a=b", Msg: "wrong"}, "--set a=b: wrong"},
	}
	for _, tt := range tests {
		if got := tt.e.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestErrorsSorted(t *testing.T) {
	es := Errors{{Flag: "b"}, {Flag: "a"}, {Line: 2, Col: 1}, {Line: 1, Col: 9}, {Line: 2, Col: 1}, {Line: 1, Col: 2}}
	var got []string
	for _, e := range es.sorted([]string{"a", "b"}) {
		got = append(got, e.Error())
	}
	if s := strings.Join(got, "|"); s != ":1:2: |:1:9: |:2:1: |--set a: |--set b: " {
		t.Errorf("got %s", s)
	}
	var one *Error
	if !errors.As(es, &one) || one != es[0] {
		t.Error("errors.As does not see them")
	}
}

func TestNearest(t *testing.T) {
	choices := []string{"ttft", "tpot", "target", "max-model-len", "engine"}
	for word, want := range map[string]string{"tfft": "ttft", "tpott": "tpot", "max_model_len": "max-model-len", "Engine": "engine", "zebra": "", "": ""} {
		if got := nearest(word, choices); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
