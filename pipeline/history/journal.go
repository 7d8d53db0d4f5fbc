// Package history keeps the journal of a run: one line of JSON for each thing
// that happened, appended as it happens, so that after a kill at any instant
// the run can be told up to there. It records; it does not know how to run.
package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// FileName is the journal's name in a run's folder.
const FileName = "journal.jsonl"

// Kinds of Record.
const (
	RunBegun       = "run_begun"       // Text: the command line; Data: what was to be made again by wish
	NodeReused     = "node_reused"     // Node, Key, Attempt, Text: why
	NodeBegun      = "node_begun"      // Node, Key, Text: why
	NodeDone       = "node_done"       // Node, Key, Attempt, Digest, Seconds; of a measurement that is not usable Text: the rule that it broke
	NodeAgain      = "node_again"      // Node, Text: why it is tried once more
	NodeFailed     = "node_failed"     // Node, Error
	NodeSkipped    = "node_skipped"    // Node, Text: what it waited for in vain, or why it was left out
	ServiceStarted = "service_started" // Node, Seconds that its start took, Data: environment; Text: that it was started again
	ServiceStopped = "service_stopped" // Node, Seconds it lived; Text: why before its time; Error: it did not stop
	RunDone        = "run_done"        // Text: state; Fingerprint; Data: that its budget was spent
)

// Record is one line.
type Record struct {
	At          time.Time       `json:"at"`
	Kind        string          `json:"kind"`
	Node        string          `json:"node,omitempty"`
	Key         string          `json:"key,omitempty"`
	Attempt     string          `json:"attempt,omitempty"`
	Digest      string          `json:"digest,omitempty"`
	Seconds     float64         `json:"seconds,omitempty"`
	Text        string          `json:"text,omitempty"`
	Error       string          `json:"error,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// Step is called before and after the write and the sync of Append: tests kill
// the process there.
var Step = func(name string) {}

// Journal appends records to a file. Its methods may be called from several
// goroutines. A nil Journal records nothing.
type Journal struct {
	mu     sync.Mutex
	f      *os.File
	broken error // of the first write that failed
}

// Create begins the journal at path, which must not exist.
func Create(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot begin the journal: %w", err)
	}
	return &Journal{f: f}, nil
}

// Append writes one record in one write. What says that something was
// achieved is synced too; the rest survives a kill of the process and, until
// the next sync, not a power cut. After an error nothing more is written, so
// that a line torn by a full disk stays the last one.
func (j *Journal) Append(r Record) error {
	if j == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	Step("record made")
	_, err = j.f.Write(append(line, '\n'))
	Step("record written")
	if err == nil && durable(r.Kind) {
		err = j.f.Sync()
		Step("record synced")
	}
	if err != nil {
		j.broken = fmt.Errorf("cannot write the journal: %w%s", err, hint(err))
	}
	return j.broken
}

// hint says what to do about a disk that takes no more.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; make room there, then run the same command again: what is finished is kept"
	case errors.Is(err, syscall.EFBIG):
		return "; files may not be that large here: raise the limit (ulimit -f), then run the same command again: what is finished is kept"
	}
	return ""
}

// durable reports whether a record is worth a sync: a sync takes milliseconds,
// and a run may reuse 100,000 nodes.
func durable(kind string) bool {
	switch kind {
	case NodeReused, NodeBegun, NodeAgain, NodeSkipped:
		return false
	}
	return true
}

// Close syncs and ends the journal.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.f.Sync(), j.f.Close())
}

// Read returns the records at path. A last line that a kill tore is left out
// and reported by torn; a broken line before it is an error.
func Read(path string) (records []Record, torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, len(bytes.TrimSpace(line)) > 0, nil
		}
		if err != nil {
			return records, false, err
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return records, false, fmt.Errorf("%s:%d: not a journal record: %w", path, n, err)
		}
		records = append(records, rec)
	}
}
