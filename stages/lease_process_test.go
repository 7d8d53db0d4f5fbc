package stages

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/specs"
)

// leaseChild is set for a test binary that is to lease what it holds and to
// say what happens.
const leaseChild = "VBP_LEASE_CHILD"

func init() { // before TestMain looks at the arguments
	text, ok := os.LookupEnv(leaseChild)
	if !ok {
		return
	}
	if err := playLeaseChild(text); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func playLeaseChild(text string) error {
	var w wish
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	ids, release, err := w.lease(context.Background(), func(s string) { fmt.Println(s) })
	if err != nil {
		return err
	}
	fmt.Println("has " + strings.Join(ids, ","))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return release()
}

// applying is a child process that wants a lease and keeps it until it is told
// to end.
type applying struct {
	*exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// wants starts a process that leases what w says.
func wants(t *testing.T, w wish) *applying {
	t.Helper()
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a child that never gets its lease fails the test
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), leaseChild+"="+string(text))
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return &applying{cmd, in, bufio.NewReader(out)}
}

// says holds that the child's next line begins and ends so; in what is wanted,
// @ stands for "process PID on HOST since TIME" of another child.
func (a *applying) says(t *testing.T, want string, others ...*applying) {
	t.Helper()
	line, err := a.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child ended instead of saying %q: %v", want, err)
	}
	line = strings.TrimSuffix(line, "\n")
	rest := line
	for i, part := range strings.Split(want, "@") {
		if i > 0 {
			_, after, ok := strings.Cut(rest, fmt.Sprintf("process %d on ", others[i-1].Process.Pid))
			if !ok {
				t.Fatalf("the child says %q, not %q of process %d", line, want, others[i-1].Process.Pid)
			}
			rest = after[strings.Index(after, " since ")+len(" since 2006-01-02 15:04:05"):]
		}
		if !strings.HasPrefix(rest, part) {
			t.Fatalf("the child says %q, not %q", line, want)
		}
		rest = rest[len(part):]
	}
	if rest != "" {
		t.Fatalf("the child says %q, not %q", line, want)
	}
}

// end lets the child give its lease back; with kill, it cannot.
func (a *applying) end(kill bool) {
	if kill {
		_ = a.Process.Kill()
	} else {
		_ = a.in.Close()
	}
}

func TestLeaseOfTheMachine(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%t", kill), func(t *testing.T) {
			t.Parallel() // they mostly wait
			dir := filepath.Join(tempDir(t), "new", "folder")
			alone := func(what string) *applying { return wants(t, wish{Dir: dir, What: what, Host: hostUnits}) }
			beside := func(what string) *applying { return wants(t, wish{Dir: dir, What: what, Host: 1}) }
			first := alone("apply first")
			first.says(t, "has ")
			second := alone("apply second")
			second.says(t, "waiting: @ measures on this machine (apply first)", first)
			first.end(kill)
			second.says(t, "has ")

			third := beside("apply third")
			third.says(t, "waiting: @ measures on this machine (apply second)", second)
			second.end(kill)
			third.says(t, "has ")
			fourth := beside("apply fourth")
			fourth.says(t, "has ")

			// One that needs all waits for all, and who comes then waits for it.
			fifth := alone("apply fifth")
			fifth.says(t, "waiting: @ measures on this machine (apply fourth)", fourth)
			sixth := beside("apply sixth")
			sixth.says(t, "waiting: @ is next to measure on this machine (apply fifth)", fifth)
			fourth.end(kill)
			_ = fourth.Wait()
			fifth.says(t, "waiting: @ measures on this machine (apply third)", third)
			third.end(kill)
			fifth.says(t, "has ")
			fifth.end(kill)
			sixth.says(t, "has ") // without another word: for whom it waits was known
		})
	}
}

func TestLeaseOfGPUs(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%t", kill), func(t *testing.T) {
			t.Parallel() // they mostly wait
			dir := tempDir(t)
			some := func(what string, n int, ids string) *applying {
				return wants(t, wish{Dir: dir, What: what, Host: 1, GPUs: n, IDs: strings.Split(ids, ",")})
			}
			first := some("apply first", 2, "0,1,2,3")
			first.says(t, "has 0,1")
			second := some("apply second", 2, "3,0,2,1") // at once
			second.says(t, "has 3,2")
			third := some("apply third", 3, "0,1,2,3")
			third.says(t, "waiting for 3 GPUs of 0,1,2,3: 0,1 are held by @ (apply first), 2,3 are held by @ (apply second)", first, second)
			second.end(kill)
			third.says(t, "waiting for 3 GPUs of 0,1,2,3: 0,1 are held by @ (apply first)", first)

			// Two are free, but it is the third's turn; other GPUs are not touched by that.
			fourth := some("apply fourth", 1, "0,1,2,3")
			fourth.says(t, "waiting for 1 GPU of 0,1,2,3: 0,1,2,3 are next for @ (apply third)", third)
			other := some("apply other", 1, "4,5")
			other.says(t, "has 4")
			first.end(kill)
			third.says(t, "has 0,1,2")
			fourth.says(t, "has 3")
		})
	}
}

// One GPU has one lease, however it is called.
func TestLeaseOfOneGPUOfSeveralNames(t *testing.T) {
	smi(t, twoH100)
	dir := tempDir(t)
	of := func(ids ...string) wish {
		a, err := findAccelerators(specs.GPUs{List: ids})
		if err != nil {
			t.Fatal(err)
		}
		units := a.units()
		return wish{Dir: dir, What: "apply " + ids[0], Host: 1, GPUs: 1, IDs: units[gpuResource], Lock: units[gpuLocks]}
	}
	for _, names := range [][2]string{{"1", "GPU-bbbb-2"}, {"GPU-bb", "1"}, {"GPU-bbbb-2", "GPU-b"}, {"MIG-a/1/2", "MIG-a/1/2"}, {"7", "7"}} {
		holder := wants(t, of(names[0]))
		holder.says(t, "has "+names[0])
		told := errors.New("told")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, _, err := of(names[1]).lease(ctx, func(string) { cancel(told) })
		if !errors.Is(err, told) {
			t.Errorf("%s is held and %s was not waited for: %v", names[0], names[1], err)
		}
		if ids, release, err := of(names[1], "0").lease(t.Context(), nil); err != nil || !slices.Equal(ids, []string{"0"}) || release() != nil {
			t.Errorf("beside %s of %s and 0: %q, %v", names[0], names[1], ids, err)
		}
		holder.end(true)
		_ = holder.Wait()
	}
}
