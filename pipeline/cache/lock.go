//go:build unix

package cache

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is a kernel lock on a file: it ends with the process that holds it,
// however that ends, so it cannot go stale. Children do not inherit it.
type Lock struct {
	f      *os.File
	remove bool // the file goes with the lock
}

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

// TryShare takes the lock at path together with others that share it, without
// waiting. If somebody has it alone, the Lock is nil and Holder says who.
// Whoever then wants it alone is told of one of those that share it.
func TryShare(path, what string) (*Lock, Holder, error) {
	return lock(path, what, unix.LOCK_SH|unix.LOCK_NB)
}

// Pauses of WaitLock between two looks. What is held for an instant only (a
// sweep tries locks that are free) is not worth a word.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

// WaitLock takes the lock at path when it is free, or returns an error when
// ctx ends. waiting, if it is not nil, is told once for whom it waits.
func WaitLock(ctx context.Context, path, what string, waiting func(Holder)) (*Lock, error) {
	told := false
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%s: not begun: %w", what, err)
		}
		l, holder, err := TryLock(path, what)
		if err != nil || l != nil {
			return l, err
		}
		if pause > firstPause && !told && waiting != nil {
			told = true
			waiting(holder)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: gave up waiting for %s: %w", what, holder, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// enter takes the lock at path for a section of a few file operations: nothing
// can interrupt the wait.
func enter(path, what string) (*Lock, error) {
	l, _, err := lock(path, what, unix.LOCK_EX)
	return l, err
}

// alone and beside order prunes and what must not happen beside one.
func (s *Store) alone() (*Lock, error) {
	return enter(filepath.Join(s.root, "locks", pruneLock), "prune")
}

func (s *Store) beside() (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(s.root, "locks", pruneLock), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, failure("cannot open the lock", err)
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock %s: %w", f.Name(), err), f.Close())
	}
	return &Lock{f: f}, nil
}

// locked reports whether somebody has the lock at path. One whose file is not
// there is free.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = flock(f, unix.LOCK_SH|unix.LOCK_NB)
	held := errors.Is(err, unix.EWOULDBLOCK)
	if held {
		err = nil
	}
	return held, errors.Join(err, f.Close())
}

// longestNames is how many bytes of names of those that share a lock are kept.
const longestNames = 64 << 10

func lock(path, what string, how int) (*Lock, Holder, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, Holder{}, failure("cannot open the lock", err)
		}
		Step("lock opened")
		if err = flock(f, how); err == nil && !current(f, path) {
			// Its last holder deleted the file between our opening and
			// locking it: a lock on a file that nobody else can find.
			if err := f.Close(); err != nil {
				return nil, Holder{}, err
			}
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, holderIn(f), f.Close()
		}
		if err != nil {
			return nil, Holder{}, errors.Join(fmt.Errorf("cannot lock %s: %w", path, err), f.Close())
		}
		sign(f, what, how&unix.LOCK_EX != 0)
		Step("lock taken")
		return &Lock{f: f}, Holder{}, nil
	}
}

// sign writes who holds the lock. Those that share it have a line each, which
// stays until somebody has it alone. On a full disk the lock is held without a
// name: whoever makes room needs locks as well.
func sign(f *os.File, what string, alone bool) {
	host, _ := os.Hostname()
	line, err := json.Marshal(Holder{Host: host, PID: os.Getpid(), Since: time.Now(), What: what})
	if err != nil {
		return
	}
	if info, err := f.Stat(); alone || err == nil && info.Size() > longestNames {
		_ = f.Truncate(0)
	}
	_, _ = f.Write(append(line, '\n'))
}

// holderIn is the last of those named in a lock's file that still lives, as
// far as this host can tell, else the last.
func holderIn(f *os.File) (last Holder) {
	host, _ := os.Hostname()
	alive := false
	for d := json.NewDecoder(bufio.NewReader(io.NewSectionReader(f, 0, 2*longestNames))); ; {
		var h Holder
		if d.Decode(&h) != nil {
			return last
		}
		lives := h.Host != host || unix.Kill(h.PID, 0) != unix.ESRCH
		if lives || !alive {
			last, alive = h, lives
		}
	}
}

// Release gives the lock back. Its file stays for the next holder, unless it
// is that of a key.
func (l *Lock) Release() error {
	if l.remove {
		// While it is still locked: whoever opened it before finds that it is
		// no longer the file at its path, and opens the next.
		_ = os.Remove(l.f.Name())
		Step("lock removed")
	}
	return l.f.Close()
}

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
