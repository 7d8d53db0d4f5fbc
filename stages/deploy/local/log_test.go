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
	got := tail(file, int64(len(earlier)), 4)
	want := []string{"100%|###", "[31mred[0m and windows", strings.Repeat("é", 200), "unfinished"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := tail(file, int64(len(text)), 4); len(got) != 0 {
		t.Errorf("lines of an earlier start: %q", got)
	}
	if got := tail(file+"-none", 0, 4); len(got) != 0 {
		t.Error(got)
	}
	e := &ProcessError{Tail: []string{"listen tcp 127.0.0.1:1: bind: address already in use"}}
	if !e.addressInUse() {
		t.Error("a taken port is not recognised")
	}
}
