package runs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vbp/pipeline/history"
)

func TestStampOf(t *testing.T) {
	want := time.Date(2026, 4, 9, 11, 16, 45, 0, time.Local)
	for _, name := range []string{"20260409_111645", "20260409_111645_2", "nixl_20260409_111645", "a_b_20260409_111645"} {
		if got, ok := StampOf(name); !ok || !got.Equal(want) {
			t.Errorf("%s is of %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "nixl", "20260409", "20261309_111645", "20260409-111645"} {
		if got, ok := StampOf(name); ok {
			t.Errorf("%s is of %v", name, got)
		}
	}
}

func TestFileName(t *testing.T) {
	for label, want := range map[string]string{
		"mode=simple": "simple",
		"mode=simple modes.simple.args.x=[1,2] qps=0.5": "simple,modes.simple.args.x=%5B1%2C2%5D,qps=0.5",
		"../é/a b": "%2E.%2F%C3%A9%2Fa,b",
		"a%2Fb":    "a%252Fb", // another than a/b
		"":         "",
	} {
		if got := FileName(label); got != want {
			t.Errorf("%q becomes %q, not %q", label, got, want)
		}
	}
}

// TestOfAndBelow holds which folders are runs: of one experiment, and wherever
// people have put them.
func TestOfAndBelow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "res[ults]*")
	for _, run := range []string{
		"a/20260302_100000", "a/20260301_100000", "a/.pruned-20260301_110000", "a/.import-1", "a/.mine/20260301_120000",
		"a/old/2025/20250101_100000", "a/old/2025/deep/20250101_100000", "a/20260301_100000/inner", ".store/tmp/x",
	} {
		if err := os.MkdirAll(filepath.Join(dir, run), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, run, history.FileName), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if got := below(t, dir, Of(filepath.Join(dir, "a"))); !slices.Equal(got, []string{"a/20260301_100000", "a/20260302_100000"}) {
		t.Errorf("of a: %q", got)
	}
	found, err := Below(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a/.mine/20260301_120000", "a/20260301_100000", "a/20260302_100000", "a/old/2025/20250101_100000"}
	for _, w := range slices.Clone(want) {
		want = append(want, "b"+w[1:])
	}
	if got := below(t, dir, found); !slices.Equal(got, want) {
		t.Errorf("below: %q\nwant %q", got, want)
	}
	if found, err := Below(filepath.Join(dir, "nowhere")); len(found) > 0 || err != nil {
		t.Errorf("nowhere: %q, %v", found, err)
	}
}

func below(t *testing.T, dir string, paths []string) []string {
	t.Helper()
	var out []string
	for _, path := range paths {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, filepath.ToSlash(rel))
	}
	return out
}
