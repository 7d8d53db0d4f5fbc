package specs

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSubstitute(t *testing.T) {
	env := map[string]string{"A": "x", "EMPTY": "", "BRACES": "${B}"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	tests := []struct{ in, want, wrong string }{
		{"a${A}b${A}", "axbx", ""},
		{"${A:-y}", "x", ""},
		{"${EMPTY}", "", ""},
		{"${EMPTY:-y}", "y", ""},
		{"${NO:-}", "", ""},
		{"${NO:-a b:{}", "a b:{", ""},
		{"${NO:-${A}${NO:-z}}!", "xz!", ""},
		{"${BRACES}", "${B}", ""}, // what comes from outside is not read again
		{"$A $ {A} $${A} $$${A}", "$A $ {A} ${A} $${A}", ""},
		{"${secret:A}${A}", "${secret:A}x", ""},
		{"${NO}", "", "the environment variable NO is not set"},
		{"${A", "", "no closing }"},
		{"${A:+x}", "", "cannot be read"},
		{"${}", "", "cannot be read"},
		{"${secret:}", "", "not a secret's name"},
		{"$${secret:A}", "", "cannot be told from a secret"},
	}
	for _, tt := range tests {
		got, _, err := substitute(tt.in, lookup, 0)
		switch {
		case tt.wrong == "" && (err != nil || got != tt.want):
			t.Errorf("%q: got %q %v, want %q", tt.in, got, err, tt.want)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Msg, tt.wrong)):
			t.Errorf("%q: got %q %v, want an error with %q", tt.in, got, err, tt.wrong)
		}
	}
}

// TestEscapeEnv: what is escaped is read as it was.
func TestEscapeEnv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"$", "{", "}", "${", "A", ":-", "${secret:A}", "é"})).Draw(t, "s"), "")
		got, _, err := substitute(escapeEnv(s), noEnv, 0)
		if err != nil && strings.Contains(err.Msg, "secret") {
			return // a malformed secret, or a literal one, has no written form
		}
		if err != nil || got != s {
			t.Fatalf("%q is written %q and read %q, %v", s, escapeEnv(s), got, err)
		}
	})
}

func TestReveal(t *testing.T) {
	spec := `
modes: {m: {endpoint: "http://h", headers: {Authorization: "Bearer ${secret:KEY}", X: "${secret:GONE}"}}}
sweep: {qps: [1]}`
	e, err := Parse("x.yaml", []byte(spec), Options{Env: func(name string) (string, bool) { return "s3cr3t", name == "KEY" }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Reveal(e.Modes[0].Headers["Authorization"]); err != nil || got != "Bearer s3cr3t" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := e.Reveal(e.Modes[0].Headers["X"]); err == nil || got != "" || !strings.Contains(err.Error(), "GONE") {
		t.Errorf("got %q, %v", got, err)
	}
	if strings.Contains(string(e.Resolved), "s3cr3t") {
		t.Error("the resolved spec holds the secret")
	}
}
