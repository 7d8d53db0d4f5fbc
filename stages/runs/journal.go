package runs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"vbp/pipeline/history"
)

// States of a run, as its journal and list tell them.
const (
	Complete    = "complete"
	Partial     = "partial"
	Empty       = "empty"
	Interrupted = "interrupted"
	Unfinished  = "unfinished" // the journal has no end: running, or killed
)

// StateOf says how the run in dir ended.
func StateOf(dir string) string {
	if last, ok := LastRecord(dir); ok && last.Kind == history.RunDone {
		return last.Text
	}
	return Unfinished
}

// recordRead is how much of a journal's end is read for its last record, far
// longer than the one that ends a run.
const recordRead = 64 << 10

// LastRecord reads the last line of a run's journal alone; false if there is
// none, or a kill tore it.
func LastRecord(dir string) (history.Record, bool) {
	var r history.Record
	f, err := os.Open(filepath.Join(dir, history.FileName))
	if err != nil {
		return r, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, false
	}
	end := make([]byte, min(info.Size(), recordRead))
	if _, err := f.ReadAt(end, info.Size()-int64(len(end))); err != nil || !bytes.HasSuffix(end, []byte("\n")) {
		return r, false
	}
	lines := bytes.Split(end[:len(end)-1], []byte("\n"))
	return r, json.Unmarshal(lines[len(lines)-1], &r) == nil
}

// FirstRecord reads the first line of a run's journal alone. Its errors name
// the journal.
func FirstRecord(dir string) (history.Record, error) {
	var r history.Record
	path := filepath.Join(dir, history.FileName)
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("%s: its first record: %w", path, err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("%s:1: not a journal record: %w", path, err)
	}
	return r, nil
}

// Imported returns what the journal of an imported run says of its origin. It
// fails if dir is no such run.
func Imported(dir string) (json.RawMessage, error) {
	first, err := FirstRecord(dir)
	if err != nil {
		return nil, err
	}
	var v struct {
		Imported *json.RawMessage `json:"imported"`
	}
	if err := json.Unmarshal(first.Data, &v); err != nil || v.Imported == nil {
		return nil, fmt.Errorf("%s was not imported", dir)
	}
	return *v.Imported, nil
}
