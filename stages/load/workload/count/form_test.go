package count

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestEveryForm(t *testing.T) {
	texts := []string{"a b c", "", "<one> & \"two\"\n", "a b c", "ü"}
	for _, form := range []string{"vllm", "llama.cpp", "tgi"} {
		f := &fake{form: form}
		to := target(t, f)
		to.URLs[0] += "/v1/"
		s := mustNew(t, to, "")
		if s.Form() != form {
			t.Errorf("%s is taken for %s", form, s.Form())
		}
		asked := f.asked.Load()
		if got, want := mustCount(t, s, texts...), []int{4, 0, 4, 4, 2}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", form, got, want)
		}
		mustCount(t, s, texts...)
		if n := f.asked.Load() - asked; n != 3 {
			t.Errorf("%s: asked %d times for 3 distinct texts", form, n)
		}
	}
}

func TestWhatCannotCount(t *testing.T) {
	none := &fake{}
	busy := &fake{form: "vllm", fail: func(string) (int, string) { return 503, "loading" }}
	mute := &fake{form: "llama.cpp", fail: func(string) (int, string) { return 400, "?" }}
	for _, c := range []struct {
		fakes []*fake
		none  bool
		says  string
	}{
		{[]*fake{none}, true, "answered 404 Not Found"},
		{[]*fake{none, none}, true, "the server has no /tokenize"},
		{[]*fake{mute}, true, "of a form that is known: asked in vllm's form"},
		{[]*fake{busy}, false, "503 Service Unavailable"},
		{[]*fake{none, busy}, false, "503 Service Unavailable"},
		{nil, false, "no server to ask"},
	} {
		_, err := New(context.Background(), target(t, c.fakes...), "")
		if err == nil || errors.Is(err, ErrNone) != c.none || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want one with %q, that there is none: %v", err, c.says, c.none)
		}
	}
	gone := target(t, &fake{form: "vllm"})
	gone.URLs[0] = "http://127.0.0.1:1"
	if _, err := New(context.Background(), gone, ""); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("nobody listens: %v", err)
	}
	// One of several is enough.
	to := target(t, none, busy, &fake{form: "tgi"})
	if s := mustNew(t, to, ""); s.Form() != "tgi" || len(s.urls) != 1 {
		t.Errorf("form %s of %v", s.Form(), s.urls)
	}
}
