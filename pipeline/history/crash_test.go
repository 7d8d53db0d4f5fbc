package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The test binary is its own child process: VBP_HISTORY_CHILD names a role,
// the journal and a number.
func TestMain(m *testing.M) {
	args := strings.Split(os.Getenv("VBP_HISTORY_CHILD"), "|")
	if len(args) != 3 {
		os.Exit(m.Run())
	}
	n, err := strconv.Atoi(args[2])
	if err == nil {
		err = map[string]func(string, int) error{"step": childStep, "limited": childLimited}[args[0]](args[1], n)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run runs a child and returns what it printed, a line an entry.
func run(t *testing.T, role, path string, n int) (lines []string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("VBP_HISTORY_CHILD=%s|%s|%d", role, path, n),
		"GORACE=atexit_sleep_ms=0") // else each child ends a second late under the race detector
	out, err := cmd.Output()
	return strings.Split(strings.TrimSpace(string(out)), "\n"), err
}

func tale() []Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return []Record{
		{At: at, Kind: RunBegun, Text: "vbp apply x.yaml"},
		{At: at, Kind: NodeBegun, Node: "load qps=1", Text: "not done yet"},
		{At: at, Kind: NodeDone, Node: "load qps=1", Key: "ab", Attempt: "0", Digest: "cd", Seconds: 1.5},
		{At: at, Kind: NodeAgain, Node: "load qps=2", Text: "schedule_kept > 0.97 (is 0.5)"},
		{At: at, Kind: RunDone, Text: "complete", Fingerprint: "ef"},
	}
}

// childStep writes the tale, says of each record that it was taken, and dies
// at the nth step.
func childStep(path string, n int) error {
	Step = func(string) {
		if n--; n < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	j, err := Create(path)
	if err != nil {
		return err
	}
	for i, r := range tale() {
		if err := j.Append(r); err != nil {
			return err
		}
		fmt.Println(i + 1)
	}
	return j.Close()
}

// A kill at any step loses no record that Append has taken.
func TestKillAtEveryStep(t *testing.T) {
	for n := 0; ; n++ {
		path := filepath.Join(t.TempDir(), FileName)
		said, err := run(t, "step", path, n)
		if err != nil && !strings.Contains(err.Error(), "killed") {
			t.Fatalf("%v: %v", err, said)
		}
		taken, _ := strconv.Atoi(said[len(said)-1]) // none, if it is empty
		got, torn, readErr := Read(path)
		if readErr != nil || torn || len(got) < taken || len(got) > taken+1 || !reflect.DeepEqual(got, tale()[:len(got):len(got)]) && len(got) > 0 {
			t.Errorf("killed at step %d: %d records of %d taken, torn %v, %v", n, len(got), taken, torn, readErr)
		}
		if err == nil {
			if want := 2*len(tale()) + 3; n != want || taken != len(tale()) { // of the records, three are synced
				t.Errorf("%d steps, want %d", n, want)
			}
			return
		}
	}
}

// childLimited writes the tale where no file may be longer than n bytes.
func childLimited(path string, n int) error {
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}); err != nil {
		return err
	}
	j, err := Create(path)
	if err != nil {
		return err
	}
	for _, r := range tale() {
		if err := j.Append(r); err != nil {
			return err
		}
	}
	return j.Close()
}

// Wherever the disk takes no more, the journal reads up to there.
func TestDiskThatIsFullInALine(t *testing.T) {
	var whole []byte
	for _, r := range tale() {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(append(whole, line...), '\n')
	}
	for n := 0; n <= len(whole); n += 13 {
		path := filepath.Join(t.TempDir(), FileName)
		said, err := run(t, "limited", path, n)
		if err == nil || !strings.HasPrefix(said[0], "cannot write the journal: ") || !strings.Contains(said[0], "raise the limit (ulimit -f)") {
			t.Errorf("%d bytes: %v, %v", n, said, err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != string(whole[:n]) {
			t.Fatalf("%d bytes: %q, %v", n, data, err)
		}
		lines := strings.Count(string(data), "\n")
		got, torn, err := Read(path)
		if err != nil || len(got) != lines || torn != (n > 0 && data[n-1] != '\n') {
			t.Errorf("%d bytes: %d records of %d, torn %v, %v", n, len(got), lines, torn, err)
		}
	}
}

// Any records, cut at any byte, read up to there.
func TestAnyTornJournal(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(dir, FileName)
		_ = os.Remove(path)
		want := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
			text := rapid.String()
			return Record{
				At:   time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0).UTC(),
				Kind: rapid.SampledFrom([]string{RunBegun, NodeBegun, NodeReused}).Draw(t, "kind"),
				Node: text.Draw(t, "node"), Text: text.Draw(t, "text"), Error: text.Draw(t, "error"),
				Seconds: float64(rapid.IntRange(0, 1000).Draw(t, "ms")) / 1000,
			}
		}), 1, 5).Draw(r, "records")
		j, err := Create(path)
		if err != nil {
			r.Fatal(err)
		}
		for _, rec := range want {
			if err := j.Append(rec); err != nil {
				r.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			r.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			r.Fatal(err)
		}
		cut := rapid.Int64Range(0, info.Size()).Draw(r, "cut")
		if err := os.Truncate(path, cut); err != nil {
			r.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			r.Fatal(err)
		}
		defer f.Close()
		lines, last := 0, byte('\n')
		for b := bufio.NewReader(f); ; {
			c, err := b.ReadByte()
			if err != nil {
				break
			}
			if last = c; c == '\n' {
				lines++
			}
		}
		got, torn, err := Read(path)
		if err != nil || torn != (last != '\n') || len(got) != lines {
			r.Fatalf("cut at %d: %d records of %d, torn %v, %v", cut, len(got), lines, torn, err)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				r.Fatalf("%+v\nwant %+v", got[i], want[i])
			}
		}
	})
}
