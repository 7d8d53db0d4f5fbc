package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// abs is what Python takes a seed for.
func abs(seed int64) uint64 { return uint64(max(seed, -seed)) }

// The numbers are those of CPython 3.11: random.seed(seed), then shuffle of
// range(10); of range(100000), joined by commas, the SHA-256; six times
// choice(range(7)); twice getrandbits(32).
func TestMersenneIsPythons(t *testing.T) {
	for _, c := range []struct {
		seed     int64
		shuffled []int32
		long     string
		choices  []uint32
		words    []uint32
	}{
		{0, []int32{7, 8, 1, 5, 3, 4, 2, 0, 9, 6}, "5462923d7936404d", []uint32{6, 3, 6, 3, 0, 2}, []uint32{3626764237, 1654615998}},
		{1, []int32{6, 8, 9, 7, 5, 3, 0, 4, 1, 2}, "bea3e3fc255eac56", []uint32{1, 4, 6, 6, 6, 0}, []uint32{577090037, 2444712010}},
		{42, []int32{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}, "835c5ee000222e6a", []uint32{5, 0, 0, 5, 2, 1}, []uint32{2746317213, 478163327}},
		{-42, []int32{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}, "835c5ee000222e6a", []uint32{5, 0, 0, 5, 2, 1}, []uint32{2746317213, 478163327}},
		{4294967296, []int32{8, 9, 3, 2, 4, 7, 0, 6, 5, 1}, "7bcad3b7138451f7", []uint32{0, 2, 3, 0, 0, 4}, []uint32{485306839, 1508871100}},
		{1099511627781, []int32{1, 2, 3, 6, 7, 0, 5, 4, 9, 8}, "0e32d7e92324ff05", []uint32{4, 4, 2, 5, 0, 4}, []uint32{2166296868, 2220160828}},
		{9223372036854775807, []int32{4, 1, 9, 8, 6, 0, 3, 7, 2, 5}, "92218c765cbb24a8", []uint32{2, 5, 5, 1, 6, 3}, []uint32{1359979423, 2819855560}},
		{-9223372036854775808, []int32{5, 7, 9, 2, 0, 4, 1, 3, 6, 8}, "8378790179918857", []uint32{4, 3, 1, 1, 6, 4}, []uint32{2377109768, 1691753470}},
	} {
		if got := newMersenne(abs(c.seed)).shuffled(10); !slices.Equal(got, c.shuffled) {
			t.Errorf("seed %d: shuffled to %v, want %v", c.seed, got, c.shuffled)
		}
		var long []string
		for _, i := range newMersenne(abs(c.seed)).shuffled(100000) {
			long = append(long, strconv.Itoa(int(i)))
		}
		sum := sha256.Sum256([]byte(strings.Join(long, ",")))
		if got := hex.EncodeToString(sum[:8]); got != c.long {
			t.Errorf("seed %d: 100000 numbers are shuffled to %s, want %s", c.seed, got, c.long)
		}
		r := newMersenne(abs(c.seed))
		for i, want := range c.choices {
			if got := r.below(7); got != want {
				t.Errorf("seed %d: choice %d is %d, want %d", c.seed, i, got, want)
			}
		}
		r = newMersenne(abs(c.seed))
		for i, want := range c.words {
			if got := r.word(); got != want {
				t.Errorf("seed %d: word %d is %d, want %d", c.seed, i, got, want)
			}
		}
	}
	for n := range 2 {
		if got := newMersenne(3).shuffled(n); len(got) != n {
			t.Errorf("%d numbers are shuffled to %v", n, got)
		}
	}
}

// python runs a script, or skips the test where there is no Python.
func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not on PATH, so nothing can be compared with it")
	}
	out, err := exec.Command(path, append([]string{"-c", script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return string(out)
}

func TestMersenneAgreesWithPythonThatIsHere(t *testing.T) {
	const script = `
import random, sys
for seed in range(-3, 200, 7):
    for n in (1, 2, 3, 31, 32, 33, 700, 5000):
        random.seed(seed)
        a = list(range(n))
        random.shuffle(a)
        print(seed, n, a[0], a[n // 2], a[-1], random.choice(range(n)))
`
	var want strings.Builder
	for seed := int64(-3); seed < 200; seed += 7 {
		for _, n := range []int{1, 2, 3, 31, 32, 33, 700, 5000} {
			r := newMersenne(abs(seed))
			a := r.shuffled(n)
			fmt.Fprintln(&want, seed, n, a[0], a[n/2], a[n-1], r.below(uint32(n)))
		}
	}
	if got := python(t, script); got != want.String() {
		t.Errorf("python3 shuffles otherwise:\n%s\nwant:\n%s", got, want.String())
	}
}
