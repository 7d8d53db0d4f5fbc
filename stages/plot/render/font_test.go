package render

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFit(t *testing.T) {
	fc, err := newFace()
	if err != nil {
		t.Fatal(err)
	}
	long := "modes.nixl.args.max-num-batched-tokens=8192"
	for limit := 0.0; limit < 200; limit += 3.7 {
		got := fc.fit(long, 8, limit)
		if w := fc.width(got, 8); w > limit {
			t.Fatalf("fit to %g gave %q, %g wide", limit, got, w)
		}
		if limit > 30 && got != long && (!strings.HasPrefix(got, "m") || !strings.HasSuffix(got, "2") || !strings.Contains(got, ellipsis)) {
			t.Errorf("fit to %g gave %q, which hides an end", limit, got)
		}
	}
}

func TestWrap(t *testing.T) {
	fc, err := newFace()
	if err != nil {
		t.Fatal(err)
	}
	s := strings.Repeat("one two three four ", 20) + strings.Repeat("x", 200)
	lines := fc.wrap(s, 7, 100, 5)
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5", len(lines))
	}
	for _, l := range lines {
		if fc.width(l, 7) > 100 {
			t.Errorf("%q is %g wide", l, fc.width(l, 7))
		}
	}
	if !strings.Contains(lines[4], ellipsis) {
		t.Errorf("what is left out of the last line does not show: %q", lines[4])
	}
	if got := fc.wrap("  ", 7, 100, 5); got != nil {
		t.Errorf("blanks gave %q", got)
	}
}

// TestClean holds that whatever a name contains, it can be drawn alike by all
// backends.
func TestClean(t *testing.T) {
	fc, err := newFace()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"Qwen3-0.6B, ≤ 125 ms … µ é Я": "Qwen3-0.6B, ≤ 125 ms … µ é Я",
		"a\tb\n\nc":                    "a b c",
		"模型 7B":                        "?? 7B",
		"rocket 🚀":                     "rocket ?",
		"bad \xff byte":                "bad ? byte",
		"\x00\x1b[31mred":              "[31mred",
	} {
		got := fc.clean(in)
		if !utf8.ValidString(got) || strings.ReplaceAll(got, "\ufffd", "?") != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}
