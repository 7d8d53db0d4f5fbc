package engine

import (
	"slices"
	"testing"
)

func TestTokenCount(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "abcd": 1, "abcde": 2, "äöü": 2 /* 6 bytes */, "日本": 2 /* 6 bytes */} {
		if got := TokenCount(text); got != want || len(tokenize(text, 1000)) != want {
			t.Errorf("%q: %d tokens, %d ids, want %d", text, got, len(tokenize(text, 1000)), want)
		}
	}
}

func TestEqualBeginningsHaveEqualIDs(t *testing.T) {
	a, b := tokenize("The quick brown fox", 151936), tokenize("The quick brown cat, and more", 151936)
	if !slices.Equal(a[:4], b[:4]) || a[4] == b[4] {
		t.Errorf("%v and %v should be equal in the first 16 bytes only", a, b)
	}
}

func TestGeneratedTextCountsItself(t *testing.T) {
	text := ""
	for i := range 200 {
		w := word(7, i)
		if len(w) != 3 {
			t.Fatalf("word %q has not three letters", w)
		}
		text += " " + w
	}
	if TokenCount(text) != 200 {
		t.Errorf("a text of 200 tokens is counted as %d", TokenCount(text))
	}
	seen := map[string]bool{}
	for _, w := range words {
		if seen[w] {
			t.Errorf("%q is listed twice", w)
		}
		seen[w] = true
	}
}

func TestNaturalLength(t *testing.T) {
	sum, shortest := 0, 1<<30
	for seed := range uint64(10000) {
		n := naturalLength(mix(1, seed))
		sum, shortest = sum+n, min(shortest, n)
	}
	if mean := float64(sum) / 10000; mean < 194 || mean > 206 || shortest < 16 {
		t.Errorf("mean %.1f, shortest %d; want about 200 and at least 16", mean, shortest)
	}
}
