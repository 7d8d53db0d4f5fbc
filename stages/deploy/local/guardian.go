package local

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// orphanGrace is how long a server has to end by itself once nobody wants it
// any more. All must be gone within two seconds of the death of vbp, killing
// and waiting included.
const orphanGrace = 800 * time.Millisecond

// Guard is what a guardian is told.
type Guard struct {
	ID    string   // marks the tree in its environment; unique
	Name  string   // of the process, for messages
	Log   string   // absolute; output of the server is appended
	State string   // absolute; file kept while the guardian lives
	Argv  []string // the server's command line

	owner identity // the vbp that starts it
}

// Command is the command line of the guardian: self is the path of vbp, whose
// hidden command `guard` must pass what follows to RunGuardian.
func (g Guard) Command(self string) []string {
	return append([]string{
		self, "guard", "--id", g.ID, "--name", g.Name, "--owner", fmt.Sprintf("%d:%d", g.owner.PID, g.owner.Start),
		"--log", g.Log, "--state", g.State, "--",
	}, g.Argv...)
}

// parseGuard reads what Command wrote after `guard`.
func parseGuard(args []string) (g Guard, err error) {
	f := flag.NewFlagSet("guard", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&g.ID, "id", "", "")
	f.StringVar(&g.Name, "name", "server", "")
	f.StringVar(&g.Log, "log", "", "")
	f.StringVar(&g.State, "state", "", "")
	f.Func("owner", "", func(s string) error {
		_, err := fmt.Sscanf(s, "%d:%d", &g.owner.PID, &g.owner.Start)
		return err
	})
	if err := f.Parse(args); err != nil {
		return g, err
	}
	g.Argv = f.Args()
	if g.ID == "" || g.Log == "" || g.State == "" || len(g.Argv) == 0 {
		return g, errors.New("usage: vbp guard --id ID --log FILE --state FILE [--name NAME] [--owner PID:START] -- COMMAND ...; vbp apply starts it, it is of no use by hand")
	}
	return g, nil
}

// report is one line that a guardian writes to its standard output, as JSON.
type report struct {
	Event string `json:"event"` // started, failed, exited (the server), gone (the whole tree)
	PID   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
	Exit  string `json:"exit,omitempty"` // "exit status 3", "killed by signal 9 (killed)"
}

// RunGuardian is the whole life of the process `vbp guard`; args are those
// after its name. It starts the server with its output in the log, and ends
// when no process of the server's tree is left, grandchildren included
// wherever they moved.
//
// stdin is a pipe that the owner holds. A line "stop DURATION" asks for
// SIGTERM now and SIGKILL after the duration; end of file means that the
// owner is dead and does the same with a short duration. When the server ends
// by itself, what is left of its tree is killed. stdout gets reports. The
// signals of a terminal are not for it: whether Ctrl-C ends servers is its
// owner's decision.
//
// It returns the server's exit status, 128 + n after signal n, 2 for bad
// arguments and 127 when the server could not be started. The process should
// exit then: the goroutine that reads stdin lasts as long as stdin.
func RunGuardian(args []string, stdin io.Reader, stdout io.Writer) int {
	say := func(r report) {
		line, _ := json.Marshal(r)
		_, _ = stdout.Write(append(line, '\n')) // an owner that is dead hears nothing
	}
	fail := func(code int, err error) int {
		fmt.Fprintln(os.Stderr, "vbp guard:", err)
		say(report{Event: "failed", Error: err.Error()})
		return code
	}
	g, err := parseGuard(args)
	if err != nil {
		return fail(2, err)
	}

	// Caught rather than ignored: what is ignored stays ignored in the server.
	// SIGPIPE: a dead owner must not kill us when we report.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGPIPE, unix.SIGTERM)
	defer signal.Stop(signals)
	// The kernel kills the server when this thread ends; see serverAttr.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := adoptOrphans(); err != nil {
		return fail(127, fmt.Errorf("the kernel does not make us a subreaper: %w", err))
	}

	self, _ := identify(os.Getpid())
	st := state{
		Schema: stateSchema, ID: g.ID, Name: g.Name, Host: thisHost(),
		Owner: g.owner, Guardian: self, Log: g.Log, Argv: g.Argv,
	}
	// Written before the server starts, so that there is no instant at which
	// one exists that no state tells of.
	if err := st.write(g.State); err != nil {
		return fail(127, fmt.Errorf("write state: %w", err))
	}
	defer removeFile(g.State)
	server, err := startServer(g)
	if err != nil {
		return fail(127, err)
	}
	if id, ok := identify(server); ok {
		st.Server = &id
		if err := st.write(g.State); err != nil {
			// The marker still finds the tree.
			fmt.Fprintln(os.Stderr, "vbp guard: write state:", err)
		}
	}
	say(report{Event: "started", PID: server})

	code := guard(server, readOrders(stdin), signals, say)
	// Removed before it is said, so that an owner that heard it sees no state.
	if err := removeFile(g.State); err != nil {
		fmt.Fprintln(os.Stderr, "vbp guard: remove state:", err)
	}
	say(report{Event: "gone"})
	return code
}

// startServer starts the command of g and returns its pid.
func startServer(g Guard) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	log, err := os.OpenFile(g.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return 0, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	path, err := exec.LookPath(g.Argv[0])
	if err != nil {
		return 0, err
	}
	env := []string{marker + "=" + g.ID}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, marker+"=") { // that of an outer guardian
			env = append(env, v)
		}
	}
	p, err := os.StartProcess(path, g.Argv, &os.ProcAttr{Files: []*os.File{null, log, log}, Env: env, Sys: serverAttr()})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", g.Argv[0], err)
	}
	defer p.Release() // every child is waited for by guard
	return p.Pid, nil
}

// readOrders turns lines of stdin into durations to stop within. The channel
// is closed at end of file.
func readOrders(stdin io.Reader) <-chan time.Duration {
	orders := make(chan time.Duration)
	go func() {
		defer close(orders)
		lines := bufio.NewScanner(stdin)
		for lines.Scan() {
			word, arg, _ := strings.Cut(lines.Text(), " ")
			if grace, err := time.ParseDuration(arg); word == "stop" && err == nil {
				orders <- grace
			}
		}
	}()
	return orders
}

// guard waits until no process of the tree of server is left, stops it when
// it is told to, and returns the server's exit status.
func guard(server int, orders <-chan time.Duration, signals <-chan os.Signal, say func(report)) int {
	exited := make(chan unix.WaitStatus, 1)
	empty := make(chan struct{})
	go func() { // ends with the last child
		defer close(empty)
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, waitFlags, nil)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil: // ECHILD
				return
			case pid == server && (status.Exited() || status.Signaled()):
				exited <- status
			}
		}
	}()

	code := 0
	var deadline time.Time // zero: not asked to stop
	again, pause := time.NewTimer(0), firstPause
	defer again.Stop()
	<-again.C
	stop := func(grace time.Duration) {
		if at := time.Now().Add(grace); deadline.IsZero() {
			deadline = at
			signalTree(server, unix.SIGTERM)
		} else if at.Before(deadline) {
			deadline = at
		}
		again.Reset(time.Until(deadline))
	}
	ended := func(status unix.WaitStatus) {
		text := ""
		code, text = exitCode(status)
		say(report{Event: "exited", Exit: text})
		if deadline.IsZero() {
			deadline = time.Now() // the rest of the tree has no purpose
		} // else it was asked to stop too, and has its time: of a shell's child
		again.Reset(time.Until(deadline))
	}
	for {
		select {
		case grace, ok := <-orders:
			if !ok {
				orders, grace = nil, orphanGrace
			}
			stop(grace)
		case s := <-signals:
			if s == unix.SIGTERM {
				stop(orphanGrace)
			}
		case status := <-exited:
			ended(status)
		case <-again.C:
			// Again and again, since a process may be born while the table is
			// read, and may take its time to die.
			signalTree(server, unix.SIGKILL)
			again.Reset(pause)
			pause = min(2*pause, lastPause)
		case <-empty:
			select {
			case status := <-exited: // both were ready
				ended(status)
			default:
			}
			for ; !treeGone(server); time.Sleep(pause) {
				signalTree(server, unix.SIGKILL)
			}
			return code
		}
	}
}

// Pauses between two looks at a tree that is being killed: short at first,
// since it is mostly gone at once, and longer for one that hangs in the
// kernel.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

func exitCode(s unix.WaitStatus) (int, string) {
	if s.Signaled() {
		text := fmt.Sprintf("killed by signal %d (%s)", int(s.Signal()), s.Signal())
		if s.CoreDump() {
			text += ", core dumped"
		}
		return 128 + int(s.Signal()), text
	}
	return s.ExitStatus(), "exit status " + strconv.Itoa(s.ExitStatus())
}
