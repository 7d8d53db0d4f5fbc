//go:build unix

package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is a kernel lock on a file: it ends with the process that holds it,
// however that ends, so it cannot go stale. Children do not inherit it.
type Lock struct{ f *os.File }

// Holder says who holds a lock.
type Holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	What  string    `json:"what"`
}

// String prints a holder for an error message.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s since %s", h.PID, h.Host, h.Since.Local().Format("2006-01-02 15:04:05"))
}

// TryLock takes the lock at path without waiting. If another process has it
// (or another part of this one), the Lock is nil and Holder says who that is;
// what is written into the file for others to read.
func TryLock(path, what string) (*Lock, Holder, error) {
	return lock(path, what, unix.LOCK_EX|unix.LOCK_NB)
}

// waitLock takes the lock at path and waits for it. It is for sections of a
// few file operations: nothing can interrupt the wait.
func waitLock(path, what string) (*Lock, error) {
	l, _, err := lock(path, what, unix.LOCK_EX)
	return l, err
}

func lock(path, what string, how int) (*Lock, Holder, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, Holder{}, fmt.Errorf("cannot open the lock: %w", err)
		}
		step("lock opened")
		if err = flock(f, how); err == nil && !current(f, path) {
			// Its last holder deleted the file between our opening and
			// locking it: a lock on a file that nobody else can find.
			if err := f.Close(); err != nil {
				return nil, Holder{}, err
			}
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			var h Holder
			_ = json.NewDecoder(f).Decode(&h)
			return nil, h, f.Close()
		}
		if err != nil {
			return nil, Holder{}, errors.Join(fmt.Errorf("cannot lock %s: %w", path, err), f.Close())
		}
		host, _ := os.Hostname()
		data, err := json.Marshal(Holder{Host: host, PID: os.Getpid(), Since: time.Now(), What: what})
		if err == nil {
			err = errors.Join(f.Truncate(0), writeAt(f, append(data, '\n')))
		}
		if err != nil {
			return nil, Holder{}, errors.Join(fmt.Errorf("cannot write %s: %w", path, err), f.Close())
		}
		return &Lock{f}, Holder{}, nil
	}
}

// Release gives the lock back. Its file stays, for the next holder.
func (l *Lock) Release() error { return l.f.Close() }

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// current reports whether f is still the file at path.
func current(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

func writeAt(f *os.File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	return err
}
