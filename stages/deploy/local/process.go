package local

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"vbp/stages/deploy"
)

// process is a server under its guardian, seen from the vbp that wants it.
type process struct {
	deploy.Process
	log    string // absolute
	offset int64  // where the log of this start begins
	guard  Guard
	cmd    *exec.Cmd // the guardian
	stdin  io.WriteCloser

	up   chan struct{} // closed when pid is known, or no server came to be
	down chan struct{} // closed when the server has ended
	gone chan struct{} // closed when nothing of its tree is left

	mu   sync.Mutex
	pid  int
	exit string // how the server ended, once down is closed
	left error  // what could not be killed, once gone is closed
}

// spawn starts the guardian of p, which starts p. onDown is called once, when
// the server has ended, on the goroutine that ends with closing gone.
func spawn(p deploy.Process, self, prefix, logDir, stateDir string, reveal func(string) (string, error), onDown func(*process)) (*process, error) {
	env := os.Environ()
	for _, v := range p.Env {
		name, value, _ := strings.Cut(v, "=")
		if reveal != nil {
			var err error
			if value, err = reveal(value); err != nil {
				return nil, fmt.Errorf("%s: environment %s: %w", p.Name, name, err)
			}
		}
		env = append(env, name+"="+value)
	}
	var random [12]byte
	rand.Read(random[:])
	owner, ok := identify(os.Getpid())
	if !ok {
		return nil, errors.New("the process table (/proc) cannot be read; servers cannot be guarded without it")
	}

	m := &process{
		Process: p,
		log:     filepath.Join(logDir, prefix+p.Name+".log"),
		up:      make(chan struct{}), down: make(chan struct{}), gone: make(chan struct{}),
	}
	id := hex.EncodeToString(random[:])
	m.guard = Guard{ID: id, Name: p.Name, Log: m.log, State: filepath.Join(stateDir, id+stateSuffix), Argv: p.Argv, owner: owner}
	log, err := os.OpenFile(m.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: open its log: %w", p.Name, err)
	}
	defer log.Close()
	if m.offset, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}

	argv := m.guard.Command(self)
	m.cmd = exec.Command(argv[0], argv[1:]...)
	m.cmd.Env = env
	m.cmd.Stderr = log
	// A session of its own: whoever kills vbp's whole process group, as CI
	// runners do, leaves the guardian to do its work.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: start its guardian %s: %w", p.Name, self, err)
	}
	go m.watch(stdout, onDown)
	return m, nil
}

// watch follows the reports of the guardian to their end, and does its work
// if it was killed.
func (m *process) watch(reports io.Reader, onDown func(*process)) {
	defer close(m.gone)
	closeUp := sync.OnceFunc(func() { close(m.up) })
	end := sync.OnceFunc(func() {
		closeUp()
		close(m.down)
		onDown(m)
	})
	orderly := false // the guardian said that nothing is left
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // not a guardian; its exit tells more
		}
		switch r.Event {
		case "started":
			m.set(func() { m.pid = r.PID })
			closeUp()
		case "failed":
			orderly = true
			m.set(func() { m.exit = "could not be started: " + r.Error })
			end()
		case "exited":
			m.set(func() { m.exit = "died (" + r.Exit + ")" })
			end()
		case "gone":
			orderly = true
		}
	}
	err := m.cmd.Wait() // closes stdin
	m.set(func() {
		if m.exit == "" {
			m.exit = fmt.Sprintf("died with its guardian (%v)", err)
			if err == nil {
				m.exit = "was not started: " + m.cmd.Path + " guard ended without a word"
			}
		}
	})
	end()
	if !orderly {
		m.clear()
	}
}

// clear does what a killed guardian could not.
func (m *process) clear() {
	st, err := readState(m.guard.State)
	if err != nil { // not yet written, or already gone
		st = &state{ID: m.guard.ID, Name: m.Name, Log: m.log}
	}
	_, err = killLeftovers(st)
	err = errors.Join(err, removeFile(m.guard.State))
	m.set(func() { m.left = err })
}

func (m *process) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// stop asks the guardian to end the server within grace. It does not wait,
// and may be repeated.
func (m *process) stop(grace time.Duration) {
	_, _ = fmt.Fprintf(m.stdin, "stop %s\n", grace) // a guardian that has ended needs no order
}

// abandon lets the guardian see end of file: little time is left.
func (m *process) abandon() { _ = m.stdin.Close() }

// kill ends a guardian that does not react; watch then does its work.
func (m *process) kill() { _ = m.cmd.Process.Kill() }

// fault is an error about m, with its last log lines.
func (m *process) fault(what string) *ProcessError {
	last, cause := tail(m.log, m.offset, tailLines)
	return &ProcessError{Process: m.Process, What: what, Log: m.log, Cause: cause, Tail: last}
}

// instance is m as load and records know it.
func (m *process) instance() deploy.Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := url(m.Port)
	if m.Role == deploy.Cache {
		at = "lm" + strings.TrimPrefix(at, "http")
	}
	return deploy.Instance{
		Name: m.Name, Role: m.Role, URL: at, GPUs: m.GPUs, Log: m.log, PID: m.pid, Argv: m.Argv,
	}
}
