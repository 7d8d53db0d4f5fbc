package history

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestReadWhatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := []Record{
		{At: at, Kind: RunBegun, Text: "vbp apply\nx"},
		{At: at, Kind: NodeReused, Node: "load qps=1", Key: "ab", Attempt: "0", Digest: "cd"},
		{At: at, Kind: ServiceStarted, Node: "deploy", Data: []byte(`{"engine_version":"1"}`)},
		{At: at, Kind: NodeFailed, Node: "load qps=2", Error: "it broke"},
		{At: at, Kind: RunDone, Text: "partial", Fingerprint: "ef", Seconds: 1.5},
	}
	for _, r := range want {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	got, torn, err := Read(path) // before Close: a kill loses nothing of it
	if err != nil || torn || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, torn %v, %v", got, torn, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Create(path); err == nil || !strings.Contains(err.Error(), "cannot begin the journal") {
		t.Errorf("a second journal over the first: %v", err)
	}
}

// Cut at every byte: the records before the cut are there, the torn one is
// not, and it is said so.
func TestTornLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := j.Append(Record{Kind: NodeDone, Node: fmt.Sprint("n", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) + 1 {
		if err := os.WriteFile(path, data[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		whole := strings.Count(string(data[:cut]), "\n")
		got, torn, err := Read(path)
		if err != nil || len(got) != whole || torn != (cut > 0 && data[cut-1] != '\n') {
			t.Fatalf("cut at %d: %d records of %d, torn %v, %v", cut, len(got), whole, torn, err)
		}
	}
}

func TestBrokenLineInside(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, []byte("{\"kind\":\"run_begun\"}\nnonsense\n{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, _, err := Read(path)
	if err == nil || !strings.Contains(err.Error(), FileName+":2: not a journal record") || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAppendFromManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	j, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 20 {
				if err := j.Append(Record{Kind: NodeBegun, Node: fmt.Sprint(i, " ", k)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	got, torn, err := Read(path)
	seen := make(map[string]bool)
	for _, r := range got {
		seen[r.Node] = true
	}
	if err != nil || torn || len(got) != 160 || len(seen) != 160 {
		t.Errorf("%d records, %d different, torn %v, %v", len(got), len(seen), torn, err)
	}
}

// /dev/full takes the open and refuses the write, as a full disk does.
func TestFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this machine has no /dev/full to stand for a full disk")
	}
	j := &Journal{f: f}
	first := j.Append(Record{Kind: NodeBegun})
	second := j.Append(Record{Kind: NodeBegun})
	if first == nil || !strings.Contains(first.Error(), "cannot write the journal") || !strings.Contains(first.Error(), "make room there") || second != first {
		t.Errorf("%v, then %v", first, second)
	}
	_ = f.Close()
}

func TestNilJournal(t *testing.T) {
	var j *Journal
	if err := j.Append(Record{}); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
