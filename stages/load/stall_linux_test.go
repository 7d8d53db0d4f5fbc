package load

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stallChild is the variable that makes a process whose heart beats until its
// input ends.
const stallChild = "VBP_TEST_STALL_CHILD"

// TestStallChild is the child, and nothing by itself.
func TestStallChild(t *testing.T) {
	if os.Getenv(stallChild) == "" {
		t.Skip("it is only of use as the child of TestHeartbeatNoticesAStoppedProcess")
	}
	h := newHeartbeat()
	fmt.Println("beating")
	io.Copy(io.Discard, os.Stdin)
	fmt.Println("late", h.end().Milliseconds())
}

// A process that was stopped for a tenth of a second says so.
func TestHeartbeatNoticesAStoppedProcess(t *testing.T) {
	const stopped = 100 * time.Millisecond
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStallChild$")
	cmd.Env = append(os.Environ(), stallChild+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	line := func(prefix string) string {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return lines.Text()
			}
		}
		t.Fatalf("the child did not say %q: %v", prefix, lines.Err())
		return ""
	}
	line("beating")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for state := ""; state != "T"; { // it stops when it is next scheduled
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		state, _, _ = strings.Cut(rest, " ")
	}
	<-time.After(stopped) // what is to be noticed, not a wait for something
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	in.Close()
	late := 0
	if _, err := fmt.Sscanf(line("late"), "late %d", &late); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if least := int((stopped - beatEvery).Milliseconds()) - 1; late < least {
		t.Errorf("stopped for %v, a beat was only %d ms late", stopped, late)
	}
}
