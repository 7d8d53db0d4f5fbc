package local

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Task returns a command that runs argv under a guardian, as servers do: when
// stop is closed, or this process ends however it ends, everything that argv
// started is ended. The command's exit status is argv's. Log gets what argv
// writes; stateDir is that of servers. Self is the path of vbp.
//
// The caller may set Dir and Env before it starts the command, and closes stop
// once it has ended.
func Task(self, name, log, stateDir string, argv []string) (cmd *exec.Cmd, stop io.Closer, err error) {
	owner, ok := identify(syscall.Getpid())
	if !ok {
		return nil, nil, errors.New("the process table (/proc) cannot be read; commands cannot be guarded without it")
	}
	var random [12]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	if log, err = filepath.Abs(log); err != nil {
		return nil, nil, err
	}
	if stateDir, err = filepath.Abs(stateDir); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, nil, err
	}
	g := Guard{ID: id, Name: name, Log: log, State: filepath.Join(stateDir, id+stateSuffix), Argv: argv, owner: owner}
	line := g.Command(self)
	cmd = exec.Command(line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if stop, err = cmd.StdinPipe(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return cmd, stop, nil
}
