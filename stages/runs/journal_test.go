package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/pipeline/history"
)

// TestJournal holds what the first and the last line of a journal tell.
func TestJournal(t *testing.T) {
	const begun, done = `{"kind":"run_begun"}` + "\n", `{"kind":"run_done","text":"partial"}` + "\n"
	for _, c := range []struct {
		journal, state string
		first, last    string // kinds; "" if there is none
		origin         string
	}{
		{"", Unfinished, "", "", ""},
		{begun, Unfinished, history.RunBegun, history.RunBegun, ""},
		{begun + strings.Repeat(" ", 3*recordRead) + "{}\n" + done, Partial, history.RunBegun, history.RunDone, ""},
		{begun + done[:len(done)-1], Unfinished, history.RunBegun, "", ""}, // a kill tore it
		{begun + done + "{broken\n", Unfinished, history.RunBegun, "", ""},
		{"{broken\n" + done, Partial, "", history.RunDone, ""},
		{`{"kind":"run_begun","data":{"imported":{"files":[]}}}` + "\n" + done, Partial, history.RunBegun, history.RunDone, `{"files":[]}`},
		{`{"kind":"run_begun","data":{"imported":null}}` + "\n", Unfinished, history.RunBegun, history.RunBegun, ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, history.FileName), []byte(c.journal), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := StateOf(dir); got != c.state {
			t.Errorf("%.100q is %s, not %s", c.journal, got, c.state)
		}
		if r, err := FirstRecord(dir); (err == nil) != (c.first != "") || err == nil && r.Kind != c.first {
			t.Errorf("%.100q begins with %+v, %v", c.journal, r, err)
		} else if err != nil && !strings.Contains(err.Error(), filepath.Join(dir, history.FileName)) {
			t.Errorf("the error %v does not name the journal", err)
		}
		if r, ok := LastRecord(dir); ok != (c.last != "") || ok && r.Kind != c.last {
			t.Errorf("%.100q ends with %+v, %v", c.journal, r, ok)
		}
		if data, err := Imported(dir); string(data) != c.origin || (err == nil) != (c.origin != "") {
			t.Errorf("%.100q was imported from %s, %v", c.journal, data, err)
		}
	}
}
