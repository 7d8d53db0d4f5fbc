package upkeep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/pipeline/cache"
)

// describe is all that there is to a file.
func describe(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v %v %q", info.Mode(), info.ModTime(), data)
}

// TestHeldBy holds that a look at a lock changes nothing about it.
func TestHeldBy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name.lock")
	if who, err := heldBy(path); who != "" || err != nil {
		t.Errorf("of no file: %q, %v", who, err)
	}
	for range 2 { // the second time the file is there
		l, _, err := cache.TryLock(path, "apply name")
		if err != nil || l == nil {
			t.Fatal(err)
		}
		before := describe(t, path)
		if who, err := heldBy(path); !strings.Contains(who, "process ") || err != nil {
			t.Errorf("held: %q, %v", who, err)
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		if who, err := heldBy(path); who != "" || err != nil {
			t.Errorf("free: %q, %v", who, err)
		}
		if describe(t, path) != before {
			t.Error("a look has changed it")
		}
	}
}
