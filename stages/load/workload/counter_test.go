package workload

import (
	"context"
	"slices"
	"testing"
)

func TestEstimate(t *testing.T) {
	got, err := Estimate{}.Count(context.Background(), []string{"", "a", "abcd", "abcde", "äöü" /* 6 bytes */})
	if want := []int{0, 1, 1, 2, 2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, want := (Estimate{Since: "the server has no /tokenize"}).Method(), "estimated as bytes/4 since the server has no /tokenize"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
