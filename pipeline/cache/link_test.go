package cache

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLinkTo(t *testing.T) {
	store := tempDir(t)
	s := open(t, store)
	a := mustPublish(t, s, Manifest{Key: key("k")}, map[string]string{"f": "new", "sub/g": "new too"})
	for name, dir := range map[string]string{
		"same file system": filepath.Join(store, "run"), "perhaps another": t.TempDir(),
	} {
		if err := fill(dir, map[string]string{"f": "old", "other": "stays"}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds itself
			if err := a.LinkTo(dir); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for file, want := range map[string]string{"f": "new", "sub/g": "new too", "other": "stays"} {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
				t.Errorf("%s: %s is %q, %v", name, file, got, err)
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
			t.Errorf("%s: left over: %v, %v", name, entries, err)
		}
	}
	if err := LinkFile(filepath.Join(store, "none"), filepath.Join(store, "to")); err == nil {
		t.Error("a file that is not there was linked")
	}
}
