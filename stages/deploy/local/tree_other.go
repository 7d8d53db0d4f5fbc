//go:build unix && !linux

package local

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Without Linux's subreaper, death signal and /proc, a guarded tree is the
// server's process group: what leaves the group is not followed, and what a
// killed guardian leaves is not found.

type proc struct {
	identity
}

func identify(pid int) (identity, bool) {
	id := identity{PID: pid}
	return id, id.alive()
}

func (id identity) alive() bool {
	err := unix.Kill(id.PID, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// signal does nothing: without a start time, the pid may be anybody's.
func (id identity) signal(unix.Signal) {}

func (id identity) command() string { return "" }

func adoptOrphans() error { return nil }

const waitFlags = 0

func serverAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalTree(group int, sig unix.Signal) { _ = unix.Kill(-group, sig) }

func treeGone(group int) bool { return errors.Is(unix.Kill(-group, 0), unix.ESRCH) }

func leftovers(*state) []proc { return nil }

func bootID() string { return "" }

func pidNamespace() string { return "" }

func listener(int) (pid int, command string) { return 0, "" }
