package local

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	earlier := "of an earlier start\n"
	text := earlier + strings.Repeat(strings.Repeat("x", 99)+"\n", 2000) +
		" 10%|#  \r 50%|## \r100%|###\n\n\x1b[31mred\x1b[0m and windows\r\n" + strings.Repeat("é", 300) + "\nunfinished"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, _ := tail(file, int64(len(earlier)), 4)
	want := []string{"100%|###", "[31mred[0m and windows", strings.Repeat("é", 200), "unfinished"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got, _ := tail(file, int64(len(text)), 4); len(got) != 0 {
		t.Errorf("lines of an earlier start: %q", got)
	}
	if got, _ := tail(file+"-none", 0, 4); len(got) != 0 {
		t.Error(got)
	}
	e := &ProcessError{Tail: []string{"listen tcp 127.0.0.1:1: bind: address already in use"}}
	if !e.addressInUse() {
		t.Error("a taken port is not recognised")
	}
}

// vLLM tells the cause long before its last line, which only says that there
// was one.
func TestTailFindsTheCause(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	cause := "(EngineCore pid=7) ERROR 11-24 08:49:50 [core.py:9] ValueError: Free memory on device cuda:0 is less than desired GPU memory utilization"
	text := "WARNING 11-24 found ulimit; this can cause errors like `OSError: [Errno 24] Too many open files`\n" +
		"Traceback (most recent call last):\n" + cause + "\n" + strings.Repeat("  File \"x.py\", line 3, in f\n", 40) +
		"RuntimeError: Engine core initialization failed. See root cause above.\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	last, got := tail(file, 0, 3)
	if got != cause || len(last) != 3 {
		t.Errorf("the cause is %q, the end %q", got, last)
	}
	e := (&ProcessError{Log: file, Cause: got, Tail: last}).Error()
	contains(t, e, "says:\n    | "+cause, "and ends with:", "See root cause above")
	if _, got := tail(file, 0, 99); got != "" {
		t.Errorf("%q is told twice", got)
	}
}
