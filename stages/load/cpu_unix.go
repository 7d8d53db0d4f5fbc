//go:build unix

package load

import (
	"syscall"
	"time"
)

// CPUTime is the CPU time that this process has used, user and system; false
// where the system does not tell.
func CPUTime() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
