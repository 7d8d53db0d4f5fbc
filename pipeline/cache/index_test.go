package cache

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawHead(t *rapid.T) Head {
	return Head{
		Key: key(rapid.String().Draw(t, "key")), Attempt: rapid.StringMatching(`[!-.0-?A-~]{1,30}`).Draw(t, "attempt"),
		Slot: rapid.String().Draw(t, "slot"), Digest: hexSum([]byte(rapid.String().Draw(t, "digest"))),
		Created: time.Unix(rapid.Int64Range(-1<<36, 1<<36).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
		Seconds: rapid.Float64().Draw(t, "seconds"), Bytes: rapid.Int64().Draw(t, "bytes"),
		Note: []byte(rapid.String().Draw(t, "note")),
	}
}

func TestRecordsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawHead), 0, 5).Draw(t, "heads")
		var data []byte
		for i := range want {
			data = appendRecord(data, &want[i], uint64(i)<<40)
		}
		var got []Head
		if scanIndex(data, func(from, to int, r record) {
			h := Head{Attempt: string(r.attempt), Slot: string(r.slot), Digest: string(r.digest), Note: r.note}
			r.fill(&h)
			h.Key = Key(fmt.Sprintf("%x", r.key()))
			if r.inode() != uint64(len(got))<<40 {
				t.Errorf("inode %d of record %d", r.inode(), len(got))
			}
			if h.Note == nil {
				h.Note = []byte{}
			}
			got = append(got, h)
		}) {
			t.Error("an index as written is said to be broken")
		}
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
	})
}

func TestRecordThatIsTooLong(t *testing.T) {
	h := Head{Key: key("k"), Attempt: "0", Note: make([]byte, longestRecord)}
	if got := appendRecord([]byte("before"), &h, 1); string(got) != "before" {
		t.Errorf("%d bytes", len(got))
	}
	s := open(t, tempDir(t))
	note := []byte(`"` + strings.Repeat("n", longestRecord) + `"`)
	mustPublish(t, s, Manifest{Key: key("k"), Note: note}, nil)
	if got := heads(t, s); !reflect.DeepEqual(got, written(t, s)) {
		t.Errorf("%d listed", len(got))
	}
}

// Whatever bytes an index holds, the listing is what the manifests say; and
// once it was listed by who may write, the index says so too.
func TestIndexOfAnyBytes(t *testing.T) {
	dir := tempDir(t)
	s := open(t, dir)
	var names []string
	for i := range 6 {
		m := Manifest{Key: inShard(fmt.Sprint(i % 3)), Attempt: fmt.Sprint(i), Slot: fmt.Sprint("slot ", i), Note: []byte(`{"facts":{"sent":` + fmt.Sprint(i) + `}}`)}
		names = append(names, mustPublish(t, s, m, map[string]string{"f": fmt.Sprint(i)}).Dir)
	}
	index := filepath.Join(dir, "objects", "ab", indexName)
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	want := written(t, s)
	// Records with right names and checksums of folders that are no longer
	// these: of a copy, or of what was replaced.
	var stale []byte
	for _, h := range want {
		h.Slot, h.Digest, h.Note = "wrong", hexSum(nil), []byte(`"wrong"`)
		stale = appendRecord(stale, &h, 12345)
	}
	rapid.Check(t, func(r *rapid.T) {
		data := bytes.Clone(good)
		for range rapid.IntRange(1, 4).Draw(r, "changes") {
			at := rapid.IntRange(0, len(data)).Draw(r, "at")
			switch rapid.IntRange(0, 5).Draw(r, "how") {
			case 0:
				data = data[:at]
			case 1:
				if at < len(data) {
					data[at] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
				}
			case 2:
				foreign := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(r, "foreign")
				data = append(data[:at:at], append(foreign, data[at:]...)...)
			case 3:
				data = append(data[:at:at], append([]byte(recordMagic), data[at:]...)...)
			case 4:
				data = append(data[:at:at], append(bytes.Clone(stale), data[at:]...)...)
			case 5:
				data = append(data, data[at:]...)
			}
		}
		if err := os.WriteFile(index, data, 0o644); err != nil {
			r.Fatal(err)
		}
		if got := heads(t, At(dir)); !reflect.DeepEqual(got, want) {
			r.Fatalf("looking: %v\nwant %v", got, want)
		}
		if after, err := os.ReadFile(index); err != nil || !bytes.Equal(after, data) {
			r.Fatalf("looking has written: %v", err)
		}
		if got := heads(t, s); !reflect.DeepEqual(got, want) {
			r.Fatalf("open: %v\nwant %v", got, want)
		}
		if got := indexed(t, index, names); got != len(want) {
			r.Fatalf("the index was not mended: %d of %d", got, len(want))
		}
	})
}

// indexed counts the folders of which an index has a record that is theirs.
func indexed(t testing.TB, index string, dirs []string) int {
	t.Helper()
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	if scanIndex(data, func(_, _ int, r record) { known[fmt.Sprintf("%x@%s %d", r.key(), r.attempt, r.inode())] = true }) {
		t.Error("the index is broken")
	}
	n := 0
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if known[fmt.Sprint(filepath.Base(dir), " ", inodeOf(info))] {
			n++
		}
	}
	return n
}

// A store that was copied, replaced or given a stranger's index says what its
// own manifests say.
func TestIndexOfAnotherFolder(t *testing.T) {
	s, other := open(t, tempDir(t)), open(t, tempDir(t))
	m := Manifest{Key: key("k"), Slot: "slot"}
	mustPublish(t, s, m, map[string]string{"f": "one"})
	mustPublish(t, other, m, map[string]string{"f": "another"})
	shard := filepath.Join("objects", string(key("k")[:2]))
	foreign, err := os.ReadFile(filepath.Join(other.Root(), shard, indexName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Root(), shard, indexName), foreign, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := heads(t, s); !reflect.DeepEqual(got, written(t, s)) {
		t.Errorf("a stranger's index is believed: %v", got)
	}
	copied := filepath.Join(tempDir(t), "store")
	if out, err := exec.Command("cp", "-r", s.Root(), copied).CombinedOutput(); err != nil {
		t.Skipf("no cp on this machine to copy a store with: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(copied, shard, indexName), foreign, 0o644); err != nil {
		t.Fatal(err)
	}
	sound(t, open(t, copied))
}

func TestPublishOverIsListed(t *testing.T) {
	for _, can := range []bool{true, false} {
		if !can {
			swap = func(string, string) error { return os.ErrInvalid }
			t.Cleanup(func() { swap = exchange })
		}
		s := open(t, tempDir(t))
		m := Manifest{Key: key("k"), Slot: "slot"}
		old := mustPublish(t, s, m, map[string]string{"f": "old"})
		listed, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Draft()
		if err != nil {
			t.Fatal(err)
		}
		if err := fill(d.Dir, map[string]string{"f": "new"}); err != nil {
			t.Fatal(err)
		}
		over, err := d.PublishOver(m)
		if err != nil || over.Digest == old.Digest || over.Dir != old.Dir {
			t.Fatalf("%v, %v", over, err)
		}
		if got := heads(t, s); !reflect.DeepEqual(got, written(t, s)) || got[filepath.Base(over.Dir)].Digest != over.Digest {
			t.Errorf("listed %v", got)
		}
		// Whoever listed before does not take the new content for the old.
		for _, a := range listed.Find(key("k")) {
			if err := a.Verify(); err == nil || !strings.Contains(err.Error(), "another process put a new one in its place") {
				t.Errorf("the old listing: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		sound(t, s)
	}
}

func TestDeadRecordsAreDropped(t *testing.T) {
	s := open(t, tempDir(t))
	var all []*Artefact
	for i := range 10 {
		all = append(all, mustPublish(t, s, Manifest{Key: inShard(fmt.Sprint(i))}, map[string]string{"f": "x"}))
	}
	index := filepath.Join(s.Root(), "objects", "ab", indexName)
	size := func() int64 {
		info, err := os.Stat(index)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	whole := size()
	for i, a := range all[:6] {
		if err := s.Remove(a); err != nil {
			t.Fatal(err)
		}
		heads(t, s)
		if want := i == 5; (size() < whole) != want {
			t.Errorf("%d of 10 are dead: the index has %d bytes, had %d", i+1, size(), whole)
		}
	}
	if got := indexed(t, index, []string{all[6].Dir, all[7].Dir, all[8].Dir, all[9].Dir}); got != 4 || size() != whole*4/10 {
		t.Errorf("%d records, %d bytes", got, size())
	}
}

// childAppend publishes artefacts into one shard.
func childAppend(args []string) error {
	s, err := Open(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for i := range n {
		m := Manifest{Key: inShard(args[1] + fmt.Sprint(i)), Attempt: args[1], Note: []byte(`"` + strings.Repeat("n", 700) + `"`)}
		if _, err := publish(s, m, map[string]string{"f": args[1]}); err != nil {
			return err
		}
	}
	return s.Close()
}

func TestProcessesAppendToOneIndex(t *testing.T) {
	const processes, each = 4, 40
	s := open(t, tempDir(t))
	var children []*child
	for i := range processes {
		children = append(children, startChild(t, "append", s.Root(), fmt.Sprint("p", i), fmt.Sprint(each)))
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(s.Root(), "objects", "ab", "*@*"))
	if err != nil || len(dirs) != processes*each {
		t.Fatalf("%d artefacts, %v", len(dirs), err)
	}
	if got := indexed(t, filepath.Join(s.Root(), "objects", "ab", indexName), dirs); got != processes*each {
		t.Errorf("%d of %d artefacts are in the index", got, processes*each)
	}
	sound(t, s)
}
