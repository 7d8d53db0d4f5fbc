package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killPatience is how long a killed process may take to go: one that
	// gives memory back to a driver needs a while.
	killPatience = 5 * time.Second

	// guardianPatience is how long a guardian whose owner is dead may take to
	// finish by itself: its grace, and time to kill.
	guardianPatience = orphanGrace + 2*time.Second
)

// Reap kills what vbp processes that are dead left running on this host, and
// removes their states from stateDir; killed has one line for each process
// that it had to kill itself. States whose vbp and guardian live are left
// alone, and so are those of other hosts and containers. A pid counts only
// with its start time or the marker in its environment, so that no foreign
// process is touched. Several vbp may reap one folder at the same time. A
// folder that does not exist holds nothing to reap.
func Reap(stateDir string) (killed []string, err error) {
	if _, err := os.Stat(stateDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	unlock, err := lockFile(filepath.Join(stateDir, "reap.lock"))
	if err != nil {
		return nil, fmt.Errorf("reap %s: %w", stateDir, err)
	}
	defer unlock()
	files, err := filepath.Glob(filepath.Join(globQuote(stateDir), "*"+stateSuffix))
	if err != nil {
		return nil, fmt.Errorf("reap %s: %w", stateDir, err)
	}

	here := thisHost()
	deadline := time.Now().Add(guardianPatience) // for all together
	var errs []error
	for _, file := range files {
		st, err := readState(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its guardian has just finished
		}
		if err == nil {
			var lines []string
			lines, err = reap(st, file, here, deadline)
			killed = append(killed, lines...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return killed, errors.Join(errs...)
}

// reap deals with one state.
func reap(st *state, file string, here hostID, deadline time.Time) (killed []string, err error) {
	switch {
	case st.Host.Name != here.Name:
		return nil, nil // a shared folder: not ours to judge
	case st.Host.Boot != here.Boot:
		return nil, removeFile(file) // nothing survives a boot
	case st.Host.PIDNamespace != here.PIDNamespace:
		return nil, nil // another container
	}
	if st.Guardian.alive() {
		if st.Owner.alive() {
			return nil, nil
		}
		// It has seen end of file and is at work.
		for st.Guardian.alive() && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
		}
		if st.Guardian.alive() {
			killed = append(killed, fmt.Sprintf("guardian of %s (pid %d)", st.Name, st.Guardian.PID))
			st.Guardian.signal(unix.SIGKILL)
		}
	}
	lines, err := killLeftovers(st)
	killed = append(killed, lines...)
	if err != nil {
		return killed, err // the state stays, for the next to try
	}
	return killed, removeFile(file)
}

// killLeftovers kills every process of the tree of st, whose guardian is
// dead, and returns when none is left; killed describes them. What is still
// there after killPatience is an error.
func killLeftovers(st *state) (killed []string, err error) {
	seen := map[identity]bool{}
	deadline := time.Now().Add(killPatience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		left := leftovers(st)
		if len(left) == 0 {
			return killed, nil
		}
		for _, p := range left {
			if !seen[p.identity] {
				seen[p.identity] = true
				killed = append(killed, fmt.Sprintf("%s (pid %d): %s", st.Name, p.PID, p.command()))
			}
			p.signal(unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			pids := make([]string, len(left))
			for i, p := range left {
				pids[i] = fmt.Sprint(p.PID)
			}
			return killed, fmt.Errorf("%s: killed but not gone: pid %s; look at it with ps", st.Name, strings.Join(pids, ", "))
		}
		time.Sleep(pause)
	}
}

// lockFile takes a kernel lock, which ends with its holder.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}

// globQuote keeps Glob from reading a folder's name as a pattern.
func globQuote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
