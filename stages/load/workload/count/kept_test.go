package count

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func mustKeep(t *testing.T, dir string, from, to int) *kept {
	t.Helper()
	k, err := openKept(dir, "org/model", "id")
	if err == nil {
		err = k.begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer k.end()
	for i := from; i < to; i++ {
		if err := k.put(sumOf(strconv.Itoa(i)), i); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// known is how many of the numbers below n are kept, each with its own count.
func known(t *testing.T, dir string, n int) int {
	t.Helper()
	k, err := openKept(dir, "org/model", "id")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range n {
		if got, ok := k.get(sumOf(strconv.Itoa(i))); ok {
			if found++; got != i {
				t.Fatalf("text %d has %d tokens", i, got)
			}
		}
	}
	if found != len(k.counts) {
		t.Errorf("%d counts are kept, of which %d are right", len(k.counts), found)
	}
	return found
}

// Wherever a file is cut, and whatever a byte of it becomes, one count is lost
// at most, that at this place, and those appended later are all there.
func TestKeptSurvivesDamage(t *testing.T) {
	dir := t.TempDir()
	mustKeep(t, dir, 0, 5)
	path := filepath.Join(dir, "model-id.counts")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := len(formatLine(sumOf("0"), 0)) + 1
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		mustKeep(t, dir, 5, 7)
		if got, want := known(t, dir, 7), 2+max(0, cut-len(head))/line; got != want {
			t.Fatalf("cut at byte %d: %d counts are left, want %d", cut, got, want)
		}
		bad := append([]byte(nil), whole...)
		bad[cut] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		// Without the end of a line, two are one.
		if got := known(t, dir, 5); got < 3 {
			t.Fatalf("byte %d changed: %d of 5 counts are left", cut, got)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 100000)), 0o600); err != nil {
		t.Fatal(err)
	}
	mustKeep(t, dir, 0, 3)
	if got := known(t, dir, 3); got != 3 {
		t.Errorf("after a line of 100000 bytes %d of 3 counts are there", got)
	}
}

// A child that is killed while it writes, beside writers in this process,
// loses nothing that it had told of.
func TestKeptByProcessesThatAreKilled(t *testing.T) {
	if dir := os.Getenv("VBP_TEST_KEPT"); dir != "" {
		k, err := openKept(dir, "org/model", "id")
		if err == nil {
			err = k.begin()
		}
		for i := 1000; err == nil; i++ {
			err = k.put(sumOf(strconv.Itoa(i)), i)
			fmt.Println(i)
		}
		t.Fatal(err)
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKeptByProcessesThatAreKilled$")
	child.Env = append(os.Environ(), "VBP_TEST_KEPT="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() { mustKeep(t, dir, 400*w, 400*w+400) })
	}
	buf := make([]byte, 4000) // some 800 of its numbers
	for n := 0; n < len(buf); {
		m, err := out.Read(buf[n:])
		if n += m; err != nil {
			t.Fatal(err)
		}
	}
	child.Process.Kill()
	child.Wait()
	wg.Wait()
	told := 0
	for _, line := range strings.Split(string(buf), "\n") {
		if i, err := strconv.Atoi(line); err == nil && len(line) == 4 {
			told = max(told, i)
		}
	}
	k, err := openKept(dir, "org/model", "id")
	if err != nil {
		t.Fatal(err)
	}
	if told < 1100 {
		t.Fatalf("the child told of %d only", told)
	}
	for i := range told + 1 {
		if i >= 800 && i < 1000 {
			continue
		}
		if n, ok := k.get(sumOf(strconv.Itoa(i))); !ok || n != i {
			t.Errorf("the count of text %d is %d, %v", i, n, ok)
		}
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{"Qwen/Qwen3-0.6B": "Qwen3-0.6B", "": "", "../..": "", "a b/c:ü": "c__", strings.Repeat("x", 99): strings.Repeat("x", 60)} {
		if got := fileName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
