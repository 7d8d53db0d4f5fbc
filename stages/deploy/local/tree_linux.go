package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// proc is one line of the process table.
type proc struct {
	identity
	parent, group, session int
	dead                   bool // a zombie: it holds nothing but its pid
}

// readProc reads /proc/PID/stat; ok is false if there is no such process.
func readProc(pid int) (p proc, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	// The second field is the command in parentheses and may hold anything,
	// parentheses and blanks included; the rest begins after the last one.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return proc{}, false
	}
	p.PID = pid
	p.parent, _ = strconv.Atoi(fields[1])
	p.group, _ = strconv.Atoi(fields[2])
	p.session, _ = strconv.Atoi(fields[3])
	p.dead = fields[0] == "Z" || fields[0] == "X"
	p.Start, err = strconv.ParseUint(fields[19], 10, 64) // field 22 of proc(5)
	return p, err == nil
}

// processes is the process table now.
func processes() []proc {
	names, err := readNames("/proc")
	if err != nil {
		return nil
	}
	var ps []proc
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			if p, ok := readProc(pid); ok {
				ps = append(ps, p)
			}
		}
	}
	return ps
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// identify returns the identity of a live process.
func identify(pid int) (identity, bool) {
	p, ok := readProc(pid)
	return p.identity, ok && !p.dead
}

// alive reports whether the very same process still runs.
func (id identity) alive() bool {
	now, ok := identify(id.PID)
	return ok && now == id
}

// signal sends sig to the very process id and to no later one with its pid:
// the pid is pinned before its start time is compared.
func (id identity) signal(sig unix.Signal) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == nil {
		defer unix.Close(fd)
	}
	if !id.alive() {
		return
	}
	if err == nil {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0) // it may just have ended
	} else if errors.Is(err, unix.ENOSYS) {
		_ = unix.Kill(id.PID, sig) // Linux before 5.3
	}
}

// command is the command line of a process as ps shows it.
func (id identity) command() string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/cmdline")
	return strings.Join(strings.Split(strings.TrimRight(string(data), "\x00"), "\x00"), " ")
}

// below returns the live processes of table that descend from one of roots,
// which are not among them.
func below(table []proc, roots ...int) []proc {
	children := map[int][]proc{}
	for _, p := range table {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []proc
	seen := map[int]bool{}
	for len(roots) > 0 {
		root := roots[0]
		roots = roots[1:]
		for _, c := range children[root] {
			if seen[c.PID] {
				continue
			}
			seen[c.PID] = true
			roots = append(roots, c.PID)
			if !c.dead {
				found = append(found, c)
			}
		}
	}
	return found
}

// adoptOrphans makes the caller the process that inherits the orphans among
// its descendants, whatever group or session they moved to. After it, no
// child left means no descendant left.
func adoptOrphans() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// waitFlags: children of clones that signal nothing are waited for, too.
const waitFlags = unix.WALL

// serverAttr puts the server in a process group of its own and has the kernel
// kill it when the thread that started it dies, which the caller must keep.
func serverAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// signalTree signals every descendant of this process.
func signalTree(_ int, sig unix.Signal) {
	for _, p := range below(processes(), os.Getpid()) {
		p.signal(sig)
	}
}

// treeGone reports whether a guardian without children has no descendants;
// see adoptOrphans.
func treeGone(int) bool { return true }

// leftovers returns the live processes of a guarded tree whose guardian is
// dead: those that carry its marker, those that write to its log from the
// server's group or session (setproctitle overwrites the environment that
// /proc shows, as vLLM's workers do), and the descendants of both.
func leftovers(s *state) []proc {
	want := []byte(marker + "=" + s.ID)
	table := processes()
	var found []proc
	var roots []int
	for _, p := range table {
		if p.dead || p.PID == os.Getpid() {
			continue
		}
		dir := "/proc/" + strconv.Itoa(p.PID)
		env, _ := os.ReadFile(dir + "/environ") // another user's cannot be read, and is none of ours
		ours := slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return bytes.Equal(v, want) })
		if !ours && s.Server != nil && (p.group == s.Server.PID || p.session == s.Server.PID) && p.Start >= s.Server.Start {
			for _, fd := range []string{"/fd/1", "/fd/2"} {
				target, err := os.Readlink(dir + fd)
				ours = ours || err == nil && target == s.Log
			}
		}
		if ours {
			found = append(found, p)
			roots = append(roots, p.PID)
		}
	}
	for _, p := range below(table, roots...) {
		if !slices.ContainsFunc(found, func(f proc) bool { return f.PID == p.PID }) && p.PID != os.Getpid() {
			found = append(found, p)
		}
	}
	return found
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

func pidNamespace() string {
	ns, _ := os.Readlink("/proc/self/ns/pid")
	return ns
}

// listener finds who listens on a TCP port of this host: its pid and command,
// or 0 where /proc does not tell (another user's process, another namespace).
func listener(port int) (pid int, command string) {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(table)
		for line := range strings.Lines(string(data)) {
			// sl local_address rem_address st ... inode is the tenth field
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == "0A" {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return 0, ""
	}
	for _, p := range processes() {
		fds := filepath.Join("/proc", strconv.Itoa(p.PID), "fd")
		names, _ := readNames(fds)
		for _, n := range names {
			if target, err := os.Readlink(filepath.Join(fds, n)); err == nil && sockets[target] {
				return p.PID, p.command()
			}
		}
	}
	return 0, ""
}
