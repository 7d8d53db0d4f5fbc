package seed

import "testing"

func TestRandIsOneStreamForEachPurposeSeedAndRepeat(t *testing.T) {
	type key struct {
		purpose string
		seed    int64
		repeat  int
	}
	seen := map[uint64]key{}
	for _, purpose := range []string{"prompts", "arrivals"} {
		for s := int64(-2); s <= 2; s++ {
			for r := range 3 {
				k := key{purpose, s, r}
				v := Rand(purpose, s, r).Uint64()
				if again := Rand(purpose, s, r).Uint64(); again != v {
					t.Fatalf("%v: %d, then %d", k, v, again)
				}
				if other, ok := seen[v]; ok {
					t.Errorf("%v and %v start alike", k, other)
				}
				seen[v] = k
			}
		}
	}
}
