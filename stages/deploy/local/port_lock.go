//go:build unix

package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// portLock keeps a port for this process among all of this user's on this
// machine: until a server has bound its port, and fails to if another was
// faster, the other's would answer in its place. It is a lock of the kernel,
// which ends with the process; its file stays.
type portLock struct{ f *os.File }

// lockPort returns nil if another process has the port.
func lockPort(port int) (*portLock, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("vbp-%d", os.Getuid()), "ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot reserve a port: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot reserve a port: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot reserve port %d: %w", port, err), f.Close())
	}
	return &portLock{f}, nil
}

func (l *portLock) release() { _ = l.f.Close() } // which gives the lock back
