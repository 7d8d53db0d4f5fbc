package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPublishedFilesAreReadOnly(t *testing.T) {
	s := open(t, tempDir(t))
	a := mustPublish(t, s, Manifest{Key: key("k")}, map[string]string{"f": "x"})
	info, err := os.Stat(filepath.Join(a.Dir, "f"))
	if err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left := entries(t, s.Root(), "tmp"); len(left) > 0 {
		t.Errorf("drafts left: %v", left)
	}
}

func TestPublishRefuses(t *testing.T) {
	s := open(t, tempDir(t))
	for name, tc := range map[string]struct {
		fill func(dir string) error
		says string
	}{
		"a link":        {func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) }, "l is neither a file nor a folder"},
		"its own name":  {func(dir string) error { return fill(dir, map[string]string{manifestName: "{}"}) }, "the store's own name"},
		"a missing dir": {os.RemoveAll, "cannot read back what was made"},
		"no key":        {func(string) error { return nil }, "cannot publish under the key"},
	} {
		d, err := s.Draft()
		if err != nil {
			t.Fatal(err)
		}
		if err := tc.fill(d.Dir); err != nil {
			t.Fatal(err)
		}
		k := key("k")
		if name == "no key" {
			k = ""
		}
		if _, err := d.Publish(Manifest{Key: k}); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := d.Discard(); err != nil {
			t.Error(err)
		}
	}
	if l, err := s.List(); err != nil || l.Len() != 0 {
		t.Errorf("something was published: %v, %v", l, err)
	}
}

// What can be made only one way stays as it was first made; an attempt never
// takes the place of another, not even one begun in the same nanosecond.
func TestPublishOnTakenName(t *testing.T) {
	s := open(t, tempDir(t))
	one := mustPublish(t, s, Manifest{Key: key("pure")}, map[string]string{"f": "first"})
	two := mustPublish(t, s, Manifest{Key: key("pure")}, map[string]string{"f": "second"})
	if one.Dir != two.Dir || two.Digest != one.Digest {
		t.Errorf("%s and %s", one.Dir, two.Dir)
	}
	for range 3 {
		mustPublish(t, s, Manifest{Key: key("measured"), Attempt: "20260102T030405.000000000"}, map[string]string{"f": "x"})
	}
	found, err := s.Find(key("measured"))
	if err != nil || len(found) != 3 {
		t.Fatalf("%d attempts, %v", len(found), err)
	}
	if found[1].Attempt != found[0].Attempt+".2" || found[2].Attempt != found[0].Attempt+".3" {
		t.Errorf("%s, %s, %s", found[0].Attempt, found[1].Attempt, found[2].Attempt)
	}
}

func TestSweepLeavesTheLiving(t *testing.T) {
	dir := tempDir(t)
	s := open(t, dir)
	d, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	open(t, dir) // sweeps
	if err := fill(d.Dir, map[string]string{"f": "x"}); err != nil {
		t.Fatalf("the draft of a living process was swept: %v", err)
	}
	if _, err := d.Publish(Manifest{Key: key("k")}); err != nil {
		t.Error(err)
	}
}

// childRace publishes the same keys as others do at the same time; every
// other one lies there damaged.
func childRace(args []string) error {
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for i := range n {
		k := fmt.Sprint("race ", i)
		a, err := publish(s, Manifest{Key: key(k), Slot: k}, map[string]string{"f": k})
		if err != nil {
			return err
		}
		if a.Key != key(k) {
			return fmt.Errorf("%s came out for %s", a.Key, key(k))
		}
	}
	return s.Close()
}

func TestProcessesPublishTheSameKeys(t *testing.T) {
	const processes, keys = 4, 60
	dir := tempDir(t)
	s := open(t, dir)
	for i := 0; i < keys; i += 2 {
		k := fmt.Sprint("race ", i)
		a := mustPublish(t, s, Manifest{Key: key(k), Slot: k}, map[string]string{"f": k})
		if err := os.Remove(filepath.Join(a.Dir, "f")); err != nil {
			t.Fatal(err)
		}
	}
	var children []*child
	for range processes {
		children = append(children, startChild(t, "race", dir, strconv.Itoa(keys)))
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	for i := range keys {
		k := fmt.Sprint("race ", i)
		found, err := s.Find(key(k))
		if err != nil || len(found) != 1 || found[0].Verify() != nil {
			t.Errorf("%s: %d found, %v", k, len(found), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left := entries(t, dir, "tmp"); len(left) > 0 {
		t.Errorf("drafts left: %v", left)
	}
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s, %v", got, err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil); err == nil {
		t.Error("written into a folder that is not there")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}
