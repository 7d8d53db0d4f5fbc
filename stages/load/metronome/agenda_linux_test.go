//go:build amd64 || arm64

package metronome

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What is taken is in the order of a sort, by time and then by arrival, also
// when more is put in between.
func TestAgenda(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h agenda
	var want []*conn
	order := func(a, b *conn) int {
		if a.due != b.due {
			return int(a.due - b.due)
		}
		return a.record - b.record
	}
	for i := range 2000 {
		c := &conn{due: r.Int64N(50), record: i}
		h.put(c)
		want = append(want, c)
		if r.IntN(3) == 0 {
			slices.SortFunc(want, order)
			if got := h.take(); got != want[0] {
				t.Fatalf("took %d/%d, want %d/%d", got.due, got.record, want[0].due, want[0].record)
			}
			want = want[1:]
		}
	}
	slices.SortFunc(want, order)
	for _, c := range want {
		if got := h.take(); got != c {
			t.Fatalf("took %d/%d, want %d/%d", got.due, got.record, c.due, c.record)
		}
	}
	if len(h) != 0 {
		t.Errorf("%d left", len(h))
	}
}
